"""Content of the user's files: a storage keeps which content its stages were trained on.

    data/VERSION.json       fingerprint of the content that a version of the data had first

The version of the user's data, which is part of every stage key, covers names and sizes of the
files. If the content is replaced under the same names and sizes, as in uncompressed images, the
keys stay the same, and stages of the old content would be found. Such data is refused.
"""

from __future__ import annotations

import json

from clmethods.config import ConfigIssue, InvalidConfigError, StreamConfig
from clmethods.errors import refuse
from clmethods.json_parsing import parse_json
from clmethods.user_data.folder_listing import content_of
from sweeps.definition import Sweep
from sweeps.storage import MissingObjectError, ObjectStore


def refuse_other_content(sweep: Sweep, objects: ObjectStore, *, read_all: bool = False) -> None:
    """Raise `InvalidConfigError` if the stages of the storage belong to other content.

    `read_all` reads every file; otherwise, checksums of unchanged files come from the cache.
    Storages of earlier versions do not contain the content of their data: it is not compared.
    """
    issues = []
    seen: dict[str, str] = {}
    for stream in _streams(sweep):
        key = _key(stream)
        known = seen[key] if key in seen else _kept(objects, key)
        found = _content(stream, read_all)
        seen.setdefault(key, known or found)
        if known not in {None, found}:
            issues.append(_issue(stream))
    refuse(issues)


def keep_content(sweep: Sweep, objects: ObjectStore) -> None:
    """Write the content of the user's data to the storage, unless it is known there.

    Raises `InvalidConfigError` if another process has written other content in the meantime.
    """
    for stream in _streams(sweep):
        if stream.record is not None:
            document = {"dataset": stream.dataset, "content": stream.record.content}
            objects.put_if_absent(_key(stream), json.dumps(document).encode())
    refuse_other_content(sweep, objects)


def _streams(sweep: Sweep) -> list[StreamConfig]:
    """Return the distinct streams of a sweep whose content is known."""
    streams = dict.fromkeys(run.stream for run in sweep.runs)
    found: dict[tuple[str | None, str | None, str], StreamConfig] = {}
    for stream in streams:
        if stream.record is not None and stream.record.content:
            found.setdefault((stream.root, stream.manifest, stream.record.version), stream)
    return list(found.values())


def _key(stream: StreamConfig) -> str:
    return f"data/{stream.facts.version}.json"


def _kept(objects: ObjectStore, key: str) -> str | None:
    """Return the content that the storage knows; None if it is unknown.

    Raises `InvalidConfigError` for a damaged record: without it, nothing tells whether the stages
    belong to the present content.
    """
    try:
        return str(parse_json(objects.get(key))["content"])
    except MissingObjectError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        hint = (
            "It records the content of the data that stages of this storage were trained on. "
            "Restore it from a copy; remove it only if the data is certainly unchanged since then."
        )
        issue = ConfigIssue(f"{objects.location}/{key}", "a damaged file", "its content", hint)
        raise InvalidConfigError([issue]) from error


def _content(stream: StreamConfig, read_all: bool) -> str:
    if read_all and (listing := stream.listing()) is not None:
        return content_of(listing, read_all=True)
    return "" if stream.record is None else stream.record.content


def _issue(stream: StreamConfig) -> ConfigIssue:
    field = "stream.root" if stream.root is not None else "stream.manifest"
    return ConfigIssue(
        field,
        stream.root if stream.root is not None else stream.manifest,
        "files with the content that the stages of this storage were trained on",
        "Files were replaced under the same names and sizes. Restore them, or set "
        "stream.fingerprint: content, so that this content is another version of the data.",
    )
