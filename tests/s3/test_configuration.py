"""Wrong settings of a bucket: one message, exit code 2, nothing started, no secret repeated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

import sweeps
from clmethods.config import InvalidConfigError
from sweeps.storage import (
    open_storage,
)
from tests.s3.forwarder import Answer, Forwarder, answers
from tests.s3.server import NOWHERE, READER, SECRETS, WRITER, Identity, S3Server
from tests.sweeps.stages.small import DOCUMENT

Command = Callable[..., Result]
Setting = Callable[[pytest.MonkeyPatch, S3Server, Path], None]


def keys(identity: Identity) -> Setting:
    """The machine has these keys in its file."""

    def use(patch: pytest.MonkeyPatch, server: S3Server, home: Path) -> None:
        server.environment(home / "home", identity)

    return use


def variables(**values: str | None) -> Setting:
    """The machine has these variables; None takes one away."""

    def use(patch: pytest.MonkeyPatch, server: S3Server, home: Path) -> None:
        for name, value in values.items():
            if value is None:
                patch.delenv(name)
            else:
                patch.setenv(name, value.format(port=server.ports.s3))

    return use


FAULTS: dict[str, tuple[Setting, tuple[str, ...]]] = {
    "plain http": (
        variables(AWS_ALLOW_HTTP=None),
        ("storage.endpoint: got 'http://127.0.0.1:", "plain http", "AWS_ALLOW_HTTP=true"),
    ),
    "wrong secret": (
        keys(Identity(WRITER.access_key, "topsecret")),
        ("the secret key does not belong to the access key", "Correct the keys"),
    ),
    "unknown key": (
        keys(Identity("nobody", "topsecret")),
        ("it does not know the access key", "keys from the shared credentials file"),
    ),
    "no keys": (variables(**NOWHERE), ("no keys were found", "~/.aws/credentials")),
    "no region": (
        variables(AWS_REGION=None, AWS_ENDPOINT_URL_S3=None),
        ("a bucket whose region is known", "Set AWS_REGION"),
    ),
    "unknown host": (
        variables(AWS_ENDPOINT_URL_S3="http://no-such-host.invalid:8333"),
        ("the server's name cannot be resolved", "endpoint http://no-such-host.invalid:8333"),
    ),
    "https on a plain port": (
        variables(AWS_ENDPOINT_URL_S3="https://127.0.0.1:{port}"),
        ("the server does not speak TLS", "Correct the endpoint"),
    ),
    "endpoint without scheme": (
        variables(AWS_ENDPOINT_URL_S3="127.0.0.1:8333"),
        ("AWS_ENDPOINT_URL_S3: got '127.0.0.1:8333'", "a URL such as https://"),
    ),
    "keys in the endpoint": (
        variables(AWS_ENDPOINT_URL_S3="http://labkey:topsecret@127.0.0.1:8333"),
        ("AWS_ENDPOINT_URL_S3: got '(not shown)'", "Keys belong neither into URLs"),
    ),
    "unknown profile": (
        variables(AWS_PROFILE="nobody"),
        ("The config profile (nobody) could not be found",),
    ),
    "half a key": (
        variables(AWS_ACCESS_KEY_ID="labkey", AWS_CONFIG_FILE="/nowhere"),
        ("Partial credentials found in env", "AWS_SECRET_ACCESS_KEY"),
    ),
    "no flag": (
        variables(AWS_ALLOW_HTTP="perhaps"),
        ("AWS_ALLOW_HTTP: got 'perhaps', allowed: true or false",),
    ),
}


def refusal(result: Result) -> str:
    """Return the one-line message about a user's mistake, which follows the heading."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    heading, *lines = result.stderr.splitlines()
    if lines[-1:] == ["exit code 2: an input was refused"]:  # of `sweeps run`
        lines.pop()
    assert heading == "error: 1 issue, nothing was started"
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.output
    for secret in SECRETS:
        assert secret not in result.output
    return lines[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(DOCUMENT), encoding="utf-8")
    return path


def commands(file: Path, location: str) -> dict[str, tuple[object, ...]]:
    return {
        "run": ("run", file, "--storage", location),
        "plan": ("plan", file, "--storage", location),
        "status": ("status", f"{location}/sweeps/small"),
        "report": ("report", location),
        "export": ("export", location, "--to", file.parent / "export"),
        "gc": ("gc", location, "--delete"),
        "query": ("query", location, "SELECT 1"),
    }


@pytest.mark.parametrize("command", ["run", "pareto"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_setting_is_one_message(
    sweeps_command: Command,
    server: S3Server,
    file: Path,
    location: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    command: str,
) -> None:
    use, words = FAULTS[fault]
    use(monkeypatch, server, tmp_path)
    arguments = (command, location) if command == "pareto" else commands(file, location)[command]
    said = refusal(sweeps_command(*arguments))
    for word in words:
        assert word in said


@pytest.mark.parametrize("command", commands(Path("x"), ""))
def test_every_command_says_that_a_bucket_is_missing(
    sweeps_command: Command, file: Path, command: str
) -> None:
    said = refusal(sweeps_command(*commands(file, "s3://no-such-bucket/x")[command]))
    assert "allowed: a bucket that exists" in said
    assert "Create it, or correct its name" in said


@pytest.mark.parametrize("command", commands(Path("x"), ""))
def test_every_command_refuses_keys_in_a_url_without_repeating_them(
    sweeps_command: Command, file: Path, command: str
) -> None:
    for url in ("s3://labkey:topsecret@lab", "s3://lab?secret_access_key=topsecret"):
        said = refusal(sweeps_command(*commands(file, url)[command]))
        assert "(not shown)" in said
        assert "Keys belong neither into URLs" in said


def test_reading_needs_no_right_to_write(
    sweeps_command: Command, server: S3Server, file: Path, location: str, tmp_path: Path
) -> None:
    open_storage(location).put("sweeps/small/sweep.yaml", yaml.safe_dump(DOCUMENT).encode())
    server.environment(tmp_path / "home", READER)
    assert "trials    1 in 1 configuration" in sweeps_command("status", location).output
    assert sweeps_command("plan", file, "--storage", location).exit_code == 0
    said = refusal(sweeps_command("run", file, "--storage", location))
    assert "the keys do not have the right to do this" in said
    assert "Grant these keys the rights to list, read, write and delete objects" in said


def test_a_bucket_may_be_called_like_a_folder_of_a_storage(
    sweeps_command: Command, server: S3Server
) -> None:
    server.create_bucket("sweeps")
    open_storage("s3://sweeps").put("sweeps/small/sweep.yaml", yaml.safe_dump(DOCUMENT).encode())
    for directory in ("s3://sweeps", "s3://sweeps/", "s3://sweeps/sweeps/small"):
        assert "trials    1 in 1 configuration" in sweeps_command("status", directory).output
    assert "NAME one of ['small']" in refusal(sweeps_command("status", "s3://sweeps/sweeps/other"))


def test_notebooks_get_the_same_message(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidConfigError, match="a bucket that exists"):
        sweeps.load("s3://no-such-bucket/x")
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(InvalidConfigError, match="plain http"):
        sweeps.load(location)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>"), "Set the clock"),
        (Answer(301, b"<Error><Code>PermanentRedirect</Code></Error>"), "Set AWS_REGION"),
        (Answer(400, b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>"), "AWS_REGION"),
        (Answer(400, b"<Error><Code>ExpiredToken</Code></Error>"), "the keys have expired"),
        (Answer(501, b"<Error><Code>NotImplemented</Code></Error>"), "Use another server"),
        (Answer(405, b"<html>a web server</html>"), "Correct the location and the endpoint"),
    ],
)
def test_what_this_server_does_not_say_but_others_do(
    sweeps_command: Command,
    front: Forwarder,
    file: Path,
    location: str,
    answer: Answer,
    words: str,
) -> None:
    front.fault = answers(9, answer)
    assert words in refusal(sweeps_command("run", file, "--storage", location))


def test_a_server_without_conditional_writes_is_refused(
    sweeps_command: Command, front: Forwarder, file: Path, location: str
) -> None:
    """It would give every worker the lease of the same stage. Its answers are invented here."""
    headers = (("ETag", '"1"'), ("Last-Modified", "Mon, 30 Nov 2026 09:00:00 GMT"))
    bodies = {
        "PUT": b"",
        "GET": b"second",
        "POST": b"<DeleteResult><Deleted><Key>x</Key></Deleted></DeleteResult>",
    }
    front.fault = lambda request, forward: Answer(200, bodies[request.method], headers)
    said = refusal(sweeps_command("run", file, "--storage", location))
    assert "If-None-Match" in said
    assert "Use another server" in said


def test_an_outage_at_the_start_is_waited_for_and_then_said(
    sweeps_command: Command, front: Forwarder, file: Path, location: str
) -> None:
    document = {**DOCUMENT, "storage": {"retry_for_s": 1}}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    front.refuse()
    result = sweeps_command("run", file, "--storage", location)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"stopped: the storage {location} could not be reached")
    said, last = result.stderr.splitlines()
    assert said.endswith("refused the connection; the same command continues")
    assert last == "exit code 1: stopped before the end; the same command continues"


def test_the_section_of_the_sweep_file_wins_over_the_environment(
    sweeps_command: Command,
    front: Forwarder,
    file: Path,
    location: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And it changes nothing of the sweep: the file is the same one with and without it."""
    section = {"endpoint": front.endpoint, "region": "us-east-1", "allow_http": True}
    without = sweeps_command("plan", file, "--storage", location)
    assert without.exit_code == 0, without.output
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ALLOW_HTTP"):
        monkeypatch.delenv(name)
    file.write_text(yaml.safe_dump({**DOCUMENT, "storage": section}), encoding="utf-8")
    front.taken()
    with_section = sweeps_command("plan", file, "--storage", location)
    assert with_section.output == without.output
    assert front.requests
