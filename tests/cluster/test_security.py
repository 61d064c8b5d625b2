"""Security of a cluster: admission, encrypted connections, and the places of secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import NODES, lent_lab
from tests.cluster.evidence import Bucket, scenario
from tests.cluster.fault_sweep import SWEEP, start_driver
from tests.cluster.lab.laboratory import Lab
from tests.cluster.lab.object_storage import ObjectStorage
from tests.cluster.lab.ray_cluster import PRIVATE, RayCluster
from tests.cluster.lab.records import BUILD
from tests.cluster.lab.software import CHECKOUT
from tests.s3.server import WRITER
from tests.sweeps.execution.tables import Tables

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

HOSTS = 4
LOOPBACK_ONLY = {8265}
"""The dashboard."""

REFUSAL_S = 60
"""A client without a certificate tries to connect for minutes."""

CONNECT = """
import ray, sys
ray.init(address="head:6379", logging_level="ERROR", log_to_driver=False)
print("CONNECTED", ray.cluster_resources())
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lent_lab("security", ["store", *NODES], {}) as started:
        yield started


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[ObjectStorage]:
    started = ObjectStorage.start(lab)
    yield started
    started.server.stop()


@pytest.fixture(scope="module")
def cluster(lab: Lab, server: ObjectStorage) -> RayCluster:
    """Three nodes whose connections are encrypted with certificates of `make_tls.sh`."""
    ray = RayCluster(lab, lab["head"], [lab["w1"], lab["w2"]], dashboard=True)
    ray.prepare(server.settings(), server.credentials())
    names = [word for node in lab.nodes() for word in (node.name, node.address)]
    lab["head"].run(f"bash {CHECKOUT}/cluster/make_tls.sh {' '.join(names)}").expect()
    for file in lab["head"].path(f"{PRIVATE}/tls").iterdir():
        for worker in ray.workers:
            worker.write(f"{PRIVATE}/tls/{file.name}", file.read_text(), mode=0o600)
    ray.start()
    return ray


def test_sweep_runs_encrypted_and_leaves_no_secret_behind(
    cluster: RayCluster, server: ObjectStorage, tmp_path: Path, unbroken: Tables
) -> None:
    storage = Bucket(server, "security", tmp_path)
    secrets = {"token": cluster.token, "secret key": WRITER.secret_key}
    with scenario("TLS and tokens", HOSTS, storage, SWEEP["name"]) as test:
        driver = start_driver(cluster.head, storage.url)
        test.watch.wait_for(4, driver)
        listed = [p.name for node in cluster.lab.nodes() for p in node.processes()]
        done = driver.wait().expect()
        test.must_equal(unbroken, SWEEP["name"])
        for name, secret in secrets.items():
            assert not [line for line in listed if secret in line], f"{name} in a process list"
            assert secret not in done.output, f"{name} in the output"
            for node in cluster.lab.nodes():
                assert leaks(node.disk, secret) == [], f"{name} on {node.name}"
            assert leaks(storage.local(), secret) == [], f"{name} in the storage"


def test_token_files_are_closed_to_other_users(cluster: RayCluster) -> None:
    for node in cluster.lab.nodes():
        for file in ("auth_token", "aws_credentials", "tls/node.key"):
            assert node.path(f"{PRIVATE}/{file}").stat().st_mode & 0o777 == 0o600


def test_connections_are_encrypted_with_a_certificate_of_the_cluster(cluster: RayCluster) -> None:
    w1 = cluster.workers[0]
    check = "openssl s_client -connect head:6379 -verify_return_error -CAfile"
    accepted = w1.run(f"{check} {PRIVATE}/tls/ca.crt < /dev/null")
    assert "Verify return code: 0 (ok)" in accepted.output
    refused = w1.run(f"{check} /etc/ssl/certs/ca-certificates.crt < /dev/null")
    assert refused.code != 0


def test_clients_without_token_or_certificate_are_refused(cluster: RayCluster) -> None:
    w1 = cluster.workers[0]
    w1.write("~/connect.py", CONNECT)
    w1.run("umask 077; echo 0123456789abcdef0123456789abcdef > ~/wrong").expect()
    assert "CONNECTED" in w1.run("python ~/connect.py").expect().output
    settings = {
        "no token": "unset RAY_AUTH_MODE RAY_AUTH_TOKEN_PATH",
        "wrong token": "export RAY_AUTH_TOKEN_PATH=$HOME/wrong",
        "no certificate": "unset RAY_USE_TLS",
    }
    tries = {
        name: w1.start(f"{setting}; timeout {REFUSAL_S} python ~/connect.py")
        for name, setting in settings.items()
    }
    for name, attempt in tries.items():
        refused = attempt.wait()
        assert refused.code != 0, name
        assert "CONNECTED" not in refused.output, name


def test_ports_are_bound_where_the_guide_says(cluster: RayCluster) -> None:
    """Ray cannot bind all of its ports to one address; the list is kept for reading."""
    ports = {node.name: node.listening() for node in cluster.lab.nodes()}
    shown = {n: {p: sorted(a) for p, a in sorted(of.items())} for n, of in ports.items()}
    (BUILD / "ports.json").write_text(json.dumps(shown, indent=1))
    for port in LOOPBACK_ONLY:
        assert ports["head"].get(port) == {"127.0.0.1"}
    assert ports["head"][6379]


def leaks(folder: Path, secret: str) -> list[str]:
    """Files that contain a secret, apart from those that are made to hold it."""
    kept = re.compile(r"/\.lorac-sweeps/(auth_token|aws_credentials)$")
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and not kept.search(str(path)):
            with_secret = secret.encode() in path.read_bytes()
            found += [str(path)] if with_secret else []
    return found
