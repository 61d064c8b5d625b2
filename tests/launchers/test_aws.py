"""aws.yaml against EC2's model of RunInstances; prepare_aws.py against a real HTTP server."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from moto.server import ThreadedMotoServer

from tests.cluster.ec2 import forget_state
from tests.launchers.files import CLUSTER, Path_, changed, cluster_file, node_configs, renamed

REGION = "us-west-2"
BUCKET = "lorac-test"
PREPARE = CLUSTER / "prepare_aws.py"


# ---- aws.yaml


def issues(node_config: dict[str, Any]) -> str:
    """Return what EC2's request model says against a node_config, as Ray sends it."""
    request = {"MinCount": 1, "MaxCount": 1} | node_config
    request["SubnetId"] = request.pop("SubnetIds")[0]
    model = ServiceModel(Loader().load_service_model("ec2", "service-2"))
    shape = model.operation_model("RunInstances").input_shape
    report: str = ParamValidator().validate(request, shape).generate_report()
    return report


@pytest.mark.parametrize("node_type", list(node_configs("aws.yaml")))
def test_ec2_knows_every_field(node_type: str) -> None:
    assert issues(node_configs("aws.yaml")[node_type]) == ""


@pytest.mark.parametrize(
    ("place", "misspelt"),
    [
        (("InstanceType",), "instanceType"),
        (("InstanceMarketOptions", "MarketType"), "Market"),
        (("MetadataOptions", "HttpTokens"), "HTTPTokens"),
        (("IamInstanceProfile", "Name"), "ARN"),
        (("BlockDeviceMappings", 0, "Ebs", "Encrypted"), "Encrypt"),
    ],
)
def test_a_misspelt_field_is_refused(place: Path_, misspelt: str) -> None:
    assert misspelt in issues(renamed(node_configs("aws.yaml")["l4-spot"], place, misspelt))


def test_a_wrong_type_is_refused() -> None:
    config = node_configs("aws.yaml")["head"]
    assert "SecurityGroupIds" in issues(changed(config, ("SecurityGroupIds",), "sg-1"))
    size: Path_ = ("BlockDeviceMappings", 0, "Ebs", "VolumeSize")
    assert "VolumeSize" in issues(changed(config, size, "100"))


def test_own_security_group_profile_and_metadata_tokens_everywhere() -> None:
    for node_type, config in node_configs("aws.yaml").items():
        assert config["SecurityGroupIds"]  # else Ray opens port 22 to the internet
        role = "head" if node_type == "head" else "worker"
        assert config["IamInstanceProfile"] == {"Name": f"lorac-sweeps-{role}"}
        assert config["MetadataOptions"]["HttpTokens"] == "required"
        (disk,) = config["BlockDeviceMappings"]
        assert disk["Ebs"]["DeleteOnTermination"] is True
        assert disk["Ebs"]["Encrypted"] is True


def test_only_spot_workers_are_spot() -> None:
    for node_type, config in node_configs("aws.yaml").items():
        spot = config.get("InstanceMarketOptions") == {"MarketType": "spot"}
        assert spot == node_type.endswith("-spot")


# ---- prepare_aws.py


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Address of a server that plays EC2, IAM and S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    forget_state(url)
    yield url
    server.stop()


@pytest.fixture
def account(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Credentials for that server; returns a public key."""
    credentials = tmp_path / "credentials"
    credentials.write_text(
        "[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key.with_suffix(".pub")


def prepare(key: Path, *, ssh_from: str = "203.0.113.7/32") -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    options = ("--region", REGION, "--bucket", BUCKET, "--ssh-from", ssh_from)
    return subprocess.run(
        [sys.executable, str(PREPARE), *options, "--public-key", str(key)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare_aws", PREPARE)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_what_it_makes_and_that_a_second_run_changes_nothing(account: Path) -> None:
    first = prepare(account)
    assert first.returncode == 0, first.stderr
    second = prepare(account)
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout

    ec2 = boto3.client("ec2", region_name=REGION)
    named = [{"Name": "group-name", "Values": ["lorac-sweeps"]}]
    (group,) = ec2.describe_security_groups(Filters=named)["SecurityGroups"]
    assert f"SecurityGroupIds: [{group['GroupId']}]" in first.stdout
    rules = {rule["IpProtocol"]: rule for rule in group["IpPermissions"]}
    assert set(rules) == {"-1", "tcp"}
    assert rules["tcp"]["FromPort"] == rules["tcp"]["ToPort"] == 22
    assert [r["CidrIp"] for r in rules["tcp"]["IpRanges"]] == ["203.0.113.7/32"]
    assert rules["-1"]["IpRanges"] == []
    (pair,) = rules["-1"]["UserIdGroupPairs"]
    assert pair["GroupId"] == group["GroupId"]

    iam = boto3.client("iam", region_name=REGION)
    for role in ("head", "worker"):
        name = f"lorac-sweeps-{role}"
        profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        assert [r["RoleName"] for r in profile["Roles"]] == [name]
    policy = iam.get_role_policy(RoleName="lorac-sweeps-worker", PolicyName="lorac-sweeps")
    actions = json.dumps(policy["PolicyDocument"])
    assert "s3:PutObject" in actions
    assert "ec2:" not in actions
    assert "iam:" not in actions

    s3 = boto3.client("s3", region_name=REGION)
    blocked = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert all(blocked.values())


def test_the_printed_subnets_belong_to_the_zones(account: Path) -> None:
    printed = prepare(account).stdout
    ec2 = boto3.client("ec2", region_name=REGION)
    zones = {s["SubnetId"]: s["AvailabilityZone"] for s in ec2.describe_subnets()["Subnets"]}
    lines = dict(line.split(": ", 1) for line in printed.splitlines() if ": " in line)
    subnets = lines["SubnetIds"].strip("[]").split(", ")
    assert [zones[subnet] for subnet in subnets] == lines["availability_zone"].split(",")


@pytest.mark.parametrize("ssh_from", ["0.0.0.0/0", "203.0.113.7/24", "my-laptop"])
@pytest.mark.usefixtures("account")
def test_ssh_from_everywhere_is_refused(ssh_from: str, tmp_path: Path) -> None:
    done = prepare(tmp_path / "key.pub", ssh_from=ssh_from)
    assert done.returncode == 2
    assert "--ssh-from" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_head_may_pass_only_the_role_of_workers_and_end_only_its_own_instances() -> None:
    statements = module().launch_rights("arn:aws:iam::1:role/lorac-sweeps-worker")
    (passing,) = [s for s in statements if s["Action"] == "iam:PassRole"]
    assert passing["Resource"] == "arn:aws:iam::1:role/lorac-sweeps-worker"
    (ending,) = [s for s in statements if "ec2:TerminateInstances" in s["Action"]]
    name = cluster_file("aws.yaml")["cluster_name"]
    assert ending["Condition"] == {"StringEquals": {"ec2:ResourceTag/ray-cluster-name": name}}
