"""Heads as GradSplitter names them; they are part of stored module libraries and live there."""

from methods.modules.heads import ModuleHead, ModuleHeads

__all__ = ["ModuleHead", "ModuleHeads"]
