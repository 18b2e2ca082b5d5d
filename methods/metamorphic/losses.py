"""The losses as this family names them; the functions are in `methods.morphing.losses`, which its controls use too."""

from methods.morphing.losses import magnitude, reconstruction

__all__ = ["magnitude", "reconstruction"]
