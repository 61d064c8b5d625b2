"""gcp.yaml against the fields of Google's compute API."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from tests.launchers.files import Path_, changed, node_configs, renamed, schema

INSTANCE = jsonschema.Draft202012Validator(schema("gcp_instance"))


@pytest.mark.parametrize("node_type", list(node_configs("gcp.yaml")))
def test_google_knows_every_field(node_type: str) -> None:
    INSTANCE.validate(node_configs("gcp.yaml")[node_type])


@pytest.mark.parametrize(
    ("place", "misspelt"),
    [
        (("machineType",), "machinetype"),
        (("serviceAccounts", 0, "scopes"), "scope"),
        (("scheduling", "provisioningModel"), "provisionModel"),
        (("disks", 0, "initializeParams", "sourceImage"), "image"),
        (("networkInterfaces", 0, "accessConfigs", 0, "type"), "kind_"),
        (("guestAccelerators", 0, "acceleratorCount"), "count"),
    ],
)
def test_a_misspelt_field_is_refused(place: Path_, misspelt: str) -> None:
    broken = renamed(node_configs("gcp.yaml")["t4-spot"], place, misspelt)
    with pytest.raises(jsonschema.ValidationError, match=misspelt):
        INSTANCE.validate(broken)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("scheduling", "provisioningModel"), "PREEMPTIBLE"),
        (("scheduling",), [{"preemptible": True}]),  # the list of older examples
        (("disks", 0, "boot"), "yes"),
        (("tags",), ["lorac-sweeps"]),
    ],
)
def test_a_wrong_value_is_refused(place: Path_, value: object) -> None:
    broken = changed(node_configs("gcp.yaml")["l4-spot"], place, value)
    with pytest.raises(jsonschema.ValidationError):
        INSTANCE.validate(broken)


def test_own_network_firewall_tag_and_accounts() -> None:
    for node_type, config in node_configs("gcp.yaml").items():
        (interface,) = config["networkInterfaces"]
        assert "/default" not in interface["subnetwork"]
        assert config["tags"]["items"] == ["lorac-sweeps"]
        (account,) = config["serviceAccounts"]
        role = "head" if node_type == "head" else "worker"
        assert account["email"].startswith(f"lorac-sweeps-{role}@")


def test_spot_workers_are_deleted_and_gpu_nodes_terminate_for_maintenance() -> None:
    configs: dict[str, dict[str, Any]] = node_configs("gcp.yaml")
    for node_type, config in configs.items():
        if node_type == "head":
            continue
        scheduling = config["scheduling"]
        assert scheduling["onHostMaintenance"] == "TERMINATE"  # required with a GPU
        if node_type.endswith("-spot"):
            assert scheduling["provisioningModel"] == "SPOT"
            assert scheduling["instanceTerminationAction"] == "DELETE"
        else:
            assert "provisioningModel" not in scheduling
