"""Where a night is told: files beside its history, a webhook."""

from __future__ import annotations

import urllib.error
import urllib.request

from orchestrator.nightly.history import History
from orchestrator.nightly.model import Night
from orchestrator.nightly.reports import history_png, junit_xml, markdown
from orchestrator.spec import Study
from orchestrator.store import Store
from orchestrator.store.files import shown

_POST_SECONDS = 10.0


def files_of(study: Study, night: Night) -> dict[str, bytes]:
    """The night's reports; kept beside the history under its date, and the picture of all nights."""
    history = History(Store.open(study.store), study.name)
    files = {
        "night.json": night.model_dump_json(indent=2).encode(),
        "junit.xml": junit_xml(night),
        "night.md": markdown(night).encode(),
    }
    kept = [(f"{night.date}.{name.partition('.')[2]}", data) for name, data in files.items() if name != "night.json"]
    picture = history_png(history.nights())
    if picture is not None:
        files["history.png"] = picture
        kept.append(("history.png", picture))
    history.write_beside(kept)
    return files


def post(address: str, night: Night) -> str:
    """Send the night as JSON; why that failed, or nothing: a gate does not hang on who listens."""
    request = urllib.request.Request(
        address,
        data=night.model_dump_json().encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    try:
        urllib.request.urlopen(request, timeout=_POST_SECONDS).close()
    except (urllib.error.URLError, OSError, ValueError) as error:
        return f"the webhook {shown(address)} did not take the night: {error}"
    return ""
