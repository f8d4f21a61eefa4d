"""What is rendered is what Slurm takes: every choice of every cluster file, asked of a real sbatch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from scheduler_spec import state_directory
from slurm.spank import build
from slurm.throwaway_slurm import RESERVATION, ThrowawaySlurm, accounts
from support import missing

from launcher.clusters import ClusterFile, UserAccounts, fields, parse_options
from launcher.clusters.cluster_file import SAMPLE_FACTS, SAMPLE_USER
from launcher.clusters.fields import Field, roots_of
from launcher.clusters.template import template_directory
from launcher.errors import InvalidOptions
from launcher.sandbox.scheduler import slurm_daemons

EVERYTHING = Path(__file__).parents[1] / "clusters/everything.yaml"
FILES = [*sorted((template_directory() / "clusters").glob("*.yaml")), EVERYTHING]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", autouse=True)
def installed():
    if absent := slurm_daemons.missing():
        missing(absent, "as root: apt-get install slurmctld slurmd slurm-client munge")


@pytest.fixture(scope="module")
def plugin(installed, tmp_path_factory):
    return build(tmp_path_factory.mktemp("spank"))


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def file(request):
    return ClusterFile.load(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def slurm(file, plugin):
    with state_directory() as state:
        slurm = ThrowawaySlurm(state / "s", file.cluster, plugin)
        await slurm.start()
        try:
            yield slurm
        finally:
            await slurm.stop()


def known_accounts(file: ClusterFile) -> UserAccounts:
    return UserAccounts(accounts(file.cluster), default=None)


def tries(file: ClusterFile, field: Field) -> Iterator[str]:
    """Yield what a user may choose or type in a field: all of a list, the ends of a range, examples."""
    yield from (option.value for option in field.options)
    if field.kind == "number":
        yield from (str(field.minimum), str(field.maximum))
    environments = [each for each in file.cluster.environments if each.id in field.environments]
    roots = {root for each in environments for root in roots_of(each, SAMPLE_USER)}
    if field.name == "uenv":
        if any(each.typed.labels for each in environments):
            yield from ("pytorch", "pytorch/v2.6", "pytorch/v2.6:v1@daint%gh200", "pytorch:latest@*")
        yield from (f"{root}/images/a.squashfs" for root in sorted(roots))
    elif field.name == "edf":
        yield from (f"{root}/my-1.0.toml" for root in sorted(roots))
    elif field.name == "view":
        yield "develop"
    elif field.name == "reservation":
        yield RESERVATION
    elif field.name == "start_directory":
        yield from file.cluster.start_directory.choices


def choices(file: ClusterFile) -> Iterator[dict[str, str]]:
    """Yield options: every partition with every environment, and with every choice of every field."""
    offered = {field.name: field for field in fields(file.cluster, SAMPLE_USER, known_accounts(file))}
    for partition in file.cluster.partitions:
        for environment in file.cluster.environments:
            base = {"partition": partition.name, "environment": environment.id}
            own = [each for each in offered.values() if environment.id in each.environments]
            needed = {each.name: value for each in own if each.needed for value in tries(file, each)}
            yield base | needed
            for field in own:
                yield from (base | needed | {field.name: value} for value in tries(file, field))
        first = {"partition": partition.name}
        for field in offered.values():
            if not field.environments and field.name not in ("partition", "environment"):
                yield from (first | {field.name: value} for value in tries(file, field))


async def test_slurm_takes_every_choice_that_a_cluster_file_offers(file, slurm):
    refused, taken = {}, set()
    for options in choices(file):
        try:
            request = parse_options(file.cluster, options, user=SAMPLE_USER, accounts=known_accounts(file))
        except InvalidOptions:
            continue  # of another partition, or of another environment: what remains is counted below
        answer = await slurm.ask(file.render(request, SAMPLE_FACTS))
        if not answer.accepted:
            refused[str(options)] = answer.words
        taken |= options.items()
    assert refused == {}
    assert {item for options in choices(file) for item in options.items()} <= taken


BROKEN = {
    "an unknown option": ("--no-requeue", "--no-such-thing", "unrecognized option"),
    "an unknown partition": ("--partition=normal", "--partition=nowhere", "invalid partition"),
    "a time above the partition's": ("--time=60", "--time=1441", "time limit is invalid"),
    "a time that is none": ("--time=60", "--time=soon", "Invalid --time"),
    "too many nodes": ("--nodes=1", "--nodes=9", "configuration is not available"),
    "a feature that no node has": ("--constraint=mc", "--constraint=nope", "Invalid feature"),
    "an unknown reservation": ("--exclusive", "--reservation=nope", "reservation is invalid"),
    "more GPUs than a node has": ("--gres=gpu:gh200:4", "--gres=gpu:gh200:5", "not available"),
    "GPUs of another kind": ("--gres=gpu:gh200:4", "--gres=gpu:a100:4", "not available"),
    "more CPUs than a node has": ("--cpus-per-task=72", "--cpus-per-task=289", "not available"),
    "more memory than a node has": ("--mem=16G", "--mem=513G", "not available"),
    "an unknown account": ("--account=proj1", "--account=proj3", "Invalid account"),
    "an unknown QoS": ("--qos=standard", "--qos=nope", "Invalid qos"),
    "a signal that is none": ("--signal=B:USR1@60", "--signal=B:HELLO@60", "Invalid --signal"),
    "a second word": ("--no-requeue", "--no-requeue x", "Invalid directive"),
    "a uenv that is none": ("--uenv=jupyterlab", "--uenv=+jupyterlab", "Invalid --uenv"),
    "a blank in the list of uenvs": (",prgenv-gnu", ", prgenv-gnu", "Invalid --uenv"),
    "a mount that is no path": (":/user-tools", ":user tools", "Invalid --uenv"),
    "a view of no uenv": ("--view=prgenv-gnu:default", "--view=julia:default", "is of no uenv"),
    "a view that is none": ("--view=prgenv-gnu:default", "--view=a:b:c", "Invalid --view"),
    "a view without a uenv": ("#SBATCH --uenv", "##SBATCH --uenv", "--uenv is not"),
    "a repository that is no path": ("--repo=/store", "--repo=store", "Invalid --repo"),
}


@pytest.mark.parametrize("file", [EVERYTHING], indirect=True, ids=[""])
@pytest.mark.parametrize("fault", BROKEN)
async def test_a_line_that_is_wrong_is_refused(file, slurm, fault):
    right, wrong, words = BROKEN[fault]
    options = {"gpus": "4", "account": "proj1"}
    request = parse_options(file.cluster, options, user=SAMPLE_USER, accounts=known_accounts(file))
    script = file.render(request, SAMPLE_FACTS)
    assert (await slurm.ask(script)).accepted
    assert script.count(right) == 1
    answer = await slurm.ask(script.replace(right, wrong))
    assert not answer.accepted
    assert words in answer.words
