"""The one ruler: every network, whatever method it comes from, is measured by these functions."""

from methods.measure.compute import count_macs
from methods.measure.grade import LATENCY_BATCH_SIZES, Grades, deployed_sizes, grade
from methods.measure.latency import Latency, latency_ms
from methods.measure.predict import evaluation_mode, predict
from methods.measure.quality import Quality, classification_quality, confusion, quality, regression_quality
from methods.measure.sizes import count_nonzeros, count_parameters, stored_bytes
from methods.measure.sparse_execution import (
    LayerTiming,
    SparseExecution,
    is_sparse_enough,
    sparse_execution,
    sparse_latency_ms,
)

__all__ = [
    "LATENCY_BATCH_SIZES",
    "Grades",
    "Latency",
    "LayerTiming",
    "Quality",
    "SparseExecution",
    "classification_quality",
    "confusion",
    "count_macs",
    "count_nonzeros",
    "count_parameters",
    "deployed_sizes",
    "evaluation_mode",
    "grade",
    "is_sparse_enough",
    "latency_ms",
    "predict",
    "quality",
    "regression_quality",
    "sparse_execution",
    "sparse_latency_ms",
    "stored_bytes",
]
