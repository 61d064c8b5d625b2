"""Issues of analyses with the names of arguments instead of those of command-line options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from clmethods.errors import ConfigIssue, InvalidConfigError


@contextmanager
def argument_names() -> Iterator[None]:
    """Raise `InvalidConfigError` with the names of arguments: `choose_on` for `--choose-on`."""
    try:
        yield
    except InvalidConfigError as error:
        raise InvalidConfigError(map(_as_argument, error.issues)) from error


def _as_argument(issue: ConfigIssue) -> ConfigIssue:
    option, blank, rest = issue.path.partition(" ")
    name = option.removeprefix("--").replace("-", "_") if option.startswith("--") else option
    return replace(
        issue,
        path=f"{name}{blank}{rest}",
        allowed=issue.allowed.replace("--", ""),
        hint=issue.hint.replace("--", ""),
    )
