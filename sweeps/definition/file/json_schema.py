"""The JSON Schema of a sweep file, for editors: completion, hints and first checks while typing.

It says what a file may look like; `load_sweep` is stricter, for it also knows laws across fields.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import is_dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, TypeAdapter

from clmethods.config.methods import METHOD_CONFIGS
from sweeps.definition.file.loading import SweepFile
from sweeps.definition.file.run_sections import NOT_AN_AXIS, SECTIONS
from sweeps.definition.space.run_fields import SECTION_CLASSES
from sweeps.definition.sweep import METRICS

Schema = dict[str, Any]


def sweep_schema() -> Schema:
    """The schema, in the dialect 2020-12, with what each field means as its description."""
    whole = SweepFile.model_json_schema()
    definitions: Schema = whole.pop("$defs")
    for name, cls in _dataclasses().items():
        found = TypeAdapter(cls).json_schema()
        definitions |= found.pop("$defs", {})
        definitions[name] = found
    for name, cls in {**_dataclasses(), **_reached(SweepFile)}.items():
        _describe(whole if cls is SweepFile else definitions[name], cls)
    properties = whole["properties"]
    for target in (properties, definitions["BaselineFile"]["properties"]):
        for section in SECTIONS:
            target[section] = _section(section)
    properties["search"] = {
        "type": "object",
        "description": properties["search"]["description"],
        "properties": _axes(definitions),
        "additionalProperties": False,
    }
    properties["objectives"]["propertyNames"] = {"enum": list(METRICS)}
    for side in definitions["Part"]["properties"].values():
        side["propertyNames"] = {"enum": [p for p in _field_schemas(definitions) if "." in p]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A sweep",
        **{key: value for key, value in whole.items() if key != "title"},
        "required": ["name"],
        "$defs": definitions,
    }


def _dataclasses() -> dict[str, type]:
    """The classes of the sections, by their names among the definitions."""
    classes = [*SECTION_CLASSES.values(), *METHOD_CONFIGS.values()]
    return {cls.__name__: cls for cls in classes}


def _reached(hint: Any) -> dict[str, type]:
    """The classes of ours that a type leads to, by name."""
    found: dict[str, type] = {}
    for part in get_args(hint):
        found |= _reached(part)
    if isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, BaseModel)):
        found[hint.__name__] = hint
        for below in get_type_hints(hint).values():
            found |= _reached(below)
    return found


def _section(section: str) -> Schema:
    """The schema of a section as it is written."""
    if section != "method":
        return {"$ref": f"#/$defs/{SECTION_CLASSES[section].__name__}"}
    references = {
        kind: {"$ref": f"#/$defs/{cls.__name__}"} for kind, cls in METHOD_CONFIGS.items()
    }
    return {
        "type": "object",
        "properties": {"kind": {"enum": list(METHOD_CONFIGS)}},
        "if": {"required": ["kind"]},
        "then": {
            "allOf": [
                {"if": {"properties": {"kind": {"const": kind}}}, "then": reference}
                for kind, reference in references.items()
            ]
        },
        # without a kind it is the default's, or that of the file that is extended
        "else": {"anyOf": list(references.values())},
    }


def _axes(definitions: Schema) -> Schema:
    """Axes by dotted path of a field, and choices by the name of a section."""
    fields = _field_schemas(definitions)
    found: Schema = {path: _axis(schema) for path, schema in fields.items()}
    for section in SECTIONS:
        own = {p.partition(".")[2]: s for p, s in fields.items() if p.startswith(f"{section}.")}
        option: Schema = {
            "label": {"type": "string", "description": "How it is called in tables."},
            "search": {
                "type": "object",
                "description": "Axes of this choice alone, by the name of a field.",
                "properties": {name: _axis(schema) for name, schema in own.items()},
                "additionalProperties": False,
            },
        }
        if section == "method":
            option["kind"] = {"enum": list(METHOD_CONFIGS)}
        choice = {"type": "object", "properties": own | option, "additionalProperties": False}
        found[section] = {
            "description": "Choices between whole sections.",
            "type": "array",
            "minItems": 1,
            "items": choice,
        }
    return found


def _field_schemas(definitions: Schema) -> Schema:
    """The schema of every field that may vary, by dotted path."""
    found: dict[str, list[Schema]] = {}
    classes = [*SECTION_CLASSES.items(), *(("method", cls) for cls in METHOD_CONFIGS.values())]
    for section, cls in classes:
        for name, schema in definitions[cls.__name__]["properties"].items():
            path = f"{section}.{name}"
            bare = {key: value for key, value in schema.items() if key != "default"}
            if path not in NOT_AN_AXIS and bare not in found.setdefault(path, []):
                found[path].append(bare)
    return {
        path: schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        for path, schemas in found.items()
        if schemas
    }


def _axis(field: Schema) -> Schema:
    """A list of values, a range if they are numbers, or null, which drops an inherited axis."""
    ends = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    whole = {**ends, "items": {"type": "integer"}}
    ranges = [
        {
            "type": "object",
            "properties": {scale: whole if scale == "integer" else ends},
            "required": [scale],
            "additionalProperties": False,
        }
        for scale in ("uniform", "log", "integer")
    ]
    listed = {"type": "array", "items": field, "minItems": 1}
    numeric = {"number", "integer"} & {
        part.get("type") for part in [field, *field.get("anyOf", [])]
    }
    described = {"description": field["description"]} if "description" in field else {}
    return {**described, "anyOf": [listed, *(ranges if numeric else []), {"type": "null"}]}


def _describe(schema: Schema, cls: type) -> None:
    """Put the docstrings of the class and of its fields into its schema, and leave out titles."""
    schema["description"] = inspect.cleandoc(cls.__doc__ or "")
    schema.pop("title", None)
    described = _field_docs(cls)
    for name, field in schema["properties"].items():
        field.pop("title", None)
        if name in described:
            field["description"] = described[name]


@lru_cache(maxsize=64)
def _field_docs(cls: type) -> dict[str, str]:
    """The string below each field of a class, its bases' fields included."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base in {object, BaseModel} or not base.__module__.startswith(("clmethods", "sweeps")):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for field, below in pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[field.target.id] = inspect.cleandoc(below.value.value)
    return found
