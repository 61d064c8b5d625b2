"""A secret in a sweep file is not printed, and not accepted where it would be stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from clmethods.config import InvalidConfigError
from clmethods.hidden_values import looks_secret
from sweeps.cli.locate import find_stored_sweep
from sweeps.definition import load_sweep, stored_sweep, sweep_from_dict
from sweeps.definition.file.json_schema import sweep_schema
from sweeps.planning.driver_lock import refuse_other_meaning
from sweeps.storage import open_storage
from tests.sweeps.stages.small import DOCUMENT


def refusal(document: dict[str, Any]) -> str:
    with pytest.raises(InvalidConfigError) as refused:
        sweep_from_dict(document)
    return str(refused.value)


@pytest.mark.parametrize(
    "extra",
    [
        {"aws_secret_access_key": "PLANTED"},
        {"resources": {"aws_secret_access_key": "PLANTED"}},
        {"train": {"password": "PLANTED"}},
        {"search": {"train.password": ["PLANTED"]}},
        {"baselines": [{"method": {"api_key": "PLANTED"}}]},
        {"ablation": {"token": {"x": "PLANTED"}}},
        {"storage": {"retry_for_s": "PLANTED"}},
        {"storage": {"retry_for_s": ["PLANTED"]}},
        {"storage": {"allow_http": "PLANTED"}},
        {"storage": {"allow_http": {"x": "PLANTED"}}},
        {"extends": "http://user:PLANTED@host/base.yaml"},
    ],
)
def test_the_value_is_not_printed(extra: dict[str, Any]) -> None:
    assert "PLANTED" not in refusal({**DOCUMENT, **extra})


@pytest.mark.parametrize(
    "text",
    [
        'train: {password: "PLANTED}',
        "train: {password: PLANTED, lr: : 1}",
        "password: *PLANTED",
        "password: !PLANTED x",
        "password:\n  *PLANTED",
        "password: PLANTED\npassword: PLANTED",
    ],
)
def test_a_file_that_cannot_be_read_is_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"name: x\n{text}\n")
    with pytest.raises(InvalidConfigError) as refused:
        load_sweep(path)
    assert "PLANTED" not in str(refused.value)


SECRET_LOGGING = [
    ({"wandb": {"api_key": "PLANTED"}}, "logging.wandb.api_key", "wandb login"),
    ({"wandb": {"config": {"db": [{"password": "PLANTED"}]}}}, "config.db.0.password", "Remove"),
    ({"wandb": {"api_key_file": "~/PLANTED"}}, "logging.wandb.api_key_file", "wandb login"),
    ({"mlflow": {"tracking_uri": "http://u:PLANTED@h/"}}, "tracking_uri", "~/.mlflow"),
    ({"mlflow": {"tracking_uri": "https://h/?token=PLANTED"}}, "mlflow.tracking_uri", "~/.mlflow"),
    ({"mlflow": {"tracking_token": "PLANTED"}}, "logging.mlflow.tracking_token", "~/.mlflow"),
    ({"tensorboard": "s3://key:PLANTED@bucket/x"}, "logging.tensorboard", "directory"),
]


@pytest.mark.parametrize(("section", "path", "advice"), SECRET_LOGGING)
def test_a_secret_for_a_logger_is_refused(section: dict[str, Any], path: str, advice: str) -> None:
    message = refusal({**DOCUMENT, "logging": section})
    assert path in message
    assert advice in message
    assert "PLANTED" not in message


@pytest.mark.parametrize(
    "section",
    [
        {"wandb": {"project": "p"}},
        {"mlflow": {"tracking_uri": "http://host:5000/?page=1", "tracking_token": None}},
        {"tensorboard": "logs"},
    ],
)
def test_loggers_without_secrets_are_accepted(section: dict[str, Any]) -> None:
    sweep_from_dict({**DOCUMENT, "logging": section})


@pytest.mark.parametrize(("section", "path", "advice"), SECRET_LOGGING)
def test_a_storage_with_a_secret_of_an_earlier_version_is_still_read(
    tmp_path: Path, section: dict[str, Any], path: str, advice: str
) -> None:
    """Only running that file again is refused, as it would be stored once more."""
    objects = open_storage(str(tmp_path))
    text = yaml.safe_dump({**DOCUMENT, "logging": section})
    objects.put(f"sweeps/{DOCUMENT['name']}/sweep.yaml", text.encode())
    sweep = stored_sweep(objects, DOCUMENT["name"])
    assert "PLANTED" not in json.dumps(sweep.document)
    refuse_other_meaning(sweep_from_dict(DOCUMENT), objects)
    with pytest.raises(InvalidConfigError, match=r"no secret, as sweep files are stored"):
        find_stored_sweep(objects, DOCUMENT["name"])


def test_no_field_of_a_sweep_file_looks_secret() -> None:
    """Otherwise messages about it could not show its value."""

    def names(schema: object) -> set[str]:
        if isinstance(schema, dict):
            own = (
                set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
            )
            return own.union(*(names(part) for part in schema.values()))
        if isinstance(schema, list):
            return set().union(*(names(part) for part in schema))
        return set()

    found = names(sweep_schema())
    assert len(found) > 100
    assert not [name for name in found if looks_secret(name)]
