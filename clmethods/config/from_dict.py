"""Conversion of nested dicts to configurations, with strict validation of all fields."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from clmethods.config.methods import METHOD_CONFIGS, MethodConfig
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.errors import ConfigIssue, InvalidConfigError, nearest, refuse

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Section = TypeVar("Section", bound="DataclassInstance")


def run_from_dict(data: object) -> RunConfig:
    """Return the run in a dict from JSON or YAML; raises `InvalidConfigError` with all issues."""
    return _dataclass(RunConfig, data, "")


def readout_from_dict(data: object) -> ReadoutConfig:
    """Return the readout in a dict from JSON or YAML; raises `InvalidConfigError`."""
    return _dataclass(ReadoutConfig, data, "readout")


@lru_cache(maxsize=64)
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _dataclass(cls: type[Section], data: object, path: str) -> Section:
    if not isinstance(data, Mapping):
        raise InvalidConfigError([ConfigIssue(path or "run", data, "a mapping of fields")])
    hints = _hints(cls)
    names = [f.name for f in fields(cls)]
    issues: list[ConfigIssue] = []
    values: dict[str, Any] = {}
    for name, item in data.items():
        here = f"{path}.{name}" if path else str(name)
        if name not in names:
            issues.append(ConfigIssue(here, item, f"one of {names}", nearest(str(name), names)))
            continue
        try:
            values[name] = _value(hints[name], item, here)
        except InvalidConfigError as error:
            issues.extend(error.issues)
    refuse(issues)
    try:
        return cls(**values)
    except InvalidConfigError as error:
        raise InvalidConfigError(
            issue.under(path) if path else issue for issue in error.issues
        ) from error


def _value(annotation: Any, item: object, path: str) -> object:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation == MethodConfig:
        return _method(item, path)
    if is_dataclass(annotation) and isinstance(annotation, type):
        return _dataclass(annotation, item, path)
    if origin in {Union, types.UnionType}:
        if item is None and type(None) in arguments:
            return None
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _value(inner, item, path)
    if origin is Literal:
        if item not in arguments:
            raise InvalidConfigError([ConfigIssue(path, item, f"one of {list(arguments)}")])
        return item
    if origin is tuple:
        if not isinstance(item, list | tuple):
            raise InvalidConfigError([ConfigIssue(path, item, "a list")])
        return tuple(_value(arguments[0], part, f"{path}[{i}]") for i, part in enumerate(item))
    if annotation is float and isinstance(item, int) and not isinstance(item, bool):
        return float(item)
    if isinstance(item, float) and not math.isfinite(item):
        raise InvalidConfigError([ConfigIssue(path, item, "a finite number")])
    if not isinstance(item, annotation) or (isinstance(item, bool) and annotation is not bool):
        raise InvalidConfigError(
            [ConfigIssue(path, item, f"a value of type {annotation.__name__}")]
        )
    return item


def _method(item: object, path: str) -> MethodConfig:
    kind = item.get("kind") if isinstance(item, Mapping) else None
    if not isinstance(kind, str) or kind not in METHOD_CONFIGS:
        choices = sorted(METHOD_CONFIGS)
        hint = nearest(str(kind), choices)
        raise InvalidConfigError([ConfigIssue(f"{path}.kind", kind, f"one of {choices}", hint)])
    return _dataclass(METHOD_CONFIGS[kind], item, path)
