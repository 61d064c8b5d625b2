"""Options and locations: what is understood, what wins, what is refused and not shown."""

from __future__ import annotations

import pytest

from clmethods.config import InvalidConfigError
from sweeps.definition import sweep_from_dict
from sweeps.planning.driver_lock import keep_sweep_file, refuse_other_meaning
from sweeps.storage import StorageOptions, open_storage, parse_storage_url
from sweeps.storage.locations import StorageUrl, without_secrets
from sweeps.storage.options import hidden_value_issues, options_of_environment
from tests.sweeps.stages.small import DOCUMENT

WHOLE = StorageOptions(
    endpoint="https://s3.example.org:9000", region="eu-1", allow_http=False, retry_for_s=5.0
)


def test_options_travel_as_json() -> None:
    assert StorageOptions.from_json(WHOLE.to_json()) == WHOLE
    assert StorageOptions.from_json(StorageOptions().to_json()) == StorageOptions()
    assert StorageOptions().retry_for_s == 600


def test_what_is_given_wins_field_by_field() -> None:
    some = StorageOptions(region="us-2", retry_for_s=1.0)
    assert some.over(WHOLE) == StorageOptions(
        endpoint=WHOLE.endpoint, region="us-2", allow_http=False, retry_for_s=1.0
    )
    assert StorageOptions(allow_http=False).over(StorageOptions(allow_http=True)) == (
        StorageOptions(allow_http=False)
    )


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, StorageOptions()),
        ({"AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_S3": "https://b"}, "https://b"),
        ({"AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_S3": ""}, "https://a"),
        ({"AWS_REGION": "r", "AWS_DEFAULT_REGION": "d"}, StorageOptions(region="r")),
        ({"AWS_DEFAULT_REGION": "d"}, StorageOptions(region="d")),
        ({"AWS_ALLOW_HTTP": "TRUE"}, StorageOptions(allow_http=True)),
        ({"AWS_ALLOW_HTTP": "0"}, StorageOptions(allow_http=False)),
        ({"GOOGLE_BASE_URL": "https://g"}, StorageOptions()),
    ],
)
def test_the_environment_of_s3(environ: dict[str, str], expected: StorageOptions | str) -> None:
    if isinstance(expected, str):
        expected = StorageOptions(endpoint=expected)
    assert options_of_environment("s3", environ) == expected


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"endpoint": "s3.example.org"}, "endpoint: got 's3.example.org'"),
        ({"endpoint": "https://"}, "a URL such as"),
        ({"endpoint": "https://host:port"}, "a URL such as"),
        ({"endpoint": "https://user:topsecret@host"}, "endpoint: got '(not shown)'"),
        ({"endpoint": "https://host/?sig=topsecret"}, "Keys belong neither"),
        ({"region": "eu west"}, "letters, digits and -"),
        ({"region": ""}, "letters, digits and -"),
        ({"retry_for_s": -1.0}, "0 or more seconds"),
        ({"retry_for_s": float("inf")}, "0 or more seconds"),
    ],
)
def test_options_that_cannot_be_meant(fields: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidConfigError) as raised:
        StorageOptions(**fields)
    assert words in str(raised.value)
    assert "topsecret" not in str(raised.value)


@pytest.mark.parametrize(
    "section",
    [
        {"secret_access_key": "topsecret"},
        {"AWS_ACCESS_KEY_ID": "topsecret"},
        {"sas": "topsecret"},
        {"endpont": "https://topsecret@host"},
        {"endpoint": ["topsecret"]},
        {"region": {"topsecret": 1}},
        "s3://key:topsecret@bucket",
        ["topsecret"],
    ],
)
def test_a_section_with_a_secret_is_refused_without_showing_it(section: object) -> None:
    with pytest.raises(InvalidConfigError) as raised:
        sweep_from_dict({**DOCUMENT, "storage": section})
    issues = raised.value.issues
    assert [issue.path.split(".")[0] for issue in issues] == ["storage"]
    assert "topsecret" not in str(raised.value)


def test_a_misspelt_field_is_offered_the_right_one() -> None:
    (issue,) = hidden_value_issues({"endpont": "https://host"})
    assert issue.hint == "Did you mean 'endpoint'?"
    assert (
        hidden_value_issues(None)
        == hidden_value_issues({"endpoint": None, "retry_for_s": 3})
        == []
    )


def test_the_section_does_not_change_the_identity_of_a_sweep(tmp_path) -> None:
    plain = sweep_from_dict(DOCUMENT)
    reached = sweep_from_dict({**DOCUMENT, "storage": {"region": "eu-1", "retry_for_s": 7}})
    assert reached.storage == StorageOptions(region="eu-1", retry_for_s=7)
    assert plain.storage == StorageOptions()
    assert [c.run for c in reached.configurations] == [c.run for c in plain.configurations]
    objects = open_storage(str(tmp_path))
    keep_sweep_file(plain, objects)
    refuse_other_meaning(reached, objects)  # the same sweep, in another place


def test_a_file_inherits_the_section_field_by_field(tmp_path) -> None:
    (tmp_path / "base.yaml").write_text(
        "extends: digits_demo\nname: base\nstorage: {endpoint: 'https://a', region: r1}\n"
    )
    path = tmp_path / "own.yaml"
    path.write_text("extends: base.yaml\nname: own\nstorage: {region: r2, retry_for_s: 3}\n")
    from sweeps.definition import load_sweep

    expected = StorageOptions(endpoint="https://a", region="r2", retry_for_s=3.0)
    assert load_sweep(path).storage == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket", StorageUrl("s3", "bucket", "")),
        ("s3://bucket/", StorageUrl("s3", "bucket", "")),
        ("S3://bucket/a//b/", StorageUrl("s3", "bucket", "a/b")),
        ("gs://bucket/a", StorageUrl("gs", "bucket", "a")),
        ("az://container/a", StorageUrl("az", "container", "a")),
        ("memory://", StorageUrl("memory", "", "")),
        ("runs/demo", None),
        ("/shared/sweeps", None),
        ("C:/runs", None),
    ],
)
def test_locations(text: str, expected: StorageUrl | None) -> None:
    assert parse_storage_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "s3:/bucket/a",
        "s3://",
        "s3://bu cket",
        "s3://bucket/../a",
        "s3://bucket/a b",
        "file:///tmp/x",
        "http://host/bucket",
        "memory://named",
        "s3:///a/b",
    ],
)
def test_urls_that_are_not_understood(text: str) -> None:
    """None of them becomes a local directory of that name."""
    with pytest.raises(InvalidConfigError, match="storage: got"):
        parse_storage_url(text)


@pytest.mark.parametrize("text", ["file:///tmp/x", "file:/tmp/x", "http://host/a", "ftp:///a"])
def test_a_url_without_secrets_is_shown_as_it_was_typed(text: str) -> None:
    assert without_secrets(text) == text
    with pytest.raises(InvalidConfigError) as raised:
        open_storage(text)
    (issue,) = raised.value.issues
    assert issue.value == text
    assert ("without file://" in str(issue)) == text.startswith("file:")


@pytest.mark.parametrize(
    "text",
    [
        "s3://key:topsecret@bucket/a",
        "s3://key:top/secret/topsecret@bucket/a",
        "s3://key:topsecret?x@bucket/a",
        "s3://bucket/a?secret=topsecret",
        "s3://bucket?a=b@topsecret",
        "s3://bucket/a#topsecret",
        "ftp://user:topsecret@host/a",
        "s3:/key:topsecret@bucket/a",
    ],
)
def test_secrets_of_urls_are_not_shown(text: str) -> None:
    assert "topsecret" not in without_secrets(text)
    with pytest.raises(InvalidConfigError) as raised:
        open_storage(text)
    assert "topsecret" not in str(raised.value)
