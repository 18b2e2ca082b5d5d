"""The store keeps whole files or none, the first result of a key, and one coordinator per study."""

import json
import math
import multiprocessing
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from methods.figures import Line, LineChart
from methods.task_spec import DataSpec, NetworkSpec, TaskSpec
from orchestrator.errors import StoreFull, StoreLocked, StoreProblem, UnknownRecord
from orchestrator.runs import Failure, GradedVariant, Record, Run, RunResult
from orchestrator.sizes import Sizes
from orchestrator.store import Store
from orchestrator.store.files import RemoteFiles
from orchestrator.store.study_lock import LockOwner

TASK = TaskSpec(data=DataSpec(source="digits"), network=NetworkSpec(name="small_cnn"), epochs=2)
SIZES = Sizes(parameters=10, nonzeros=5, stored_bytes=40, macs=100)


def a_run(number: int = 0) -> Run:
    config = {"learning_rate": 0.1 + number / 1000}
    return Run(task_name="digits", task=TASK, data_fingerprint="f", method="dense", config=config, seed=0)


def a_result(run: Run, *, accuracy: float = 0.9, metric: str = "accuracy") -> RunResult:
    variant = GradedVariant(
        label="dense", kind="whole", validation={metric: accuracy}, sizes=SIZES, reference_sizes=SIZES
    )
    return RunResult(
        key=run.key,
        run=run,
        variants=(variant,),
        epochs=2,
        fit_seconds=1.0,
        grade_seconds=0.5,
        finished_at="2026-01-01T00:00:00Z",
    )


def a_record(trial: int = 0, **changes: object) -> Record:
    fields = {"study": "s", "task_name": "digits", "method": "dense", "trial": trial, "seed": 0, "phase": "search"}
    return Record.model_validate(fields | {"run": a_run(), "status": "finished"} | changes)


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store on the disk, and one through pyarrow's interface as for any file system that is not a local disk."""
    if request.param == "local":
        return Store.open(str(tmp_path / "results"))
    (tmp_path / "bucket").mkdir()
    filesystem = SubTreeFileSystem(str(tmp_path / "bucket"), LocalFileSystem())
    return Store("bucket://results", RemoteFiles(filesystem, "results", "bucket://results"))


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """The system refuses to write more, as a full quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def all_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_result_comes_back_equal_and_the_first_one_stays(store: Store) -> None:
    run = a_run()
    assert store.read_outcome(run.key) is None
    assert store.put_outcome(a_result(run, accuracy=0.9)) is True
    assert store.put_outcome(a_result(run, accuracy=0.1)) is False
    assert store.read_outcome(run.key) == a_result(run, accuracy=0.9)


def test_a_score_that_is_not_finite_survives(store: Store) -> None:
    run = a_run()
    store.put_outcome(a_result(run, accuracy=math.nan, metric="r2"))
    found = store.read_outcome(run.key)
    assert found is not None
    assert math.isnan(found.variants[0].score)


def test_a_run_is_finished_only_with_its_outcome(store: Store) -> None:
    done, begun = a_run(1), a_run(2)
    for run in (done, begun):
        store.put_run(run)
        store.put_variant(run.key, "dense", artefact=b"a", weights=b"w")
    store.put_outcome(a_result(done))
    assert store.finished_keys() == [done.key]


def test_variants_come_back_and_do_not_change_once_graded(store: Store) -> None:
    run = a_run()
    store.put_variant(run.key, "width-0.5", artefact=b"first", weights=b"w")
    store.put_variant(run.key, "width-0.5", artefact=b"second", weights=b"v")
    store.put_outcome(a_result(run))
    store.put_variant(run.key, "width-0.5", artefact=b"late twin", weights=b"u")
    found = store.read_variant(run.key, "width-0.5")
    assert (found.artefact, found.weights) == (b"second", b"v")


def test_a_missing_variant_is_named_with_those_that_are_there(store: Store) -> None:
    store.put_variant("k", "small", artefact=b"a", weights=b"w")
    with pytest.raises(UnknownRecord, match="no variant 'large'; it has: small"):
        store.read_variant("k", "large")


def test_curves_come_back_as_a_table(store: Store) -> None:
    table = pa.table({"epoch": [0, 1], "train_loss": [1.5, None]})
    assert store.read_curves("k") is None
    store.put_curves("k", table)
    assert store.read_curves("k") == table


def test_figures_come_back_equal_and_a_run_without_any_has_none(store: Store) -> None:
    line = Line(label="c", x=(1.0, 2.0), y=(0.5, None))
    chart = LineChart(name="pull", title="Pull", x_label="epoch", y_label="c", lines=(line,))
    assert store.read_figures("k") == ()
    store.put_figures("k", ())
    assert store.read_figures("k") == ()
    store.put_figures("k", (chart,))
    assert store.read_figures("k") == (chart,)


def test_figures_that_cannot_be_read_are_named_with_their_mend(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    chart = LineChart(name="pull", title="", x_label="", y_label="", lines=(Line(label="c", x=(1.0,), y=(2.0,)),))
    store.put_figures("k", (chart,))
    path = tmp_path / "runs" / "k" / "figures.json"
    whole = path.read_text()
    for damaged in (whole[:40], whole.replace('"lines"', '"pie"', 1)):
        path.write_text(damaged)
        with pytest.raises(StoreProblem, match=r"k/figures\.json: not readable as figures: .*delete it, and the run"):
            store.read_figures("k")


def test_failures_are_kept_in_order(store: Store) -> None:
    failures = [Failure(kind="raised", message=f"attempt {n}", at="2026-01-01T00:00:00Z") for n in range(3)]
    assert store.failures("k") == []
    for failure in failures:
        store.add_failure("k", failure)
    assert store.failures("k") == failures


def test_a_checkpoint_lives_until_the_run_is_done(store: Store) -> None:
    run = a_run()
    store.put_checkpoint(run.key, b"epoch 1")
    store.put_checkpoint(run.key, b"epoch 2")
    assert store.read_checkpoint(run.key) == b"epoch 2"
    store.put_outcome(a_result(run))
    assert store.read_checkpoint(run.key) is None


def test_the_ledger_comes_back_in_order_and_keeps_the_first_line(store: Store) -> None:
    folder = store.study("s")
    records = [a_record(trial) for trial in (2, 0, 1)]
    assert all(folder.put_record(record) for record in records)
    assert folder.put_record(a_record(0, status="failed")) is False
    assert folder.records() == sorted(records, key=lambda record: record.trial)
    assert folder.put_record(a_record(0, status="failed"), replace=True) is True
    assert folder.records()[0].status == "failed"


def test_the_test_split_is_opened_once(store: Store) -> None:
    folder = store.study("s")
    assert folder.read_test() is None
    assert folder.put_test({"accuracy": 0.9}) is True
    assert folder.put_test({"accuracy": 0.99}) is False
    assert folder.read_test() == {"accuracy": 0.9}


def test_a_study_keeps_its_file_and_reports(store: Store) -> None:
    folder = store.study("s")
    folder.put_spec("study: s\nquestion: größer?\n")
    folder.write_file("report.html", b"<html>")
    assert folder.read_spec() == "study: s\nquestion: größer?\n"
    assert folder.read_file("report.html") == b"<html>"
    assert folder.read_file("pareto.png") is None
    assert store.study_names() == ["s"]


def test_an_unknown_study_is_named_with_those_that_are_there(store: Store) -> None:
    store.study("known").put_spec("study: known")
    with pytest.raises(UnknownRecord, match="no study 'unknown' in this store; it holds: known"):
        store.study("unknown").read_spec()


@pytest.mark.parametrize("name", ["../up", "", ".", "a/b", ".hidden"])
def test_no_name_leaves_the_store(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        store.study(name)
    with pytest.raises(ValueError, match="cannot name a file"):
        store.put_variant("k", name, artefact=b"", weights=b"")


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    run = a_run()
    store.put_outcome(a_result(run))
    path = tmp_path / "runs" / run.key / "outcome.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreProblem, match=f"{run.key}/outcome.json: not a readable RunResult.*delete it"):
        store.read_outcome(run.key)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    run = a_run()
    store.put_checkpoint(run.key, b"small")
    with files_no_larger_than(100):
        with pytest.raises(StoreFull, match=r"outcome\.json.*free some space"):
            store.put_outcome(a_result(run))
        with pytest.raises(StoreFull, match=r"state\.bin"):
            store.put_checkpoint(run.key, b"x" * 10_000)
    assert all_files(tmp_path) == [f"runs/{run.key}/checkpoint/state.bin"]
    assert store.read_checkpoint(run.key) == b"small"


def test_a_place_that_cannot_be_written_is_refused_when_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreProblem, match="file"):
        Store.open(str(tmp_path / "file" / "store"))
    # /proc refuses new folders even to the superuser, whom permissions do not bind.
    with pytest.raises(StoreProblem, match=r"/proc"):
        Store.open("/proc/pare-results")


def test_reading_a_store_that_is_not_there_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreProblem, match="no store here"):
        Store.open(str(tmp_path / "nowhere"), read_only=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_uri_that_nobody_knows_is_refused_without_its_password() -> None:
    with pytest.raises(StoreProblem, match="give a local folder or a URI") as caught:
        Store.open("ftp://user:secret@host/folder")
    assert "secret@" not in str(caught.value).split(":", 2)[1]


def test_a_file_uri_and_a_path_are_the_same_store(tmp_path: Path) -> None:
    Store.open(str(tmp_path)).put_checkpoint("k", b"state")
    assert Store.open(tmp_path.as_uri()).read_checkpoint("k") == b"state"


def test_a_store_can_be_sent_to_another_process(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    store.put_checkpoint("k", b"state")
    assert pickle.loads(pickle.dumps(store)).read_checkpoint("k") == b"state"


def put_outcomes(uri: str, accuracy: float, added: "multiprocessing.Queue[int]") -> None:
    store = Store.open(uri)
    added.put(sum(store.put_outcome(a_result(a_run(number), accuracy=accuracy)) for number in range(100)))


def test_of_two_writers_exactly_one_wins_each_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    added = context.Queue()
    writers = [context.Process(target=put_outcomes, args=(str(tmp_path), score, added)) for score in (0.1, 0.2, 0.3)]
    for writer in writers:
        writer.start()
    assert sum(added.get(timeout=60) for _ in writers) == 100
    for writer in writers:
        writer.join()
    assert all_files(tmp_path) == sorted(f"runs/{a_run(number).key}/outcome.json" for number in range(100))


WRITE_FOREVER = """
import sys
from orchestrator.store import Store
store = Store.open(sys.argv[1])
print("begun", flush=True)
while True:
    store.put_checkpoint("k", bytes(4_000_000))
"""


def test_a_killed_process_leaves_a_whole_file_or_none(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.05)
        writer.send_signal(signal.SIGKILL)
    assert store.read_checkpoint("k") in (None, bytes(4_000_000))
    store.put_outcome(a_result(a_run()))
    store.drop_checkpoint("k")
    assert not [name for name in all_files(tmp_path) if name.startswith("runs/k/")]


def write_lock(tmp_path: Path, **changes: object) -> None:
    owner = LockOwner(
        token="other",
        owner="pare run",
        host=socket.gethostname(),
        pid=os.getpid(),
        process_started=0.0,
        since="2026-01-01T00:00:00+00:00",
        heartbeat=time.time(),
    )
    path = tmp_path / "studies" / "s" / "lock"
    path.parent.mkdir(parents=True)
    path.write_text(owner.model_copy(update=changes).model_dump_json())


def test_a_second_coordinator_is_told_who_is_at_work(store: Store) -> None:
    with store.study("s").lock("pare run s.yaml"):
        with (
            pytest.raises(StoreLocked, match=rf"'pare run s.yaml' \(process {os.getpid()} on .*, since 20.*delete"),
            store.study("s").lock("pare resume s"),
        ):
            pass
        with store.study("another").lock("pare run another.yaml"):
            pass


def test_the_lock_is_given_back_however_the_work_ends(store: Store) -> None:
    with pytest.raises(KeyError), store.study("s").lock("first"):
        raise KeyError
    with store.study("s").lock("second") as lock:
        lock.touch()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    script = (
        "import os, sys; from orchestrator.store import Store\n"
        "with Store.open(sys.argv[1]).study('s').lock('killed'): os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert (tmp_path / "studies/s/lock").exists()
    with Store.open(str(tmp_path)).study("s").lock("next"):
        assert json.loads((tmp_path / "studies/s/lock").read_text())["owner"] == "next"


def test_a_process_id_used_again_does_not_hold_the_lock(tmp_path: Path) -> None:
    write_lock(tmp_path, pid=os.getpid(), process_started=1.0)
    with Store.open(str(tmp_path)).study("s").lock("next"):
        pass


def test_another_machine_holds_the_lock_while_its_heart_beats(tmp_path: Path) -> None:
    write_lock(tmp_path, host="elsewhere", heartbeat=time.time() - 60)
    folder = Store.open(str(tmp_path)).study("s")
    with pytest.raises(StoreLocked, match="on elsewhere"), folder.lock("next"):
        pass


def test_a_silent_machine_loses_the_lock_after_two_minutes(tmp_path: Path) -> None:
    write_lock(tmp_path, host="elsewhere", heartbeat=time.time() - 121)
    with Store.open(str(tmp_path)).study("s").lock("next"):
        pass


def test_a_coordinator_that_was_replaced_hears_of_it_and_leaves_the_lock_alone(tmp_path: Path) -> None:
    with Store.open(str(tmp_path)).study("s").lock("first") as lock:
        path = tmp_path / "studies/s/lock"
        taken_over = json.loads(path.read_text()) | {"token": "another", "owner": "second"}
        path.write_text(json.dumps(taken_over))
        with pytest.raises(StoreLocked, match="taken over by 'second'"):
            lock.touch()
    assert json.loads(path.read_text())["owner"] == "second"


def test_of_many_that_find_a_dead_lock_one_gets_it(tmp_path: Path) -> None:
    write_lock(tmp_path, process_started=1.0)
    folder = Store.open(str(tmp_path)).study("s")
    got: list[str] = []
    refused = threading.Semaphore(0)

    def take(name: str) -> None:
        try:
            with folder.lock(name):
                got.append(name)
                for _ in range(7):
                    refused.acquire(timeout=10)
        except StoreLocked:
            refused.release()

    threads = [threading.Thread(target=take, args=(f"owner {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


def test_a_local_journal_lies_in_the_study(tmp_path: Path) -> None:
    assert Store.open(str(tmp_path)).study("s").journal_path() == tmp_path / "studies/s/search.journal"
    assert (tmp_path / "studies/s").is_dir()


def test_a_remote_journal_is_worked_on_here_and_kept_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filesystem = SubTreeFileSystem(str(tmp_path), LocalFileSystem())
    folder = Store("bucket://results", RemoteFiles(filesystem, "bucket", "bucket://results")).study("s")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one machine"))
    journal = folder.journal_path()
    journal.write_bytes(b"line 1\nline 2\n")
    folder.keep_journal()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    elsewhere = folder.journal_path()
    assert elsewhere != journal
    assert elsewhere.read_bytes() == b"line 1\nline 2\n"
