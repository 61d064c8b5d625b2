"""JSON Schema of a sweep file, for completion, hints and first checks in editors.

The schema defines the format of a file. `load_sweep` is stricter, because it also checks
constraints between fields.
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
from sweeps.definition.file.file_fields import SweepFile
from sweeps.definition.file.run_sections import NOT_AN_AXIS, SECTIONS
from sweeps.definition.space.run_fields import SECTION_CLASSES
from sweeps.definition.sweep import METRICS

Schema = dict[str, Any]


def sweep_schema() -> Schema:
    """Return the schema (dialect 2020-12), with the documentation of each field as description."""
    sweep_file = SweepFile.model_json_schema()
    definitions: Schema = sweep_file.pop("$defs")
    for name, cls in _dataclasses().items():
        schema = TypeAdapter(cls).json_schema()
        definitions |= schema.pop("$defs", {})
        definitions[name] = schema
    for name, cls in {**_dataclasses(), **_reached(SweepFile)}.items():
        _describe(sweep_file if cls is SweepFile else definitions[name], cls)
    properties = sweep_file["properties"]
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
        **{key: value for key, value in sweep_file.items() if key != "title"},
        "required": ["name"],
        "$defs": definitions,
    }


def _dataclasses() -> dict[str, type]:
    """Return the classes of the sections, by their names among the definitions."""
    classes = [*SECTION_CLASSES.values(), *METHOD_CONFIGS.values()]
    return {cls.__name__: cls for cls in classes}


def _reached(hint: Any) -> dict[str, type]:
    """Return the classes of this project that a type refers to, by name."""
    classes: dict[str, type] = {}
    for part in get_args(hint):
        classes |= _reached(part)
    if isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, BaseModel)):
        classes[hint.__name__] = hint
        for below in get_type_hints(hint).values():
            classes |= _reached(below)
    return classes


def _section(section: str) -> Schema:
    """Return the schema of a section as it is written in a file."""
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
        # without a kind, the default or the kind of the extended file applies
        "else": {"anyOf": list(references.values())},
    }


def _axes(definitions: Schema) -> Schema:
    """Return the schemas of axes by field path, and of choices by section name."""
    fields = _field_schemas(definitions)
    axes: Schema = {path: _axis(schema) for path, schema in fields.items()}
    for section in SECTIONS:
        section_fields = {
            p.partition(".")[2]: s for p, s in fields.items() if p.startswith(f"{section}.")
        }
        option: Schema = {
            "label": {"type": "string", "description": "Name of the choice in tables."},
            "search": {
                "type": "object",
                "description": "Axes of this choice only, by field name.",
                "properties": {name: _axis(schema) for name, schema in section_fields.items()},
                "additionalProperties": False,
            },
        }
        if section == "method":
            option["kind"] = {"enum": list(METHOD_CONFIGS)}
        choice = {
            "type": "object",
            "properties": section_fields | option,
            "additionalProperties": False,
        }
        axes[section] = {
            "description": "Choices between whole sections.",
            "type": "array",
            "minItems": 1,
            "items": choice,
        }
    return axes


def _field_schemas(definitions: Schema) -> Schema:
    """Return the schema of each field that can vary, by dotted path."""
    schemas_of: dict[str, list[Schema]] = {}
    classes = [*SECTION_CLASSES.items(), *(("method", cls) for cls in METHOD_CONFIGS.values())]
    for section, cls in classes:
        for name, schema in definitions[cls.__name__]["properties"].items():
            path = f"{section}.{name}"
            bare = {key: value for key, value in schema.items() if key != "default"}
            if path not in NOT_AN_AXIS and bare not in schemas_of.setdefault(path, []):
                schemas_of[path].append(bare)
    return {
        path: schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        for path, schemas in schemas_of.items()
        if schemas
    }


def _axis(field: Schema) -> Schema:
    """Return the schema of an axis: values, a range of numbers, or null to drop an axis."""
    number_ends = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    integer_ends = {**number_ends, "items": {"type": "integer"}}
    ranges = [
        {
            "type": "object",
            "properties": {scale: integer_ends if scale == "integer" else number_ends},
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
    """Add the docstrings of a class and its fields to its schema, and remove titles."""
    schema["description"] = inspect.cleandoc(cls.__doc__ or "")
    schema.pop("title", None)
    described = _field_docs(cls)
    for name, field in schema["properties"].items():
        field.pop("title", None)
        if name in described:
            field["description"] = described[name]


@lru_cache(maxsize=64)
def _field_docs(cls: type) -> dict[str, str]:
    """Return the docstrings of the fields of a class, including inherited fields."""
    docs: dict[str, str] = {}
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
                docs[field.target.id] = inspect.cleandoc(below.value.value)
    return docs
