"""Reader of the status of sweeps: drivers, nodes, running stages, progress. Writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import final

from clmethods.config import InvalidConfigError
from sweeps.definition import stored_sweep, tolerated_weights
from sweeps.definition.file.stored_file import LostSweepFileError, UnreadableSweepFileError
from sweeps.planning.lease_readings import Beat, Beats, Sign, look_again, read_beats
from sweeps.planning.plan import Plan, make_plan
from sweeps.planning.progress_counts import Counts, counts_of_log, counts_of_plan, row_counts
from sweeps.planning.status_model import (
    Driver,
    FailedTrial,
    NodeStatus,
    RunningStage,
    SweepState,
    SweepStatus,
)
from sweeps.results import read_table
from sweeps.results.events import read_event_log
from sweeps.results.history import History, RunOutcome, history_of
from sweeps.results.throughput import Throughput, throughput
from sweeps.stages.stage_store import StageStore
from sweeps.storage import MissingObjectError, ObjectStore


def read_statuses(
    objects: ObjectStore,
    names: Sequence[str],
    clock: Callable[[], float] = monotonic,
    wait: Callable[[float], None] = sleep,
) -> list[SweepStatus]:
    """Return the status of sweeps of one storage.

    Drivers are read twice, before and after everything else, because only a change of its beat
    shows that the owner of a lease is alive.
    """
    started = clock()
    drivers = {name: read_beats(objects, f"sweeps/{name}/running") for name in names}
    finished = StageStore(objects).finished()
    parts = [_Part.read(objects, name, finished) for name in names]
    leases = Beats({}, {})
    if any(found.by_key for found in drivers.values()):
        known = {key for part in parts if part.plan is not None for key in part.plan.tree.nodes}
        all_resolved = all(part.plan is not None for part in parts)
        leases = read_beats(objects, "leases", lambda key: not all_resolved or key in known)
    every = [beat for found in drivers.values() for beat in found.by_key.values()]
    signs = look_again(objects, every, started, clock, wait)
    now = datetime.now(UTC)
    return [
        part.status([signs[beat.name] for beat in own.by_key.values()], leases.by_key, now).naming(
            {**own.unreadable, **leases.unreadable}
        )
        for part, own in zip(parts, drivers.values(), strict=True)
    ]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Data of one sweep that was read between the two reads of its drivers."""

    objects: ObjectStore
    name: str
    history: History
    plan: Plan | None
    unresolved: str
    rows: Mapping[str, int]
    """Number of trials by status, from the table, if there is no plan."""
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def read(cls, objects: ObjectStore, name: str, finished: Mapping[str, set[str]]) -> _Part:
        plan, unresolved, damaged = _plan(objects, name, finished)
        log = read_event_log(objects, name)
        read = read_table(objects, name, "trials") if plan is None else None
        left_out = read.damaged if read is not None else plan.left_out if plan else ()
        warnings = read.warnings if read is not None else plan.warnings if plan else ()
        return cls(
            objects=objects,
            name=name,
            history=history_of(log.events),
            plan=plan,
            unresolved=unresolved,
            rows={} if read is None else row_counts(read.table),
            left_out=(*damaged, *left_out, *log.left_out),
            warnings=(*warnings, *log.left_out.values()),
        )

    def status(
        self, signs: Sequence[tuple[Sign, Beat]], leases: Mapping[str, Beat], now: datetime
    ) -> SweepStatus:
        drivers = tuple(
            self._driver(sign, beat) for sign, beat in signs if not self._has_ended(sign, beat)
        )
        alive = {driver.run for driver in drivers if driver.sign is Sign.ALIVE}
        running = self._running(leases, alive) if alive else ()
        trials = {stage.trial for stage in running}
        if self.plan is not None:
            counts = counts_of_plan(self.plan, trials)
        else:
            counts = counts_of_log(self.history, self.rows, len(trials))
        clocks = {beat.owner: beat.at or now for sign, beat in signs if sign is Sign.ALIVE}
        speed = throughput(self.history.runs, now, clocks)
        return SweepStatus(
            name=self.name,
            state=_state(drivers, counts, self.plan),
            counts=counts,
            drivers=drivers,
            nodes=self._nodes(alive, running),
            running=running,
            speed=speed,
            left_s=_left(counts, speed),
            failed=self._failed(trials),
            history=self.history,
            plan=self.plan,
            unresolved=self.unresolved,
            left_out=self.left_out,
            warnings=self.warnings,
        )

    def _has_ended(self, sign: Sign, beat: Beat) -> bool:
        """Return True if a driver has ended, by its lease or by the event log.

        A driver that lost its cluster, or that could not reach the storage at its end, leaves a
        lease.
        """
        run = self.history.run(beat.owner)
        logged = run is not None and run.outcome is not RunOutcome.NOT_LOGGED
        return sign is Sign.ENDED or (sign is Sign.SILENT and logged)

    def _driver(self, sign: Sign, beat: Beat) -> Driver:
        run = self.history.run(beat.owner)
        who = run.started if run is not None else None
        return Driver(
            run=beat.owner,
            sign=sign,
            host=(who.host if who is not None else None) or beat.host,
            user=(who.user if who is not None else None) or "",
            pid=who.pid if who is not None else None,
            file=(who.file if who is not None else None) or "",
            since=beat.since,
            running_s=beat.held_s,
        )

    def _running(self, leases: Mapping[str, Beat], alive: set[str]) -> tuple[RunningStage, ...]:
        """Return the stages that workers of alive drivers hold."""
        plan = self.plan
        trials = {t.trial_id: t for t in plan.trials} if plan is not None else {}
        found = []
        for beat in leases.values():
            driver, _, trial = beat.owner.rpartition(":")
            if driver.partition(".")[0] not in alive:
                continue
            spec = trials.get(trial)
            node = plan.tree.nodes.get(beat.key) if plan is not None else None
            found.append(
                RunningStage(
                    node=beat.host,
                    trial=trial,
                    name=spec.name if spec is not None else trial,
                    key=beat.key,
                    position=node.position if node is not None else None,
                    stages=spec.run.stages if spec is not None else None,
                    held_s=beat.held_s,
                )
            )
        return tuple(sorted(found, key=lambda stage: (stage.node, stage.name)))

    def _nodes(self, alive: set[str], running: Iterable[RunningStage]) -> tuple[NodeStatus, ...]:
        busy = Counter(stage.node for stage in running)
        records = {record.node: record for record in self.history.nodes}
        joined = {
            node.node_id: node for r in self.history.runs if r.run in alive for node in r.nodes
        }
        slots: Counter[tuple[str, str]] = Counter()  # several nodes of Ray may share a host
        for node in joined.values():
            slots[node.node, node.address] += node.slots
        return tuple(
            NodeStatus(
                node=name,
                address=address,
                slots=number,
                busy=busy[name],
                trained=records[name].trained,
                lost=records[name].lost,
            )
            for (name, address), number in sorted(slots.items())
        )

    def _failed(self, running: set[str]) -> tuple[FailedTrial, ...]:
        """Return the failed trials that are not being retried."""
        ends = self.history.ends
        if self.plan is None:
            failed = {
                trial: (end.name, end.error or "")
                for trial, end in ends.items()
                if end.status == "failed"
            }
        else:
            failed = {
                trial.trial_id: (trial.name, self.plan.attempts[trial.trial_id].error or "")
                for trial in self.plan.trials
                if self.plan.failed_before(trial)
            }
        return tuple(
            FailedTrial(
                trial=trial,
                name=name,
                cause=(ends[trial].error_kind if trial in ends else None) or "",
                error=error,
                node=ends[trial].node if trial in ends else "",
            )
            for trial, (name, error) in failed.items()
            if trial not in running
        )


def _plan(
    objects: ObjectStore, name: str, finished: Mapping[str, set[str]]
) -> tuple[Plan | None, str, tuple[str, ...]]:
    """Return the plan of a stored sweep, or None and why it cannot be made on this machine.

    The third value is the key of the sweep file if that is damaged or lost.

    Without the weights of a backbone, the keys of its stages are not known, and a plan would count
    them as not trained.
    """
    key = f"sweeps/{name}/sweep.yaml"
    try:
        with tolerated_weights() as missing:
            sweep = stored_sweep(objects, name)
    except MissingObjectError:
        return None, f"{key} was removed", ()
    except (UnreadableSweepFileError, LostSweepFileError) as error:
        return None, str(error.issues[0]), (key,)
    except InvalidConfigError as error:
        return None, str(error.issues[0]), ()
    if missing:
        return None, str(next(iter(missing.values()))), ()
    try:
        return make_plan(sweep, StageStore(objects), finished=finished), "", ()
    except InvalidConfigError as error:  # orders that depend on tasks that were not measured
        return None, str(error.issues[0]), ()


def _state(drivers: Sequence[Driver], counts: Counts, plan: Plan | None) -> SweepState:
    signs = {driver.sign for driver in drivers}
    if Sign.ALIVE in signs:
        return SweepState.RUNNING
    open_step = plan is not None and not plan.step.finished
    is_open = counts.waiting or open_step or not counts.trials  # without trials, nothing is known
    if not is_open:
        return SweepState.FINISHED
    return SweepState.SILENT if Sign.SILENT in signs else SweepState.STOPPED


def _left(counts: Counts, speed: Throughput) -> float | None:
    if counts.to_train == 0:
        return 0.0
    if not speed.recent_per_hour:
        return None
    return counts.to_train / speed.recent_per_hour * 3600
