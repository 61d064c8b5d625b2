"""Reduce the schemas of Google and Kubernetes to the fields that gcp.yaml and kuberay.yaml use.

The complete schemas fill hundreds of megabytes as packages. The reduced ones are strict, so they
refuse every field that is not listed. Run this again after adding a field to one of the files:

    pip download --no-deps google-api-python-client kubernetes-validate
    unzip the two wheels into a folder
    python tools/launcher_schemas.py FOLDER

A field that the complete schema does not know ends the program with its path.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
SCHEMAS = REPOSITORY / "tests" / "launchers" / "schemas"
COMPUTE = "googleapiclient/discovery_cache/documents/compute.v1.json"
KUBERNETES = "kubernetes_validate/kubernetes-json-schema"
KEPT = ("type", "enum", "format", "pattern", "oneOf", "anyOf", "minimum", "required")

Schema = dict[str, Any]


class Reducer:
    """Merges what several values use of one schema."""

    def __init__(self, resolve: Callable[[str], Schema]) -> None:
        self.resolve = resolve

    def reduced(self, schema: Schema, values: list[Any], path: str) -> Schema:
        """Return the strict schema of the fields that occur in `values`."""
        while "$ref" in schema:
            schema = self.resolve(schema["$ref"])
        found: Schema = {key: schema[key] for key in KEPT if key in schema}
        if "properties" in schema:
            used = sorted({key for value in values for key in value})
            unknown = [key for key in used if key not in schema["properties"]]
            if unknown:
                sys.exit(f"{path}.{unknown[0]}: the complete schema has no such field")
            found |= {"type": "object", "additionalProperties": False}
            found["properties"] = {
                key: self.reduced(
                    schema["properties"][key],
                    [value[key] for value in values if key in value],
                    f"{path}.{key}",
                )
                for key in used
            }
            found["required"] = [key for key in schema.get("required", []) if key in used]
        elif isinstance(schema.get("additionalProperties"), dict):
            inner = [item for value in values for item in value.values()]
            found["additionalProperties"] = self.reduced(
                schema["additionalProperties"], inner, f"{path}.*"
            )
        elif "items" in schema:
            inner = [item for value in values for item in value]
            found["items"] = self.reduced(schema["items"], inner, f"{path}[]")
        return {key: value for key, value in found.items() if value != []}


def google(folder: Path) -> Iterator[tuple[str, Schema]]:
    """The resource Instance of compute v1, as `instances.insert` takes it."""
    document = json.loads((folder / COMPUTE).read_text())
    types = yaml.safe_load((REPOSITORY / "cluster/gcp.yaml").read_text())["available_node_types"]
    reducer = Reducer(document["schemas"].__getitem__)
    schema = reducer.reduced(
        {"$ref": "Instance"}, [node["node_config"] for node in types.values()], "node_config"
    )
    origin = f"Fields of gcp.yaml in Google's compute v1, revision {document['revision']}"
    yield "gcp_instance", {"$comment": origin} | schema


def kubernetes(folder: Path) -> Iterator[tuple[str, Schema]]:
    """Objects of Kubernetes in kuberay.yaml, and the pod templates inside the RayJob."""
    (versions,) = [max((folder / KUBERNETES).glob("v*-local-strict"))]
    definitions = json.loads((versions / "_definitions.json").read_text())
    documents = {
        document["kind"]: document
        for document in yaml.safe_load_all((REPOSITORY / "cluster/kuberay.yaml").read_text())
    }
    cluster = documents["RayJob"]["spec"]["rayClusterSpec"]
    templates = [
        group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
    ]
    reducer = Reducer(lambda ref: _definition(definitions, ref))
    core, network = "io.k8s.api.core.v1", "io.k8s.api.networking.v1"
    for name, definition, values in (
        ("pod_template", f"{core}.PodTemplateSpec", templates),
        (
            "resource_requirements",
            f"{core}.ResourceRequirements",
            [cluster["autoscalerOptions"]["resources"]],
        ),
        ("service_account", f"{core}.ServiceAccount", [documents["ServiceAccount"]]),
        ("network_policy", f"{network}.NetworkPolicy", [documents["NetworkPolicy"]]),
    ):
        schema = reducer.reduced(_definition(definitions, definition), values, name)
        version = versions.name.split("-")[0]
        yield name, {"$comment": f"Fields of kuberay.yaml in Kubernetes {version}"} | schema


def _definition(definitions: Schema, reference: str) -> Schema:
    inside = definitions.get("$defs") or definitions["definitions"]
    found: Schema = inside[reference.rsplit("/", 1)[-1]]
    return found


def main() -> None:
    """Write the reduced schemas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, schema in (*google(folder), *kubernetes(folder)):
        (SCHEMAS / f"{name}.json").write_text(json.dumps(schema, indent=1) + "\n")
        print(name)


if __name__ == "__main__":
    main()
