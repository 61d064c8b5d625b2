"""Strict reader of YAML: plain data, with an issue for every ambiguous or invalid part."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

import yaml

from clmethods.errors import ConfigIssue, InvalidConfigError
from clmethods.hidden_values import HIDDEN, masked_text
from clmethods.strict_yaml.document_builder import DocumentBuilder, FileKind

MAX_BYTES = 16_000_000
"""Maximum size of a file."""
_EXPLAINED_BYTES = 100_000
"""Maximum size of a file that is parsed again for a better message of a syntax error. PyYAML's
parser in Python has better messages than the one in C, and is 20 times slower."""
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, without what exceeds `MAX_BYTES` by more than one byte.

    Raises `OSError`.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except ValueError as error:  # a path with a NUL
        raise OSError(errno.EINVAL, str(error)) from error


def parse_yaml(data: bytes, source: str, kind: FileKind) -> tuple[Any, list[ConfigIssue]]:
    """Return the content of a YAML file, and an issue for each invalid key or value in it.

    An invalid value is read as null. Of a repeated key, the first value is kept. `source` is the
    name of the file in messages.

    Raises:
        InvalidConfigError: If the file is empty, too large or not valid YAML.
    """
    text = _decoded(data, source, kind)
    if hasattr(yaml, "CSafeLoader"):
        try:
            return DocumentBuilder(source, kind).document(
                yaml.parse(text, Loader=yaml.CSafeLoader)
            )
        except yaml.YAMLError as error:
            if len(data) > _EXPLAINED_BYTES:
                raise InvalidConfigError([_syntax_issue(source, text, error)]) from error
    try:
        return DocumentBuilder(source, kind).document(yaml.parse(text, Loader=yaml.SafeLoader))
    except InvalidConfigError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # ValueError: escapes such as "\UFFFFFFFF", version directives with thousands of digits
        raise InvalidConfigError([_syntax_issue(source, text, error)]) from error


def _decoded(data: bytes, source: str, kind: FileKind) -> str:
    """Return the text of a file; UTF-16 is recognized by its byte order mark."""
    if len(data) > MAX_BYTES:
        constraint = f"{kind.noun} of at most {MAX_BYTES // 1_000_000} MB"
        raise InvalidConfigError([ConfigIssue(source, "a larger file", constraint)])
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        hint = f"Save it in UTF-8. Byte {error.start + 1}: {error.reason}."
        raise InvalidConfigError(
            [ConfigIssue(source, "bytes that are not text", kind.noun, hint)]
        ) from error
    invalid = _CONTROL.search(text)
    if invalid is not None:
        line = text.count("\n", 0, invalid.start()) + 1
        column = invalid.start() - text.rfind("\n", 0, invalid.start())
        place = f"{source}, line {line}, column {column}"
        raise InvalidConfigError(
            [ConfigIssue(place, invalid[0], f"{kind.noun}, without control characters")]
        )
    return text


def _syntax_issue(source: str, text: str, error: Exception) -> ConfigIssue:
    """Return the position and the line of a syntax error, with the message of the parser."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return ConfigIssue(source, "invalid syntax", "well-formed YAML", f"{error}.")
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    line, column = (mark.line, mark.column) if mark else (0, 0)
    written = lines[line].strip() if line < len(lines) else ""
    reason = " ".join(part for part in (error.context, error.problem) if part)
    before = lines[line - 1] if 0 < line <= len(lines) else ""
    if HIDDEN in masked_text(written) or HIDDEN in masked_text(f"{before} {written}"):
        written = HIDDEN  # the parser quotes parts of the line too
        reason = re.sub(r"'.*'|\".*\"", HIDDEN, reason)
    where = f"{source}, line {line + 1}, column {column + 1}"
    return ConfigIssue(where, written, "well-formed YAML", f"{reason[:1].upper()}{reason[1:]}.")
