"""aws.yaml from `ray up` to `ray down`: EC2 is moto, instances are hosts of the laboratory.

The tests are the steps of one session and run in their order. The head gets its rights as on EC2:
from the metadata service, with no key on any node.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from sweeps.results.events import read_events
from sweeps.storage import open_storage
from tests.cluster.ec2 import RUNNING, Hypervisor, Instance, edited, make_network, moto_server
from tests.cluster.evidence import SharedFolder, scenario, wait_until
from tests.cluster.fault_sweep import SWEEP, worker_processes
from tests.cluster.lab.instances import Instances, instance_name
from tests.cluster.lab.laboratory import ADDRESSES, Lab, environment_mounts, laboratory
from tests.cluster.lab.launcher import MAKE_TOKEN, QUIET, SMALL_OBJECT_STORE, Launcher
from tests.cluster.lab.network import in_network
from tests.cluster.lab.slow import paced
from tests.cluster.lab.software import CHECKOUT, give_checkout
from tests.cluster.lab.switch import NETWORK
from tests.launchers.files import cluster_file
from tests.sweeps.execution.tables import Tables

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

REGION = "us-west-2"
PORT = 5000
ENDPOINT = f"http://{ADDRESSES['store']}:{PORT}"
KEYS = "[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
NODE_SETTINGS = {
    "AWS_REGION": REGION,
    "AWS_ENDPOINT_URL": ENDPOINT,
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": ENDPOINT,
}
WORKERS = 2
IDLE_MINUTES = 0.25
GPUS = 1.0
SLOWLY = 0.1
"""Stages per second that are finished while instances start."""
DOCUMENT: dict[str, Any] = SWEEP | {
    "resources": {"gpu": GPUS},
    "retries": {"worker_failures": 0, "node_losses": 2, "preemptions": 2},
}
"""A trial fails at the first loss that is counted as a failure of its worker."""
NAME = DOCUMENT["name"]


@dataclass(frozen=True)
class Cloud:
    """The user on the laptop, and the account in which the cluster runs."""

    lab: Lab
    user: Launcher
    hypervisor: Hypervisor
    instances: Instances

    def all_train(self) -> bool:
        """Tell whether as many workers as allowed run, each with the process of a trial."""
        workers = [instance for instance in self.running() if instance.node_type != "head"]
        hosts = [self.instances.hosts.get(worker.address) for worker in workers]
        busy = [host for host in hosts if host is not None and worker_processes(host)]
        return len(busy) == WORKERS

    def running(self) -> list[Instance]:
        """Return the instances that run, in the order of their start."""
        return [i for i in self.hypervisor.instances() if i.state in RUNNING]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """Steps 1 to 3 of aws.md: account prepared, file edited, token, `ray up`."""
    mounts = {"laptop": environment_mounts()}
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:
        lab = stack.enter_context(laboratory("aws", ("laptop", "store"), mounts))
        instances = Instances.prepare(lab)
        in_network(
            lab["store"], lambda: stack.enter_context(moto_server(ADDRESSES["store"], PORT))
        )
        # the same account again, where this process reaches it
        environment.setenv("AWS_ENDPOINT_URL", stack.enter_context(moto_server()))
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(key, "testing")
        vpc, subnet = make_network(REGION, f"{NETWORK}.0/24")
        hypervisor = Hypervisor(boto3.client("ec2", region_name=REGION), instances)
        user = prepare_user(lab)
        prepare_file(lab, printed_by_prepare_aws(user, vpc), subnet)
        stack.enter_context(hypervisor.following())
        user.run("ray up -y aws.yaml").expect()
        yield Cloud(lab, user, hypervisor, instances)


def prepare_user(lab: Lab) -> Launcher:
    """Give the laptop the checkout, keys of the account, a token and the settings of the nodes."""
    laptop = lab["laptop"]
    give_checkout(laptop, lab.folder / "keys" / "user")
    user = Launcher(laptop, QUIET | {"AWS_ENDPOINT_URL": ENDPOINT})
    user.run(MAKE_TOKEN).expect()
    laptop.write("~/.aws/credentials", KEYS, mode=0o600)
    exports = "".join(f"export {name}={value}\n" for name, value in NODE_SETTINGS.items())
    laptop.write("~/.lorac-sweeps/env", exports, mode=0o600)
    laptop.write(f"{CHECKOUT}/cluster/my/{NAME}.yaml", yaml.safe_dump(DOCUMENT))
    return user


def printed_by_prepare_aws(user: Launcher, vpc: str) -> dict[str, str]:
    """Run prepare_aws.py as the guide says; return the lines that it prints."""
    options = f"--region {REGION} --bucket lab --ssh-from {ADDRESSES['laptop']}/32 --vpc {vpc}"
    command = "ssh-keygen -y -f ~/.ssh/id_ed25519 > ~/.ssh/id_ed25519.pub; "
    command += f"python prepare_aws.py {options} --public-key ~/.ssh/id_ed25519.pub"
    output = user.run(command, tty=False).expect().output
    return dict(line.split(": ", 1) for line in output.splitlines() if ": " in line)


def prepare_file(lab: Lab, printed: dict[str, str], subnet: str) -> None:
    """Fill in the lines of aws.yaml marked EDIT; small object stores and a short idle time.

    One CPU per worker, because Ray starts an idle process for each: all hosts share this machine.
    """
    images = boto3.client("ec2", region_name=REGION).describe_images(Owners=["amazon"])
    values = {
        "ImageId": images["Images"][0]["ImageId"],
        "KeyName": printed["KeyName"],
        "SubnetIds": [subnet],
        "SecurityGroupIds": [printed["SecurityGroupIds"].strip("[]")],
    }
    config = edited(cluster_file("aws.yaml"), REGION, values)
    config["provider"]["use_internal_ips"] = True
    config["auth"] = config["auth"] | {"ssh_private_key": "~/.ssh/id_ed25519"}
    config |= {"max_workers": WORKERS, "idle_timeout_minutes": IDLE_MINUTES}
    for node_type in config["available_node_types"].values():
        if "GPU" in node_type["resources"]:
            node_type["resources"] = {"CPU": 1, "GPU": 1}
    text = yaml.safe_dump(config, sort_keys=False)
    text = text.replace("--object-store-memory=200000000", SMALL_OBJECT_STORE)
    lab["laptop"].write(f"{CHECKOUT}/cluster/aws.yaml", text)


def test_without_a_sweep_only_the_head_runs(cloud: Cloud) -> None:
    (head,) = cloud.hypervisor.instances()
    assert head.node_type == "head"
    assert not head.spot


def test_sweep_starts_workers_and_continues_after_a_spot_interruption(
    cloud: Cloud, unbroken: Tables
) -> None:
    storage = SharedFolder("/shared/sweeps", Path(cloud.lab.shared, "sweeps"))
    hosts = 2 + 1 + 2 * WORKERS
    with scenario("aws.yaml: spot interruption", hosts, storage, NAME) as test:
        driver = cloud.user.start(
            f"ray submit aws.yaml sweep.py -- run {NAME}.yaml --storage {storage.url}"
        )
        with paced(lambda: [*cloud.instances.hosts.values()], test.watch.count, SLOWLY):
            wait_until(cloud.all_train, "every worker has a trial", driver)
            test.watch.wait_for(WORKERS, driver)
            taken = cloud.running()[1:]
            assert {instance.node_type for instance in taken} == {"l4-spot"}
            for instance in taken:
                cloud.hypervisor.interrupt(instance)
                test.inject("spot interruption")
        done = driver.wait().expect()
        assert "8 of 8 trials finished, 0 failed" in done.output
        trials = [row | {"gpus": GPUS.hex()} for row in unbroken["trials"]]
        test.must_equal(unbroken | {"trials": trials}, NAME)

        names = {instance_name(instance.address) for instance in taken}
        trained_on = nodes_of("stage", storage)
        assert trained_on & names
        assert trained_on - names  # replacements trained the rest
        assert nodes_of("node_lost", storage) == names
        types = {instance.node_type for instance in cloud.hypervisor.instances()}
        assert types == {"head", "l4-spot"}  # on-demand and other types were not needed


def test_idle_workers_end_and_the_head_remains(cloud: Cloud) -> None:
    wait_until(lambda: len(cloud.running()) == 1, "idle workers end")
    (head,) = cloud.running()
    assert head.node_type == "head"


def test_ray_down_ends_everything_that_is_billed(cloud: Cloud) -> None:
    cloud.user.run("ray down -y aws.yaml").expect()
    assert cloud.running() == []


def nodes_of(kind: str, storage: SharedFolder) -> set[str]:
    """Return the names of the nodes in the events of a kind."""
    events = read_events(open_storage(str(storage.folder)), NAME)
    return {event.fields["node"] for event in events if event.kind == kind}
