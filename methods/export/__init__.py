"""Deployed networks as files for other programs; each format is read back and compared before anyone relies on it."""

from methods.export.formats import FORMATS, Deployed, Format, format_of
from methods.export.onnx_model import OnnxMissing
from methods.export.verify import ExportMismatch, verify

__all__ = ["FORMATS", "Deployed", "ExportMismatch", "Format", "OnnxMissing", "format_of", "verify"]
