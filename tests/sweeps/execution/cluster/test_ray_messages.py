"""Ray's own messages: none of a lost node or worker, one of a failed autoscaler."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import ray
from ray._private.utils import publish_error_to_driver
from ray._raylet import GcsClient  # type: ignore[attr-defined]

from sweeps.execution.cluster.ray_messages import AUTOSCALER_FAILED, needed_message
from tests.sweeps.execution.clusters import one_slot

FAILURE = "The autoscaler failed with the following error:\nTraceback\n  x\nKeyError: 'head'\n\n"


@pytest.fixture
def cluster() -> Iterator[None]:
    with one_slot():
        yield


def test_what_is_printed_of_a_message() -> None:
    assert needed_message(None) is None
    assert needed_message({}) is None
    died = {"type": "node_removed", "error_message": "The node with node id: 5 has been marked"}
    assert needed_message(died) is None
    said = needed_message({"type": AUTOSCALER_FAILED, "error_message": FAILURE})
    assert said is not None
    assert said.splitlines() == [said]
    assert said.endswith("no nodes are added or removed: KeyError: 'head'")
    assert needed_message({"type": AUTOSCALER_FAILED}) is not None


def test_only_a_failed_autoscaler_is_printed(
    cluster: None, capfd: pytest.CaptureFixture[str]
) -> None:
    """Published as Ray's own processes do it."""
    client = GcsClient(address=ray.get_runtime_context().gcs_address)
    publish_error_to_driver("raylet_died", "Raylet is terminated", gcs_client=client)
    publish_error_to_driver(AUTOSCALER_FAILED, FAILURE, gcs_client=client)
    deadline, said = time.monotonic() + 60, ""
    while "autoscaler" not in said and time.monotonic() < deadline:
        time.sleep(0.1)
        said += "".join(capfd.readouterr())
    lines = [line for line in said.splitlines() if line.strip()]
    assert lines == [
        "Ray's autoscaler has failed, so no nodes are added or removed: KeyError: 'head'"
    ]
