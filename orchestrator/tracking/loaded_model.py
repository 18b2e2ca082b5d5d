"""A stored network as MLflow's `pyfunc.load_model` hands it out. Named in each logged model; imports no MLflow.

A logged model names this module and `_load_pyfunc` in it: neither may move without the models that name them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from methods.artefact import decode
from methods.modules.side_by_side import Delivered

_BATCH_SIZE = 128


class LoadedModel:
    """Answers arrays with arrays.

    Args:
        network: On the CPU, in evaluation mode.
    """

    def __init__(self, network: Delivered) -> None:
        self.network = network

    def predict(self, model_input: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What the network says of each sample.

        Args:
            model_input: float32, a sample in each row, shaped and normalised as the task does it.

        Returns:
            float32, a row for each sample: logits of the classes, or the one prediction of a regression.

        Raises:
            ValueError: No sample.
        """
        if len(model_input) == 0:
            raise ValueError("predict: the input holds no samples; give at least one.")
        inputs = torch.from_numpy(np.ascontiguousarray(model_input, dtype=np.float32))
        with torch.inference_mode():
            return torch.cat([self.network(batch) for batch in torch.split(inputs, _BATCH_SIZE)]).numpy()


def _load_pyfunc(path: str) -> LoadedModel:
    """Called by MLflow with the artefact's place.

    Raises:
        ArtefactError: The file is truncated, damaged or no artefact.
    """
    return LoadedModel(decode(Path(path).read_bytes()))
