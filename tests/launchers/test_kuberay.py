"""kuberay.yaml: the RayJob against the fields of KubeRay, the rest against Kubernetes."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
import yaml

from tests.launchers.files import CLUSTER, REPOSITORY, Path_, changed, renamed, schema

Document = dict[str, Any]


def documents() -> dict[str, Document]:
    """Return the objects of the file by kind."""
    text = (CLUSTER / "kuberay.yaml").read_text(encoding="utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def groups(job: Document) -> list[Document]:
    """Return the head group and the worker groups."""
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def check(job: Document) -> None:
    """Check a RayJob and what it holds of Kubernetes."""
    validate("rayjob", job)
    for group in groups(job):
        validate("pod_template", group["template"])
    options = job["spec"]["rayClusterSpec"]["autoscalerOptions"]
    validate("resource_requirements", options["resources"])


def validate(name: str, document: Document) -> None:
    jsonschema.Draft202012Validator(schema(name)).validate(document)


def test_kuberay_and_kubernetes_know_every_field() -> None:
    found = documents()
    assert set(found) == {"ServiceAccount", "NetworkPolicy", "RayJob"}
    validate("service_account", found["ServiceAccount"])
    validate("network_policy", found["NetworkPolicy"])
    check(found["RayJob"])


CLUSTER_SPEC: Path_ = ("spec", "rayClusterSpec")
POD: Path_ = (*CLUSTER_SPEC, "workerGroupSpecs", 0, "template", "spec")


@pytest.mark.parametrize(
    ("place", "misspelt"),
    [
        (("spec", "shutdownAfterJobFinishes"), "shutdownAfterJobFinished"),
        ((*CLUSTER_SPEC, "authOptions"), "authOption"),
        ((*CLUSTER_SPEC, "enableInTreeAutoscaling"), "enableInTreeAutoScaling"),
        ((*CLUSTER_SPEC, "autoscalerOptions", "idleTimeoutSeconds"), "idleTimeout"),
        ((*CLUSTER_SPEC, "workerGroupSpecs", 0, "maxReplicas"), "maxReplica"),
        ((*POD, "nodeSelector"), "nodeSelectors"),
        ((*POD, "containers", 0, "securityContext", "allowPrivilegeEscalation"), "privileged_"),
        ((*POD, "tolerations", 0, "operator"), "op"),
    ],
)
def test_a_misspelt_field_is_refused(place: Path_, misspelt: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match=misspelt):
        check(renamed(documents()["RayJob"], place, misspelt))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((*CLUSTER_SPEC, "authOptions", "mode"), "Token"),
        ((*CLUSTER_SPEC, "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "submissionMode"), "Sidecar"),
        ((*CLUSTER_SPEC, "workerGroupSpecs", 0, "maxReplicas"), "4"),
        ((*POD, "containers", 0, "env", 0, "value"), 0),
        ((*POD, "nodeSelector", "cloud.google.com/gke-spot"), True),
    ],
)
def test_a_wrong_value_is_refused(place: Path_, value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(changed(documents()["RayJob"], place, value))


def test_a_misspelt_policy_is_refused() -> None:
    policy = documents()["NetworkPolicy"]
    for place, name in (
        (("spec", "policyTypes"), "policyType"),
        (("spec", "ingress", 1, "ports", 0, "port"), "ports"),
    ):
        with pytest.raises(jsonschema.ValidationError):
            validate("network_policy", renamed(policy, place, name))


def test_the_policy_covers_all_pods_and_admits_only_them_and_the_operator() -> None:
    found = documents()
    labels = found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    for group in groups(found["RayJob"]):
        assert labels.items() <= group["template"]["metadata"]["labels"].items()
    own, operator = found["NetworkPolicy"]["spec"]["ingress"]
    assert own == {"from": [{"podSelector": {"matchLabels": labels}}]}
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]
    assert found["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress"]


def test_token_no_slots_on_the_head_and_workers_from_zero() -> None:
    spec = documents()["RayJob"]["spec"]
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["enableInTreeAutoscaling"] is True
    assert spec["shutdownAfterJobFinishes"] is True
    for group in cluster["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == 0
        assert group["maxReplicas"] > 0
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    spot, on_demand = cluster["workerGroupSpecs"]
    assert spot["priority"] > on_demand["priority"]


def test_no_secret_is_in_the_environment_of_a_pod() -> None:
    for group in groups(documents()["RayJob"]):
        for container in group["template"]["spec"]["containers"]:
            for variable in container["env"]:
                assert not re.search(r"KEY|SECRET|TOKEN|PASSWORD", variable["name"])


def test_the_version_of_ray_is_the_pinned_one() -> None:
    constraints = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    version = documents()["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"\nray=={version}\n" in constraints


def test_the_image_holds_what_the_job_calls() -> None:
    dockerfile = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
    ignored = (CLUSTER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        source
        for line in re.findall(r"^COPY (.+)$", dockerfile, flags=re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert all((REPOSITORY / source).exists() for source in copied)
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)
    script = documents()["RayJob"]["spec"]["entrypoint"].split()[1]
    assert script == "/home/ray/lorac-sweeps/cluster/sweep.py"
    assert "WORKDIR /home/ray/lorac-sweeps\n" in dockerfile
    assert "cluster/sweep.py" in copied
