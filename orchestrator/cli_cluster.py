"""The commands under `pare cluster`: parse, call, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli_options import Group, JsonOption, OtherStoreOption, TrackingOption, print_json

app = typer.Typer(
    cls=Group,
    help="Ray clusters: check the description of one, write manifests for Kubernetes.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="For `ray up`.")] = Path("cluster.yaml"),
    as_json: JsonOption = False,
) -> None:
    """Check a cluster's description.

    By Ray's own rules and ours: open dashboards, missing tokens, versions that are not pinned, addresses that nodes
    cannot reach. Nothing is started.
    """
    from orchestrator.cluster.check import check_cluster

    findings = check_cluster(file)
    faults = sum(one.level == "fault" for one in findings)
    if as_json:
        print_json({"file": str(file), "valid": not faults, "findings": [one.to_json() for one in findings]})
    else:
        for one in findings:
            print(one, file=sys.stderr)
        if not faults:
            print(f"{file}: ok")
    if faults:
        raise typer.Exit(2)


@app.command("manifest")
def manifest(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Study file.")],
    image: Annotated[str, typer.Option(help="With this project and Ray in it, by tag or digest.")],
    store: OtherStoreOption = None,
    tracking: TrackingOption = None,
    nightly: Annotated[
        str | None, typer.Option(metavar="CRON", help="A CronJob of `pare nightly` instead, e.g. '15 2 * * *', UTC.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Of Kubernetes.")] = "default",
    secret: Annotated[str, typer.Option(help="Its entries become environment variables.")] = "paredown",
    cpus: Annotated[int, typer.Option(help="Of each worker.", min=1)] = 4,
    memory: Annotated[int, typer.Option(help="GiB of each pod.", min=1)] = 8,
    most_workers: Annotated[int, typer.Option(help="Of each kind.", min=1)] = 4,
    gpu: Annotated[bool, typer.Option("--gpu", help="With workers that have a GPU as well.")] = False,
) -> None:
    """Write a manifest for Kubernetes to stdout.

    KubeRay's RayJob with a cluster of its own, or a CronJob for the nightly gate: `... | kubectl apply -f -`.
    """
    from orchestrator.cluster.manifest import Cluster, nightly_job, ray_job
    from orchestrator.spec.study_file import load_study

    changes = {name: value for name, value in (("store", store), ("tracking", tracking)) if value is not None}
    loaded = load_study(study, look_for_data=False).with_changes(**changes)
    cluster = Cluster(
        image=image,
        secret=secret,
        namespace=namespace,
        cpus=cpus,
        memory_gib=memory,
        most_workers=most_workers,
        gpu=gpu,
        addresses={"PAREDOWN_STORE": loaded.store, "PAREDOWN_TRACKING": loaded.tracking},
    )
    print(nightly_job(loaded, cluster, schedule=nightly) if nightly else ray_job(loaded, cluster), end="")
