"""Batch-norm fusion as this family names it; the function is in `methods.networks.folding`, which deploys use too."""

from methods.networks.folding import fuse_batch_norm

__all__ = ["fuse_batch_norm"]
