"""Validation by pydantic, told in our own words, and going on after the first issue."""

from __future__ import annotations

import copy
import json
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from clmethods.errors import ConfigIssue, InvalidConfigError, nearest

T = TypeVar("T")
Location = tuple[int | str, ...]

_WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping of fields",
    "model_type": "a mapping of fields",
    "dataclass_type": "a mapping of fields",
}
_NAMES = {"int": "int", "float": "float", "bool": "bool", "str": "string"}
"""What pydantic calls a plain type, by its own name."""
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated(Generic[T]):
    """What was validated: the issues, and what is left when the invalid fields are left out."""

    value: T
    sound: dict[str, Any]
    """The data that made `value`; all of what was written if there are no issues."""
    issues: tuple[ConfigIssue, ...]


def validated(kind: type[T], data: Any) -> Validated[T]:
    """Validate plain data strictly against a class whose fields all have defaults.

    Constraints are checked only after types, so one misspelt field would hide every broken one.
    So invalid fields are left out and the rest is validated again, until it is valid. A constraint
    that was checked is not checked again: defaults in place of invalid fields may break it.
    """
    key: Any = kind  # mypy does not see that classes are hashable
    adapter: TypeAdapter[T] = _adapter(key)
    issues: list[ConfigIssue] = []
    judged: set[Location] = set()
    rest = copy.deepcopy(data)
    while True:
        try:
            value = adapter.validate_json(json.dumps(rest), strict=True)
        except ValidationError as error:
            details = error.errors(include_url=False)
        else:
            return Validated(value=value, sound=rest, issues=tuple(issues))
        smaller = copy.deepcopy(rest)
        for detail in details:
            location = detail["loc"]
            found = _faults(kind, detail)
            if location not in judged:
                known = {issue.path for issue in issues}
                issues.extend(issue for issue in found if issue.path not in known)
            if isinstance(_cause(detail), InvalidConfigError):
                judged.add(location)
            for issue in found:
                _drop(
                    smaller,
                    _location(issue.path, location),
                    empty_items=detail["type"] in {"model_type", "dataclass_type"},
                )
        rest = smaller if smaller != rest else {}


@lru_cache(maxsize=64)  # building one costs more than all of its uses
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _cause(detail: ErrorDetails) -> object:
    return detail.get("ctx", {}).get("error")


def _faults(kind: type, detail: ErrorDetails) -> list[ConfigIssue]:
    """One error of pydantic as issues: a broken law of a dataclass names several fields."""
    location, value, problem = detail["loc"], detail["input"], detail["type"]
    path = _path(location)
    cause = _cause(detail)
    if isinstance(cause, InvalidConfigError):
        return [issue.under(path) if path else issue for issue in cause.issues]
    if problem in _UNKNOWN:
        names = _field_names(_type_at(kind, location[:-1]))
        hint = nearest(str(location[-1]), names)
        return [ConfigIssue(path, value, f"one of the fields {names}", hint)]
    for i, part in enumerate(location):
        members = _union_members(_type_at(kind, location[:i]))
        if part in members:  # pydantic reports each member of a union at a path of its own
            constraint = " or ".join(members.values())
            return (
                [ConfigIssue(_path(location[:i]), value, constraint)]
                if i == len(location) - 1
                else []
            )
    annotation = _type_at(kind, location)
    choices = [choice for part in _parts(annotation) for choice in get_args(part)]
    if problem == "literal_error" and choices:
        hint = nearest(value, choices) if isinstance(value, str) else ""
        return [ConfigIssue(path, value, f"one of {choices}", hint)]
    constraint = _WORDS.get(problem, "a value that this field can hold")
    if type(None) in get_args(annotation):
        constraint += ", or null"
    return [ConfigIssue(path, value, constraint)]


def _path(location: Sequence[int | str]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _location(path: str, at: Location) -> Location:
    """The location of the field that an issue at or below `at` names."""
    below = path.removeprefix(_path(at)).removeprefix(".")
    field = re.split(r"[.\[]", below)[0]
    return (*at, field) if field else at


def _drop(data: Any, location: Location, empty_items: bool) -> None:
    """Delete the innermost key that leads to `location`.

    A list item cannot go without moving the others: it is emptied if it should have been a
    mapping, else its list goes.
    """
    innermost: tuple[Any, Any] | None = None
    for part in location:
        if isinstance(data, dict) and isinstance(part, str) and part in data:
            innermost = (data, part)
        elif not (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            break
        elif empty_items and not isinstance(data[part], dict | list):
            innermost = (data, part)
        data = data[part]
    if innermost is None:
        return
    owner, key = innermost
    if isinstance(owner, list):
        owner[key] = {}
    else:
        del owner[key]


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself; Literals keep their choices for the caller."""
    members = (
        get_args(annotation)
        if get_origin(annotation) in {Union, types.UnionType}
        else (annotation,)
    )
    return tuple(member for member in members if get_origin(member) is Literal)


def _union_members(annotation: Any) -> dict[str, str]:
    """Return the members of a union of simple types, such as an index or a name, in words.

    Keys are the names by which pydantic calls them; empty if there is another type among them.
    """
    members = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else ()
    found: dict[str, str] = {}
    for member in members:
        name = getattr(member, "__name__", "")
        if get_origin(member) is Literal:
            choices = [repr(choice) for choice in get_args(member)]
            found[f"literal[{','.join(choices)}]"] = " or ".join(choices)
        elif get_origin(member) is tuple and get_args(member) == (str, Ellipsis):
            found["tuple[str, ...]"] = "a list of texts"
        elif member is type(None):
            found["none"] = "null"
        elif name in _NAMES:
            found[name] = _WORDS[f"{_NAMES[name]}_type"]
        else:
            return {}
    return found if len(found) - ("none" in found) > 1 else {}


def _type_at(kind: Any, location: Location) -> Any:
    """The annotation of the field at `location`, or None where it has no own type."""
    for part in location:
        kind = _unless_null(kind)
        if isinstance(part, int):
            arguments = [a for a in get_args(kind) if a is not Ellipsis and a is not type(None)]
            kind = arguments[0] if arguments else None
        elif part in _field_names(kind):
            kind = get_type_hints(kind)[part]
        else:
            arguments = list(get_args(kind))  # a mapping: its values
            kind = arguments[1] if len(arguments) == 2 else None
    return kind


def _unless_null(kind: Any) -> Any:
    """The class of a field that may be null."""
    others = [part for part in get_args(kind) if part is not type(None)]
    optional = get_origin(kind) in {Union, types.UnionType} and len(others) == 1
    return others[0] if optional else kind


def _field_names(kind: Any) -> list[str]:
    kind = _unless_null(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    if isinstance(kind, type) and is_dataclass(kind):
        return [f.name for f in fields(kind)]
    return []
