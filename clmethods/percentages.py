"""Fractions as users write them: `0.05` or `5%`. `5` is refused, because it could mean either."""

from __future__ import annotations

import math

from clmethods.errors import ConfigIssue, InvalidConfigError

ALLOWED = "a fraction such as 0.05, or a percentage such as 5%"


def parse_fraction(path: str, text: str) -> float:
    """Return the number from -1 to 1 in a text such as `0.05`, `5%` or `5 %`.

    `path` names the option in messages. Raises `InvalidConfigError` for other texts and for
    numbers beyond -1 and 1. A whole 1 is refused too: `1.0` and `100%` are the whole.
    """
    written = text.strip()
    number = written.removesuffix("%").strip()
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in number:
        raise InvalidConfigError([ConfigIssue(path, text, ALLOWED)])
    if written.endswith("%"):
        if abs(value) > 100.0:
            raise InvalidConfigError([ConfigIssue(path, text, "at most 100%")])
        return value / 100.0
    if abs(value) > 1.0 or number.lstrip("+-") == "1":
        raise InvalidConfigError([ConfigIssue(path, text, ALLOWED, _suggestion(value))])
    return value


def _suggestion(value: float) -> str:
    if abs(value) > 100.0:
        return f"{value:g} would be {100 * value:g} %."
    return f"{value:g} would be {100 * value:g} %: write {value / 100:g} or {value:g}%."
