"""MLflow as a view of the store. The only folder that imports MLflow, and only once something is to be written.

A study is an experiment, an execution of it a parent run, a record a child run, the network that a confirmed run would
deploy a logged model. Everything is derived from the store, so writing it twice changes nothing and a lost tracking
server is filled again by `sync`. Writing happens in a thread of its own (`backlog`): a study neither waits for MLflow
nor fails because of it.

    tracker.py      what a study sees: start, record, finish; sync
    experiment.py   one study in a service that answers: its experiment and child runs
    parent_run.py   the run of an execution, which carries the report
    models.py       the networks of confirmed runs, as logged models; loaded_model.py: what MLflow makes of one again
    figures.py      what confirmed runs recorded of themselves, as pictures and data
    stored_runs.py  a study as the store has it; tracked_run.py: what is told of one record
    pages.py        the notes and prepared views that lead a reader: pure; notes.py: whose note it is; narrowed.py
    connection.py   addresses, and a client that nothing in the environment can redirect; calls.py: two of its calls
"""

from orchestrator.tracking.tracker import MlflowTracker, NullTracker, Tracker, open_tracker, sync

__all__ = ["MlflowTracker", "NullTracker", "Tracker", "open_tracker", "sync"]
