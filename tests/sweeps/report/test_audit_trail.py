"""The audit trail in the report: who ran what, on which nodes, and what was lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sweeps.report import render
from sweeps.report.audit_trail import LISTED, audit_trail_section
from sweeps.report.page import sections_of
from sweeps.results.event_kinds import (
    Halted,
    NodeJoined,
    NodeLost,
    NodeRefused,
    Notice,
    RunEnded,
    RunStarted,
    StageDone,
    WorkerLost,
)
from sweeps.results.events import EventLog
from sweeps.storage import ObjectStore, open_storage
from tests.sweeps.report.pages import Page
from tests.sweeps.report.test_page import report_inputs_at

NODES = 40
STAGES = 10_000
HOSTILE = "<script>alert(1)</script>"


def write_runs(objects: ObjectStore) -> None:
    """A run that lost and refused nodes and was killed, and one that ended by itself."""
    log = EventLog(objects, "small", "aaaa")
    log.add(
        RunStarted(
            document="d0c",
            code_version="1+abc",
            user="ada",
            host="head",
            pid=7,
            file=f"my/{HOSTILE}.yaml",
            address="auto",
            only=("lorac*",),
            retry_failed=True,
        )
    )
    for n in range(NODES):
        log.add(
            NodeJoined(
                node=f"w{n}", address=f"10.0.0.{n}", node_id=str(n), cpus=8, gpus=1, slots=4
            )
        )
    for n in range(STAGES):
        log.add(
            StageDone(
                trial="t",
                key="k",
                position=0,
                outcome="trained" if n % 10 else "evaluated",
                seconds=2.0,
                node=f"w{n % NODES}",
            )
        )
    for n in range(300):
        log.add(
            WorkerLost(
                trial="t",
                name="n",
                node=f"w{n % NODES}",
                cause="NodeLost" if n % 3 else "Preempted",
                detail="a worker lost its node",
            )
        )
        log.add(Notice(text=f"w1: out of reach ({n})"))
    log.add(NodeLost(node="w1", address="10.0.0.1", node_id="1"))
    log.add(NodeRefused(node="w2", address="10.0.0.2", node_id="2", reason="no storage there"))
    log.add(Halted(reason="no space is left"))
    log.flush(force=True)
    log = EventLog(objects, "small", "bbbb")
    log.add(RunStarted(document="d0d", code_version="1+abc", user="bob", host="head"))
    log.add(RunEnded(trained=0, failed=2, error="ValueError: x"))
    log.flush(force=True)


@pytest.fixture(scope="module")
def audited(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("audited") / "storage"
    shutil.copytree(finished, storage)
    write_runs(open_storage(str(storage)))
    return storage


@pytest.fixture(scope="module")
def tables(audited: Path) -> dict[str, list[dict[str, str]]]:
    section = audit_trail_section(report_inputs_at(audited))
    return {
        title: [
            {column.title: cell for column, cell in zip(one.columns, row, strict=True)}
            for row in one.rows
        ]
        for title, one in section.tables
    }


def test_the_lead_sums_up(audited: Path) -> None:
    lead = audit_trail_section(report_inputs_at(audited)).lead
    assert "2 runs of the driver by ada, bob" in lead
    assert "1 run without a logged end" in lead
    assert f"{NODES} nodes; 300 workers lost; 1 node lost; 1 node refused" in lead


def test_who_ran_what_with_which_file_and_how_it_ended(
    tables: dict[str, list[dict[str, str]]],
) -> None:
    killed, failed = tables["Runs of the driver"]
    assert (killed["run"], killed["by"], killed["end"]) == (
        "aaaa",
        "ada@head, process 7",
        "no end logged",
    )
    assert (killed["trained"], killed["evaluated"]) == ("9000", "1000")
    assert failed["end"] == "error: ValueError: x; 2 trials failed"
    first, second = tables["Sweep file, code and options of each run"]
    assert first["sweep file"] == f"my/{HOSTILE}.yaml"
    assert (first["checksum"], first["code version"]) == ("d0c", "1+abc")
    assert first["options"] == "--address auto --only lorac* --retry-failed"
    assert (second["options"], second["sweep file"]) == ("–", "–")  # noqa: RUF001  # a dash


def test_what_each_node_did(tables: dict[str, list[dict[str, str]]]) -> None:
    nodes = tables["Nodes"]
    assert len(nodes) == LISTED
    first = nodes[0]
    assert (first["slots"], first["CPUs"], first["GPUs"]) == ("4", "8", "1")
    assert int(first["trained"]) + int(first["evaluated"]) == STAGES // NODES
    assert first["busy"] == "8.3 min"
    trained = [int(node["trained"]) for node in nodes]
    assert trained == sorted(trained, reverse=True)


def test_what_was_lost_and_refused(tables: dict[str, list[dict[str, str]]]) -> None:
    lost = {row["cause"]: row for row in tables["Lost workers by cause"]}
    assert (lost["NodeLost"]["workers"], lost["Preempted"]["workers"]) == ("200", "100")
    assert lost["NodeLost"]["nodes"].endswith(f"and {NODES - 3} more")
    (refused,) = tables["Refused nodes"]
    assert (refused["node"], refused["reason"]) == ("w2", "no storage there")
    notices = tables["Storage outages and halts"]
    assert len(notices) == LISTED
    assert notices[-1]["event"] == "no space is left"
    assert notices[-2]["event"] == "w1: out of reach (299)"


def test_ten_thousand_events_make_a_short_section(audited: Path, finished: Path) -> None:
    section = audit_trail_section(report_inputs_at(audited))
    assert all(len(one.rows) <= LISTED for _, one in section.tables)
    (note,) = [one.note for title, one in section.tables if title == "Nodes"]
    assert note == f"the first {LISTED} of {NODES}; sweeps status --json lists all"
    long, short = (len(render(report_inputs_at(place))) for place in (audited, finished))
    assert long - short < 40_000


def test_texts_of_users_are_no_markup(audited: Path) -> None:
    page = render(report_inputs_at(audited))
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page
    said = Page(page).sections["operations"]
    assert "ada@head, process 7" in said
    assert "no storage there" in said


def test_a_run_of_an_earlier_version_has_a_row(finished: Path, tmp_path: Path) -> None:
    storage = Path(shutil.copytree(finished, tmp_path / "copy"))
    old = {
        "started_at": "2026-11-24T09:12:44+00:00",
        "sweep": {"name": "small"},
        "code_version": "0.1.0+old",
        "host_kind": "Linux x86_64 AMD",
    }
    folder = storage / "sweeps" / "small" / "events"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "20261124T091244-1a2b3c.json").write_text(json.dumps(old))
    section = audit_trail_section(report_inputs_at(storage))
    tables = dict(section.tables)
    (row,) = tables["Runs of the driver"].rows
    assert row[0] == "20261124T091244-1a2b3c"
    assert row[1] == "2026-11-24 09:12"
    assert row[4] == "Linux x86_64 AMD"
    assert tables["Sweep file, code and options of each run"].rows[0][3] == "0.1.0+old"


def test_without_a_log_the_section_says_so(finished: Path) -> None:
    inputs = report_inputs_at(finished)
    section = audit_trail_section(inputs)
    assert (section.lead, section.tables) == ("The event log of this sweep is empty.", ())
    names = [one.id for one in sections_of(inputs)]
    assert names[-3:] == ["failures", "operations", "setting"]
