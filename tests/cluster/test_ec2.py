"""aws.yaml launched by Ray on moto's EC2, and the hypervisor of the laboratory; without hosts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster.ec2 import Hypervisor, Instance, edited, make_network, moto_server
from tests.launchers.files import CLUSTER, cluster_file

REGION = "us-west-2"


@dataclass
class Recorder:
    """Record the hosts to power on and off."""

    calls: list[tuple[str, str]] = field(default_factory=list)

    def power_on(self, address: str) -> None:
        self.calls.append(("on", address))

    def power_off(self, address: str) -> None:
        self.calls.append(("off", address))


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """An account prepared by prepare_aws.py; the values for the lines marked EDIT.

    One for all tests, because Ray keeps its connections to an endpoint for the life of a process.
    """
    tmp_path = tmp_path_factory.mktemp("account")
    credentials = tmp_path / "credentials"
    credentials.write_text(
        "[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
    )
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with moto_server() as endpoint, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        vpc, subnet = make_network(REGION, "10.199.12.0/24")
        options = ("--region", REGION, "--bucket", "lab", "--ssh-from", "203.0.113.7/32")
        done = subprocess.run(
            [
                *(sys.executable, str(CLUSTER / "prepare_aws.py"), *options),
                *("--vpc", vpc, "--public-key", str(key.with_suffix(".pub"))),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        printed = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
        assert printed["SubnetIds"] == f"[{subnet}]"
        images = boto3.client("ec2", region_name=REGION).describe_images(Owners=["amazon"])
        yield {
            "ImageId": images["Images"][0]["ImageId"],
            "KeyName": printed["KeyName"],
            "SubnetIds": [subnet],
            "SecurityGroupIds": [printed["SecurityGroupIds"].strip("[]")],
        }


@pytest.fixture(scope="module")
def config(account: dict[str, Any]) -> dict[str, Any]:
    """The file after `ray up` has read, checked and completed it."""
    config = prepare_config(edited(cluster_file("aws.yaml"), REGION, account))
    validate_config(config)
    bootstrapped: dict[str, Any] = bootstrap_aws(config)
    return bootstrapped


@pytest.fixture
def ec2(account: dict[str, Any]) -> Iterator[Any]:
    """A client; instances of the test end with it."""
    client = boto3.client("ec2", region_name=REGION)
    yield client
    there = [instance.instance_id for instance in Hypervisor(client, Recorder()).instances()]
    client.terminate_instances(InstanceIds=there)


def launch(config: dict[str, Any], node_type: str) -> Instance:
    """Start one node of a type, as Ray's autoscaler does."""
    return launch_nodes(config, node_type, 1)[0]


def launch_nodes(config: dict[str, Any], node_type: str, count: int) -> list[Instance]:
    """Start nodes of a type with one call."""
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    kind = "head" if node_type == "head" else "worker"
    tags = {"ray-node-kind": kind, "ray-user-node-type": node_type, "ray-node-name": node_type}
    settings = config["available_node_types"][node_type]["node_config"]
    created = provider.create_node(settings, tags, count)
    client = boto3.client("ec2", region_name=REGION)
    found = {
        instance.instance_id: instance for instance in Hypervisor(client, Recorder()).instances()
    }
    return [found[instance_id] for instance_id in created]


def test_ray_launches_every_node_type_as_the_file_says(
    account: dict[str, Any], config: dict[str, Any], ec2: Any
) -> None:
    groups = ec2.describe_security_groups()["SecurityGroups"]
    assert not [g for g in groups if g["GroupName"].startswith("ray-autoscaler")]  # none of Ray's
    for node_type in config["available_node_types"]:
        launched = launch(config, node_type)
        described = ec2.describe_instances(InstanceIds=[launched.instance_id])
        (instance,) = described["Reservations"][0]["Instances"]
        role = "head" if node_type == "head" else "worker"
        assert [g["GroupId"] for g in instance["SecurityGroups"]] == account["SecurityGroupIds"]
        assert instance["IamInstanceProfile"]["Arn"].endswith(f"/lorac-sweeps-{role}")
        assert launched.spot == node_type.endswith("-spot")
        assert launched.node_type == node_type
        tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
        # the tag on which the policy of the head and the last command of aws.md rely
        assert tags["ray-cluster-name"] == config["cluster_name"]


def test_all_nodes_that_ray_asks_for_start(config: dict[str, Any], ec2: Any) -> None:
    assert len(launch_nodes(config, "l4-spot", 3)) == 3


def test_hosts_follow_the_instances(config: dict[str, Any], ec2: Any) -> None:
    power = Recorder()
    hypervisor = Hypervisor(ec2, power)
    head = launch(config, "head")
    hypervisor.step()
    worker = launch(config, "l4-spot")
    hypervisor.step()
    hypervisor.step()
    assert power.calls == [("on", head.address), ("on", worker.address)]
    assert head.address != worker.address
    with pytest.raises(ValueError, match="not a spot instance"):
        hypervisor.interrupt(head)
    hypervisor.interrupt(worker)
    hypervisor.step()
    hypervisor.step()
    assert power.calls[2:] == [("off", worker.address)]


def test_all_hosts_are_off_at_the_end(config: dict[str, Any], ec2: Any) -> None:
    power = Recorder()
    head = launch(config, "head")
    with Hypervisor(ec2, power).following(period_s=0.05):
        end = time.monotonic() + 20
        while not power.calls and time.monotonic() < end:
            time.sleep(0.05)
    assert power.calls == [("on", head.address), ("off", head.address)]


def test_a_failure_of_the_power_is_not_lost(config: dict[str, Any], ec2: Any) -> None:
    class Broken(Recorder):
        def power_on(self, address: str) -> None:
            raise RuntimeError(f"no host has the address {address}")

    head = launch(config, "head")
    hypervisor = Hypervisor(ec2, Broken())
    with pytest.raises(RuntimeError, match=head.address), hypervisor.following(period_s=0.05):
        time.sleep(1)
