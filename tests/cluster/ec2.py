"""EC2 played by moto, and hosts of the laboratory that follow the state of its instances."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from unittest.mock import patch
from urllib.request import Request, urlopen

import boto3
from moto.ec2.responses.instances import InstanceResponse
from moto.server import ThreadedMotoServer

RUNNING = frozenset({"running"})
GONE = frozenset({"shutting-down", "terminated", "stopping", "stopped"})


class Power(Protocol):
    """Switches of the machines behind the addresses of instances."""

    def power_on(self, address: str) -> None:
        """Boot the host with this address; it answers ssh soon afterwards."""

    def power_off(self, address: str) -> None:
        """Cut the power of the host with this address."""


@dataclass(frozen=True)
class Instance:
    """Properties of an EC2 instance that the laboratory uses."""

    instance_id: str
    address: str
    state: str
    spot: bool
    node_type: str

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Instance:
        """Read one instance of DescribeInstances."""
        tags = {tag["Key"]: tag["Value"] for tag in description.get("Tags", [])}
        return cls(
            instance_id=description["InstanceId"],
            address=description.get("PrivateIpAddress", ""),
            state=description["State"]["Name"],
            spot=description.get("InstanceLifecycle") == "spot",
            node_type=tags.get("ray-user-node-type", ""),
        )


@dataclass
class Hypervisor:
    """Boots a host for each running instance and cuts its power when the instance ends.

    The address of an instance is that of its host. An instance that stays the same is left alone,
    so a host that a test has powered off stays off: to EC2 it is a machine that hangs.
    """

    ec2: Any
    power: Power
    on: dict[str, str] = field(default_factory=dict)
    """Addresses of the hosts that run, by instance."""

    def instances(self) -> list[Instance]:
        """Return all instances, those that have ended recently included."""
        pages = self.ec2.get_paginator("describe_instances").paginate()
        return [
            Instance.from_description(description)
            for page in pages
            for reservation in page["Reservations"]
            for description in reservation["Instances"]
        ]

    def step(self) -> None:
        """Bring the hosts to the state of the instances, once."""
        for instance in self.instances():
            there = instance.instance_id in self.on
            if instance.state in RUNNING and not there:
                self.on[instance.instance_id] = instance.address
                self.power.power_on(instance.address)
            elif instance.state in GONE and there:
                self.power.power_off(self.on.pop(instance.instance_id))

    def interrupt(self, instance: Instance) -> None:
        """Take a spot instance away, as EC2 does when it needs the capacity."""
        if not instance.spot:
            raise ValueError(f"{instance.instance_id} is not a spot instance")
        self.ec2.terminate_instances(InstanceIds=[instance.instance_id])

    @contextmanager
    def following(self, period_s: float = 0.5) -> Iterator[None]:
        """Call `step` in a thread; at the end, power off all hosts that still run.

        The thread powers them off: a host of the laboratory ends with the thread that started it.
        """
        stop = threading.Event()
        failures: list[BaseException] = []

        def follow() -> None:
            try:
                try:
                    while not stop.wait(period_s):
                        self.step()
                finally:
                    while self.on:
                        self.power.power_off(self.on.popitem()[1])
            except BaseException as error:  # noqa: BLE001  # raised again below
                failures.append(error)

        thread = threading.Thread(target=follow, name="hypervisor")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if failures:
            raise failures[0]


@contextmanager
def _all_that_are_asked_for() -> Iterator[None]:
    """Start MaxCount instances, as EC2 does if it has the capacity; moto starts MinCount."""
    plain = InstanceResponse._get_param

    def count(response: InstanceResponse, name: str, *rest: Any, **options: Any) -> Any:
        return plain(response, "MaxCount" if name == "MinCount" else name, *rest, **options)

    with patch.object(InstanceResponse, "_get_param", count):
        yield


@contextmanager
def moto_server(address: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve EC2, IAM and S3 on an address; the value is the endpoint's URL."""
    server = ThreadedMotoServer(ip_address=address, port=port)
    server.start()
    host, bound = server.get_host_and_port()
    url = f"http://{host}:{bound}"
    forget_state(url)
    try:
        with _all_that_are_asked_for():
            yield url
    finally:
        server.stop()


def forget_state(url: str) -> None:
    """Empty the accounts of a server, since all servers of one process share them."""
    with urlopen(Request(f"{url}/moto-api/reset", method="POST")) as answer:
        assert answer.status == 200


def make_network(region: str, cidr: str) -> tuple[str, str]:
    """Create a VPC with one subnet whose addresses are those of the hosts; return their ids.

    moto hands out the addresses of a subnet in order, from the fourth on, and none twice.
    """
    ec2 = boto3.client("ec2", region_name=region)
    vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
    zone = f"{region}a"
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone=zone)["Subnet"]
    subnet_id: str = subnet["SubnetId"]
    ec2.modify_subnet_attribute(SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": True})
    return vpc, subnet_id


def edited(config: dict[str, Any], region: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return aws.yaml with the lines marked EDIT filled in, as a user fills them in."""
    result = dict(config)
    result["provider"] = config["provider"] | {"region": region, "availability_zone": f"{region}a"}
    result["available_node_types"] = {
        name: node_type | {"node_config": node_type["node_config"] | values}
        for name, node_type in config["available_node_types"].items()
    }
    return result
