"""Values of single YAML scalars: text, numbers, true, false and null.

The rules are those of YAML 1.2 where YAML 1.1 and 1.2 agree or 1.1 surprises: `on`, `off`, `yes`,
`no`, `1:30` and dates are text, and `5e-3` is a number. A number with a leading zero is 8 in one
version and 10 in the other, so it is refused. `1_000` and `0b11` are numbers, as in YAML 1.1.
"""

from __future__ import annotations

import re
import unicodedata

from clmethods.errors import ClmethodsError

Scalar = str | int | float | bool | None

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0b[01_]*[01][01_]*|0x[0-9a-fA-F_]*[0-9a-fA-F]_*)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
_WRITTEN_FLOAT = re.compile(r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAX_DIGITS = 100
"""Longest integer that is converted; one of 63 bits has 63 digits at most, in base 2."""
_TAG = "tag:yaml.org,2002:"
_TAGS = ("null", "bool", "int", "float", "str")


class ScalarError(ClmethodsError):
    """Exception for a scalar without a value: the constraint and a hint."""

    def __init__(self, allowed: str, hint: str = "") -> None:
        super().__init__(allowed)
        self.allowed, self.hint = allowed, hint


def plain_value(text: str, *, from_program: bool = False) -> Scalar:
    """Return the value of a scalar without quotes.

    `from_program`: read `5e-3` and `08` as text. `yaml.safe_dump`, with which earlier versions
    wrote the sweep files in storages, does not quote these texts.

    Raises `ScalarError`.
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if (_OCTAL if from_program else _LEADING_ZERO).fullmatch(text):
        shorter = text.replace("_", "").lstrip("-+0") or "0"
        raise ScalarError(
            "a number without leading zeros, or text in quotes",
            f"Write {shorter} for the number, or '{text}' for the text.",
        )
    if (_WRITTEN_FLOAT if from_program else _FLOAT).fullmatch(text):
        return float(text.replace("_", ""))
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    return checked_text(text)


def tagged_value(text: str, tag: str) -> Scalar:
    """Return the value of a scalar with an explicit tag such as `!!float`.

    Raises `ScalarError`.
    """
    kind = tag.removeprefix(_TAG)
    if tag == "!" or kind == "str":
        return checked_text(text)
    if not tag.startswith(_TAG) or kind not in _TAGS:
        raise unknown_tag()
    value = plain_value(text)
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    types: dict[str, type] = {"null": type(None), "bool": bool, "int": int, "float": float}
    if type(value) is not types[kind]:
        raise ScalarError(f"a value of the type !!{kind}", "Remove the tag.")
    return value


def unknown_tag() -> ScalarError:
    """Return the error for a tag that no field uses."""
    return ScalarError("a value without a tag", "Remove the tag.")


def checked_text(text: str) -> str:
    r"""Return a text, in which pairs of surrogates (`\ud83d\ude00` in JSON) are joined.

    Raises `ScalarError` for control characters other than tab and line breaks.
    """
    if text.isprintable():
        return text
    try:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ScalarError("text without half of a surrogate pair") from None
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in "\t\n\r":
            raise ScalarError(
                "text without control characters", f"It contains U+{ord(character):04X}."
            )
    return text


def _integer(text: str) -> int:
    if len(text) <= _MAX_DIGITS:
        value = int(text.replace("_", ""), base=0)
        if value.bit_length() <= 63:
            return value
    raise ScalarError("a number of at most 63 bits")
