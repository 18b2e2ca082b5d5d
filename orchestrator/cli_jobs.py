"""The commands on studies that run on a cluster: parse, call, print."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli_options import JsonOption, OtherStoreOption, TrackingOption, print_json
from orchestrator.errors import ServiceMissing

if TYPE_CHECKING:
    from orchestrator.cluster.jobs import Job

AddressOption = Annotated[
    str | None, typer.Option(help="Of the cluster's job API, e.g. http://head:8265.", envvar="RAY_API_SERVER_ADDRESS")
]
_JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or name of a study: its newest job.")]


def submit(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Study file.")],
    address: AddressOption = None,
    store: OtherStoreOption = None,
    tracking: TrackingOption = None,
    dirty: Annotated[bool, typer.Option("--dirty", help="Send files as they are, committed or not.")] = False,
    no_tree: Annotated[
        bool, typer.Option("--no-tree", help="Send the study alone, to run with what is installed on the cluster.")
    ] = False,
    most_megabytes: Annotated[float, typer.Option(help="Refuse a larger tree.", min=0)] = 50.0,
    wait: Annotated[bool, typer.Option("--wait", help="Show its log and wait for its end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send a study to a Ray cluster and come back.

    With the working tree as committed. Sending the same again finds the job that is there; one that failed or was
    stopped goes on from the store.
    """
    from orchestrator.cluster.jobs import Jobs, require_shared_store
    from orchestrator.cluster.tree import working_tree
    from orchestrator.spec.study_file import load_study

    changes = {"store": store, "tracking": tracking}
    given = {name: value for name, value in changes.items() if value is not None}
    # Its samples lie where the nodes are.
    loaded = load_study(study, look_for_data=False).with_changes(**given)
    require_shared_store(loaded)
    tree = None if no_tree else working_tree(study.absolute().parent, dirty=dirty, most_megabytes=most_megabytes)
    jobs = Jobs(address)
    job, is_new = jobs.submit(loaded, tree, options=("--tracking", tracking) if tracking else ())
    if as_json:
        print_json(job.to_json() | {"new": is_new})
    else:
        what = "submitted" if is_new else f"was submitted before and is {job.status}"
        print(f"{job.id}: {what} to {jobs.address}")
        print(f"pare logs {job.id} --follow | pare status {job.study} --store {loaded.store} | pare cancel {job.id}")
    if wait:
        for piece in jobs.logs(job, follow=True):
            print(piece, end="", file=sys.stderr)
        _end(jobs.wait(job))


def logs(
    job: _JobArgument,
    address: AddressOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until it ends.")] = False,
) -> None:
    """Show what a submitted study says."""
    from orchestrator.cluster.jobs import Jobs

    jobs = Jobs(address)
    for piece in jobs.logs(jobs.job(job), follow=follow):
        print(piece, end="", flush=True)


def cancel(job: _JobArgument, address: AddressOption = None) -> None:
    """Stop a submitted study.

    As Ctrl-C would: what is finished is kept, and submitting it again goes on.
    """
    from orchestrator.cluster.jobs import Jobs

    jobs = Jobs(address)
    found = jobs.job(job)
    if found.has_ended:
        print(f"{found.id}: has {found.status} already")
        return
    jobs.cancel(found)
    print(f"{found.id}: asked to stop; it writes its results down first, `pare wait {found.id}` sees its end")


def wait(
    job: _JobArgument,
    address: AddressOption = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds; without it for as long as it takes.", min=0)] = None,
    as_json: JsonOption = False,
) -> None:
    """Wait for a submitted study to end.

    Exits as the study did: 0 done, 130 stopped, 124 the time was over before.
    """
    from orchestrator.cluster.jobs import Jobs

    jobs = Jobs(address)
    ended = jobs.wait(jobs.job(job), timeout_seconds=timeout)
    if as_json:
        print_json(ended.to_json())
    else:
        print(f"{ended.id}: {ended.status}{f' ({ended.message})' if ended.status == 'failed' else ''}")
    _end(ended)


def jobs_of(studies: Sequence[str], address: str) -> list[Job]:
    """The jobs of studies; none where the cluster is gone, which is said."""
    from orchestrator.cluster.jobs import Jobs

    try:
        return [job for job in Jobs(address).jobs() if job.study in studies]
    except ServiceMissing as error:
        print(f"{error}\nfrom the store alone:", file=sys.stderr)
        return []


def _end(job: Job) -> None:
    if not job.has_ended:
        raise typer.Exit(124)
    if job.status == "stopped":
        raise typer.Exit(130)
    if job.status == "failed":
        raise typer.Exit(job.exit_code or 1)
