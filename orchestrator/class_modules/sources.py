"""The runs whose class modules are to be composed with one another, and what each class of them is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.contract import Normalization
from methods.modules.library import ModuleLibrary
from methods.modules.picks import ModulePick
from methods.registry import did_you_mean
from orchestrator.class_modules.inputs import require_same_inputs, required_normalization
from orchestrator.errors import ExportRefused
from orchestrator.library_results import stored_library
from orchestrator.runs import RunResult

if TYPE_CHECKING:
    from orchestrator.store import Store


@dataclass(frozen=True, eq=False)
class SourceRun:
    """A finished run with class modules that run side by side and have heads: their scores compare across networks."""

    result: RunResult
    library: ModuleLibrary
    normalization: Normalization
    """Of its network's inputs."""

    @property
    def key(self) -> str:
        return self.result.key

    def knows(self, class_name: str) -> bool:
        return class_name in self.library.class_names

    def pick(self, class_name: str) -> ModulePick:
        return ModulePick(self.library, class_name, self.normalization)


@dataclass(frozen=True)
class Wish:
    """A class of the composition to come."""

    class_name: str
    run_key: str | None = None
    """Whose module it is to be; None: the best one's."""


def open_sources(store: Store, keys: Sequence[str]) -> list[SourceRun]:
    """The runs, in this order.

    Raises:
        ExportRefused: A run is named twice, or its modules cannot stand beside those of other runs.
        UnknownRecord: There is no such run, it is not finished, or it has no class modules.
        StoreProblem: What is stored of one cannot be read.
    """
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise ExportRefused(f"run {key} is named twice; name each run once")
    sources = [_opened(store, key) for key in keys]
    for source in sources[1:]:
        require_same_inputs(*((one.result, one.library.network) for one in (sources[0], source)))
    return sources


def parse_wishes(texts: Sequence[str], sources: Sequence[SourceRun]) -> list[Wish]:
    """What `--class` asks for: `NAME`, or `RUN_KEY:NAME` for the module of one of the runs, in this order.

    Names may hold colons themselves, as `digits:3` of a mixture does: what stands before one is a run's key only if it
    is the key of one of the runs. Classes of several runs are the same class where they have the same name.

    Raises:
        ExportRefused: There is no class, one is named twice, or no run, or not the one that is asked for, knows it.
    """
    if not texts:
        raise ExportRefused("no class is named; give --class for each class of the composition")
    wishes = [_wish(text, sources) for text in texts]
    names = [wish.class_name for wish in wishes]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ExportRefused(f"class '{name}' is named twice; name each class once, from one run")
    return wishes


def _opened(store: Store, key: str) -> SourceRun:
    library, result = stored_library(store, key), store.finished_run(key)
    if library.composition != "side_by_side":
        raise ExportRefused(
            f"run {key}: the modules of '{result.run.method}' are made to be united with others of their own network, "
            "so their logits say nothing beside the scores of other networks; compose them by themselves, and give "
            "runs of gradsplitter here"
        )
    if library.heads is None:
        raise ExportRefused(
            f"run {key}: the modules of '{result.run.method}' have no heads, so their scores are logits of their own "
            "network's scale and cannot be compared with those of other networks; compose them by themselves, and give "
            "runs of gradsplitter here"
        )
    return SourceRun(result, library, required_normalization(result))


def _wish(text: str, sources: Sequence[SourceRun]) -> Wish:
    before, _, behind = text.partition(":")
    asked = next((source for source in sources if source.key == before and behind), None)
    if asked is None:
        if not any(source.knows(text) for source in sources):
            raise ExportRefused(_unknown(text, sources))
        return Wish(text)
    if not asked.knows(behind):
        raise ExportRefused(_unknown(behind, [asked]))
    return Wish(behind, asked.key)


def _unknown(name: str, sources: Sequence[SourceRun]) -> str:
    known = tuple(dict.fromkeys(name for source in sources for name in source.library.class_names))
    who = f"run {sources[0].key} does not know" if len(sources) == 1 else "no run knows"
    return f"{who} the class '{name}'; known: {', '.join(known)}.{did_you_mean(name, known)}"
