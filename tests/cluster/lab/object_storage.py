"""The S3 server of a laboratory, on the host `store`, and what its bucket holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.lab.host import Host
from tests.cluster.lab.laboratory import Lab
from tests.cluster.lab.network import in_network
from tests.cluster.lab.records import Record
from tests.s3.server import REGION, WRITER, S3Server, client, free_ports

BUCKET = "lab"


@dataclass
class ObjectStorage:
    """A server with checked signatures. Its process is recorded like those of the hosts."""

    host: Host
    server: S3Server
    record: Record

    @classmethod
    def start(cls, lab: Lab) -> ObjectStorage:
        """Start it on the host `store`, with one bucket."""
        host = lab["store"]
        inside = ("nsenter", "-t", str(host.process_1), "-n")
        # The program names its sockets in /tmp after its ports: two servers need two sets.
        server = S3Server(lab.folder / "s3", free_ports(), host=host.address, prefix=inside)
        storage = cls(host, server, lab.record)
        storage.power_on()
        server.create_bucket(BUCKET)
        return storage

    def power_on(self) -> None:
        """Start the server again. It ends with the thread that calls this."""
        self.server.start()
        assert self.server.process is not None
        self.record.add(self.server.process.pid)

    def settings(self) -> dict[str, str]:
        """Variables of nodes that use it; none is secret."""
        return {
            "AWS_ENDPOINT_URL": self.server.endpoint,
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def credentials(self) -> str:
        """The file of keys, as `aws configure` writes it."""
        return (
            f"[default]\naws_access_key_id = {WRITER.access_key}\n"
            f"aws_secret_access_key = {WRITER.secret_key}\n"
        )

    def objects(self, prefix: str) -> dict[str, str]:
        """Keys below a prefix, with what changes when an object is written again."""

        def listed() -> dict[str, str]:
            pages = self._client().get_paginator("list_objects_v2")
            found = {}
            for page in pages.paginate(Bucket=BUCKET, Prefix=prefix):
                for entry in page.get("Contents", ()):
                    found[entry["Key"]] = f"{entry['ETag']} {entry['LastModified'].isoformat()}"
            return found

        return in_network(self.host, listed)

    def download(self, prefix: str, folder: Path) -> None:
        """Copy what is below a prefix into a folder."""
        keys = self.objects(prefix + "/")

        def copied() -> None:
            s3 = self._client()
            for key in keys:
                target = folder / key.removeprefix(prefix + "/")
                target.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(BUCKET, key, str(target))

        in_network(self.host, copied)

    def _client(self) -> Any:
        return client(self.server.endpoint, WRITER)
