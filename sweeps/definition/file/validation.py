"""Validation by pydantic, with messages of this project and all issues instead of the first."""

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
from sweeps.definition.file.field_examples import example_of

MAX_ISSUES = 100
"""Maximum number of issues that are reported individually; of the others, only the number is."""

T = TypeVar("T")
FieldLocation = tuple[int | str, ...]
"""Location of a field, as pydantic reports it."""

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
"""Names that pydantic gives to simple types in error types, by type name."""
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated(Generic[T]):
    """Result of a validation: the value without the invalid fields, and the issues."""

    value: T
    valid: dict[str, Any]
    """Data that `value` was created from; the complete input if there are no issues."""
    issues: tuple[ConfigIssue, ...]


def validated(kind: type[T], data: Any) -> Validated[T]:
    """Validate plain data strictly against a class whose fields all have defaults.

    Pydantic checks constraints only after types, so that one misspelled field would hide all
    violated constraints. Invalid fields are therefore removed and the rest is validated again,
    until it is valid. A constraint that was already checked is not reported again, because the
    defaults in place of removed fields can violate it.
    """
    key: Any = kind  # mypy does not see that classes are hashable
    adapter: TypeAdapter[T] = _adapter(key)
    issues: dict[str, ConfigIssue] = {}
    unreported = 0
    checked_locations: set[FieldLocation] = set()
    remaining = data
    while True:
        try:
            value = adapter.validate_json(json.dumps(remaining), strict=True)
        except ValidationError as error:
            details = error.errors(include_url=False)
        else:
            return Validated(
                value=value, valid=remaining, issues=(*issues.values(), *_rest(unreported))
            )
        smaller = copy.deepcopy(remaining)
        for detail in details:
            location = detail["loc"]
            if len(issues) >= MAX_ISSUES:  # a message can take milliseconds
                unreported += 1
                _drop(smaller, location, empty_items=False)
                continue
            new_issues = _issues(kind, detail)
            if location not in checked_locations:
                for issue in new_issues:
                    issues.setdefault(issue.path, issue)
            if isinstance(_cause(detail), InvalidConfigError):
                checked_locations.add(location)
            for issue in new_issues:
                _drop(
                    smaller,
                    _location(issue.path, location),
                    empty_items=detail["type"] in {"model_type", "dataclass_type"},
                )
        remaining = smaller if smaller != remaining else {}


@lru_cache(maxsize=64)  # creating an adapter costs more than all of its uses
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _rest(unreported: int) -> list[ConfigIssue]:
    if unreported == 0:
        return []
    constraint = "valid fields"
    return [ConfigIssue("...", "...", constraint, f"There are {unreported} more issues.")]


def _cause(detail: ErrorDetails) -> object:
    return detail.get("ctx", {}).get("error")


def _issues(kind: type, detail: ErrorDetails) -> list[ConfigIssue]:
    """Return an error of pydantic as issues; a dataclass can name several fields."""
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
        if part in members:  # pydantic adds the member of a union to the location
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
    form = problem in {"tuple_type", "dict_type", "model_type", "dataclass_type"}
    return [ConfigIssue(path, value, constraint, example_of(path) if form else "")]


def _path(location: Sequence[int | str]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _location(path: str, at: FieldLocation) -> FieldLocation:
    """Return the location of the field that an issue at or below `at` refers to."""
    below = path.removeprefix(_path(at)).removeprefix(".")
    field = re.split(r"[.\[]", below)[0]
    return (*at, field) if field else at


def _drop(data: Any, location: FieldLocation, empty_items: bool) -> None:
    """Delete the innermost key that leads to `location`.

    A list item cannot be deleted without moving the other items. An item that should have been a
    mapping is emptied; otherwise the list is deleted.
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
    """Return the Literals among the members of a union, or the type itself if it is a Literal."""
    members = (
        get_args(annotation)
        if get_origin(annotation) in {Union, types.UnionType}
        else (annotation,)
    )
    return tuple(member for member in members if get_origin(member) is Literal)


def _union_members(annotation: Any) -> dict[str, str]:
    """Return descriptions of the members of a union of simple types, such as an index or a name.

    Keys are the names that pydantic gives to the members. The result is empty if the union
    contains another type.
    """
    members = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else ()
    members_by_key: dict[str, str] = {}
    for member in members:
        name = getattr(member, "__name__", "")
        if get_origin(member) is Literal:
            choices = [repr(choice) for choice in get_args(member)]
            members_by_key[f"literal[{','.join(choices)}]"] = " or ".join(choices)
        elif get_origin(member) is tuple and get_args(member) == (str, Ellipsis):
            members_by_key["tuple[str, ...]"] = "a list of texts"
        elif member is type(None):
            members_by_key["none"] = "null"
        elif name in _NAMES:
            members_by_key[name] = _WORDS[f"{_NAMES[name]}_type"]
        else:
            return {}
    return members_by_key if len(members_by_key) - ("none" in members_by_key) > 1 else {}


def _type_at(kind: Any, location: FieldLocation) -> Any:
    """Return the annotation of the field at `location`; None if it has no type of its own."""
    for part in location:
        kind = _unless_null(kind)
        if isinstance(part, int):
            arguments = [a for a in get_args(kind) if a is not Ellipsis and a is not type(None)]
            kind = arguments[0] if arguments else None
        elif part in _field_names(kind):
            kind = get_type_hints(kind)[part]
        else:
            arguments = list(get_args(kind))  # the values of a mapping
            kind = arguments[1] if len(arguments) == 2 else None
    return kind


def _unless_null(kind: Any) -> Any:
    """Return the class of a field that can be null."""
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
