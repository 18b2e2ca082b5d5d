"""Fusion as this family names it; it is the one that every deployed network goes through, and lives there."""

from methods.networks.folding import fuse_batch_norm

__all__ = ["fuse_batch_norm"]
