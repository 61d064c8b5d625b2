"""Messages contain no secret and still show other values."""

from __future__ import annotations

import time

import pytest

from clmethods.errors import ConfigIssue
from clmethods.hidden_values import HIDDEN, looks_secret, printable


@pytest.mark.parametrize(
    "name",
    [
        "aws_secret_access_key",
        "AWS_SESSION_TOKEN",
        "password",
        "dbPassword",
        "apiKey",
        "api-key",
        "accesskey",
        "accountkey",
        "sas_token",
        "X-Amz-Signature",
        "sig",
        "credentials",
        "passphrase",
        "key",
        "Authorization",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "design",
        "sigma_max",
        "passes",
        "keyboard",
        "tokenizer_size",
        "patience",
        "message",
        "lr",
        "rank",
    ],
)
def test_names_that_only_sound_alike(name: str) -> None:
    assert not looks_secret(name)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("aws_secret_access_key", "PLANTED"),
        ("train.password", "PLANTED"),
        ("search.train.password[0]", "PLANTED"),
        ("search.method[0].api_key", {"x": "PLANTED"}),
        ("resources", {"limits": [{"token": "PLANTED"}]}),
        ("logging.mlflow", {"tracking_uri": "http://user:PLANTED@host/"}),
        ("extends", "https://user:PLA/NTED@host/a.yaml"),
        ("extends", "https://host/a.yaml?X-Amz-Signature=PLANTED&b=c"),
        ("train", "password: PLANTED"),
        ("train", ["api_key=PLANTED"]),
    ],
)
def test_secrets_are_not_shown(path: str, value: object) -> None:
    text = str(ConfigIssue(path, value, "something else"))
    assert "PLANTED" not in text
    assert "NTED" not in text
    assert HIDDEN in text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("orders.design", "latn"),
        ("keys.yaml", "No such file or directory"),
        ("a folder/key.yaml, line 3, column 1", "seeds: [0"),
        ("extends", "https://host/a.yaml?version=3"),
        ("where[0]", "method.rank == 3"),
        ("seeds", [0, "one", None]),
    ],
)
def test_other_values_are_shown(path: str, value: object) -> None:
    assert printable(path, value) == value


def test_a_value_that_contains_itself_is_shown_to_some_depth() -> None:
    value: list[object] = []
    value.append(value)
    assert "..." in str(printable("train", value))


@pytest.mark.parametrize("unit", ["x", "x1", "a-", "s3://", "?a=", "password "])
def test_long_values_are_masked_in_time(unit: str) -> None:
    """The message of a long value appears at once, and a long list is not searched to its end."""
    start = time.process_time()
    text = str(ConfigIssue("note", unit * 500_000, "a short text"))
    listed = str(ConfigIssue("notes", [unit * 200] * 20_000, "a short list"))
    assert time.process_time() - start < 2.0
    assert max(len(text), len(listed)) < 200


def test_a_secret_behind_a_long_text_is_not_shown() -> None:
    assert "hunter2" not in str(printable("note", "x" * 1990 + " password=hunter2"))
