"""Sub-tasks as the evaluation of class modules names them; the mathematics is the ruler's own."""

from methods.measure.subtasks import restricted_accuracy, subtask_sample_size

__all__ = ["restricted_accuracy", "subtask_sample_size"]
