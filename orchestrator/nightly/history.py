"""The nights of a nightly study in its store: one file each, and reports beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import ValidationError

from orchestrator.errors import StoreProblem, UnknownRecord
from orchestrator.nightly.model import Night
from orchestrator.store import Store

_NIGHT = re.compile(r"^(\d{4}-\d\d-\d\d)\.json$")


class History:
    """All nights of one study.

    Args:
        store: The nightly's, in which each night has a store of its own.
        study: Name of the nightly study.
    """

    def __init__(self, store: Store, study: str) -> None:
        self.study = study
        self._store = store
        self._shelf = store.nightly(study)

    def nights(self) -> list[Night]:
        """The oldest first.

        Raises:
            StoreProblem: One of them cannot be read.
        """
        dates = [found[1] for name in self._shelf.names() if (found := _NIGHT.match(name))]
        return [self.night(date) for date in dates]

    def night(self, date: str) -> Night:
        """
        Raises:
            UnknownRecord: There is none of that date.
            StoreProblem: It cannot be read.
        """
        name = f"{date}.json"
        data = self._shelf.read(name) if _NIGHT.match(name) else None
        if data is None:
            known = (
                ", ".join(name.removesuffix(".json") for name in self._shelf.names() if _NIGHT.match(name)) or "none"
            )
            raise UnknownRecord(f"{self._store}: no night {date} of '{self.study}'; there are: {known}")
        try:
            return Night.model_validate_json(data)
        except ValidationError as error:
            raise StoreProblem(
                f"{self._shelf.place(name)} is no night ({error.errors()[0]['msg']}); move it away, "
                "and the others count"
            ) from error

    def accepted_before(self, date: str, *, most: int) -> list[Night]:
        """The last accepted nights before a date, the oldest first; nights that are missing are passed over."""
        found = [night for night in self.nights() if night.date < date and night.accepted]
        return found[-most:]

    def put(self, night: Night) -> None:
        """Keep a night; one of the same date is replaced."""
        self._shelf.write(f"{night.date}.json", night.model_dump_json(indent=2).encode())

    def accept(self, date: str, *, accepted: bool = True) -> Night:
        """Have later nights compared with this one, or not any more, whatever was judged.

        Raises:
            UnknownRecord: There is none of that date.
        """
        night = self.night(date).model_copy(update={"accepted": accepted})
        self.put(night)
        return night

    def store_of(self, date: str) -> str:
        """Address of the store in which a night trains anew."""
        return self._store.nested(f"nightly/{self.study}/runs-{date}")

    def write_beside(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Reports of a night, or of all."""
        for name, data in files:
            self._shelf.write(name, data)
