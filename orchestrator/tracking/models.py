"""The networks of confirmed runs as logged models that MLflow loads: the store's artefact, a note, their figures."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from methods.artefact import decode
from methods.modules.side_by_side import SideBySide
from orchestrator.store import Store
from orchestrator.tracking.loaded_model import LoadedModel
from orchestrator.tracking.pages import NOTE_TAG
from orchestrator.tracking.tracked_run import TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import Model

ARTEFACT = "artefact.safetensors.zst"
_TYPE = "paredown"


class LoggedModels:
    """The models of one experiment, at most one a run: its headline.

    Args:
        client: Answers.
        store: Holds the artefacts.
        experiment_id: Where the models are.
        run_ids: The runs that are shown. Models of other runs, of runs replaced say, are deleted.
    """

    def __init__(self, client: MlflowClient, store: Store, experiment_id: str, *, run_ids: Collection[str]) -> None:
        self._client = client
        self._store = store
        self._experiment_id = experiment_id
        self._known = self._find(run_ids)

    def put(self, run: TrackedRun, run_id: str, *, now_ms: int) -> None:
        """Make the model of a run unless it is there; add what the test said of it since.

        Raises:
            UnknownRecord: The store has no such network.
        """
        known = self._known.get(run_id)
        if known is None:
            known = self._create(run, run_id)
            self._log(known, set(), run, run_id, now_ms)
            # Only now is it complete; a crash before this line leaves it pending, and it is made anew.
            self._client.finalize_logged_model(known.model_id, "READY")
            self._known[run_id] = self._client.get_logged_model(known.model_id)
        else:
            self._log(known, {metric.key for metric in known.metrics or ()}, run, run_id, now_ms)

    def _create(self, run: TrackedRun, run_id: str) -> LoggedModel:
        from mlflow.entities import LoggedModelOutput

        assert run.headline is not None, "only a run that delivered a network has a model"
        artefact = self._store.read_variant(run.record.run.key, run.headline.label).artefact
        tags = {key: value for key, value in run.tags().items() if key not in ("kind", "cached", "status")}
        model = self._client.create_logged_model(
            self._experiment_id,
            name=run.model_name,
            source_run_id=run_id,
            tags=tags,
            params=run.parameters(),
            model_type=_TYPE,
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, ARTEFACT).write_bytes(artefact)
            note = _note(run, model.model_id)
            Path(folder, "README.md").write_text(f"# {run.model_name}\n\n{note}", encoding="utf-8")
            _describe(artefact, model.model_id, run_id).save(str(Path(folder, "MLmodel")))
            self._client.log_model_artifacts(model.model_id, folder)
        self._client.set_logged_model_tags(model.model_id, {NOTE_TAG: note})
        self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        return model

    def _log(self, model: LoggedModel, there: set[str], run: TrackedRun, run_id: str, now_ms: int) -> None:
        from mlflow.entities import Metric

        # The run has the same values at the same times, so MLflow adds nothing to its charts.
        missing = [point for point in run.model_points(now_ms=now_ms) if point.key not in there]
        if missing:
            metrics = [Metric(key, value, at_ms, step, model.model_id) for key, value, at_ms, step in missing]
            self._client.log_batch(run_id, metrics)

    def _find(self, run_ids: Collection[str]) -> dict[str, LoggedModel]:
        from mlflow.entities import LoggedModelStatus

        known: dict[str, LoggedModel] = {}
        for model in list(self._search()):  # whole first: deleting would shift the pages
            run_id = model.source_run_id or ""
            if model.status != LoggedModelStatus.READY or run_id in known or run_id not in run_ids:
                self._client.delete_logged_model(model.model_id)
            else:
                known[run_id] = model
        return known

    def _search(self) -> Iterator[LoggedModel]:
        token = None
        while True:
            page = self._client.search_logged_models(
                [self._experiment_id], filter_string=f"attributes.model_type = '{_TYPE}'", page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


def _describe(artefact: bytes, model_id: str, run_id: str) -> Model:
    """What MLflow has to know to load the artefact: who does it, and what goes in."""
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    delivered = decode(artefact)
    network = delivered.network if isinstance(delivered, SideBySide) else delivered
    inputs = TensorSpec(np.dtype(np.float32), (-1, *network.architecture.input_shape))
    model = Model(run_id=run_id, model_id=model_id, signature=ModelSignature(Schema([inputs])))
    # Named, not imported: nothing that is logged can run code of its own when it is loaded.
    model.add_flavor("python_function", loader_module=LoadedModel.__module__, data=ARTEFACT)
    return model


_UNROLLED = (
    "\nWhere its class modules run side by side, they share their weights: "
    "`methods.modules.side_by_side.as_network(network)` is the plain network that was timed.\n"
)


def _note(run: TrackedRun, model_id: str) -> str:
    record = run.record
    assert run.headline is not None
    unrolled = "" if run.headline.kind != "composed" else _UNROLLED
    return f"""{_delivered(run)} With paredown installed, through MLflow:

```python
import mlflow

model = mlflow.pyfunc.load_model("models:/{model_id}")
outputs = model.predict(inputs)  # float32 arrays; a row of logits for each sample
```

or from the downloaded file, to go on with it in PyTorch:

```python
from pathlib import Path

from methods.artefact import decode

network = decode(Path("{ARTEFACT}").read_bytes())  # a torch.nn.Module
```
{unrolled}
{_INPUTS} In the store, variant `{run.headline.label}` of run `{record.run.key}` has its full-precision weights too.
"""


def _delivered(run: TrackedRun) -> str:
    record, variant = run.record, run.headline.label if run.headline else ""
    return (
        f"What {record.method} delivers on task `{record.task_name}` (study `{record.study}`, trial {record.trial}, "
        f"seed {record.seed}, variant `{variant}`): the network as it would be deployed and as it was measured."
    )


_INPUTS = (
    "Inputs are float32, shaped and normalised as the task does it. The file is safetensors within zstd: reading it "
    "runs no code."
)
