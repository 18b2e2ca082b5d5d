"""Addresses of tracking services, and a client that nothing in the environment can redirect."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import warnings
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ServiceMissing
from orchestrator.tracking_server import DATABASE

if TYPE_CHECKING:
    from mlflow import MlflowClient


def resolved(uri: str, store_uri: str) -> str:
    """A study's `tracking` as an address: `sqlite` is a database in the local store.

    Raises:
        ServiceMissing: No such kind of tracking, or the store is not local and cannot hold a database.
    """
    if uri == "sqlite":
        if "://" in store_uri:
            raise ServiceMissing(
                f"tracking: sqlite needs a store in a local folder, not {store_uri}; name a server: tracking: http://..."
            )
        return f"sqlite:///{Path(store_uri).absolute() / DATABASE}"
    if not re.match(r"(https?|sqlite)://", uri):
        raise ServiceMissing(f"tracking: '{uri}'; it is sqlite, none, http://host:port, https://... or sqlite:///path")
    return uri


def database_of(uri: str) -> Path | None:
    """The file behind an `sqlite:///` address; None for a server's."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def open_client(uri: str) -> MlflowClient:
    """A client with explicit addresses, so that nothing in the environment can redirect it.

    The client never looks at MLFLOW_RUN_ID or an active run, which would turn a child into its parent.
    """
    # Read when MLflow is imported or asks a server; patience is the backlog's part.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    # MLflow 3.17 uses a loader that SQLAlchemy 2.1 calls deprecated, in every query.
    warnings.filterwarnings("ignore", module=r"(mlflow|sqlalchemy|alembic)(\.|$)")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        # Whatever they have to say is in `problem`, in one line instead of a page.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    database = database_of(uri)
    if database is not None:
        _open_database(database)
    # Creates the schema of a new database, here in one thread of one process.
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _open_database(path: Path) -> None:
    """Fail at once where no database can be, for MLflow would try for minutes; make its writes cheap.

    With a write-ahead log, writes need no flush to disk each (five a record, up to 6 ms each). A power failure can
    cost the last of them, never the database; the store brings them again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
    _flush_seldom()


@cache
def _flush_seldom() -> None:
    """Let every later SQLite connection with a write-ahead log, MLflow's among them, flush at checkpoints only."""
    from sqlalchemy import Engine, event

    def on_connect(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            if mode == "wal":
                connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(Engine, "connect", on_connect)


def settle_database(path: Path) -> None:
    """Move the write-ahead log into the database, so that the file alone may be copied; a reader may delay that."""
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def without_password(uri: str) -> str:
    """The address as it may be shown."""
    return re.sub(r"://[^/@]*@", "://", uri)
