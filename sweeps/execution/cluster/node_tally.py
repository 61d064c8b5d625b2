"""Counts of the nodes of a cluster, for progress output."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

NAMED = 6
"""Number of nodes that a sentence names; the others are counted."""


@final
@dataclass(slots=True)
class NodeTally:
    """Nodes that run trials now, and the numbers of lost and refused nodes."""

    present: dict[str, tuple[str, int]] = field(default_factory=dict)
    """(host name, slots) by node id."""
    lost_count: int = 0
    refused_ids: set[str] = field(default_factory=set)

    @property
    def known(self) -> bool:
        """Return True if any node was counted."""
        return bool(self.present or self.lost_count or self.refused_ids)

    def joined(self, node_id: str, name: str, slots: int) -> None:
        """Count a node that joined."""
        self.present[node_id] = name, slots

    def refused(self, node_id: str) -> None:
        """Count a node that must not run trials."""
        self.present.pop(node_id, None)
        self.refused_ids.add(node_id)

    def lost(self, node_id: str) -> None:
        """Count a node that left the cluster."""
        self.present.pop(node_id, None)
        self.refused_ids.discard(node_id)
        self.lost_count += 1

    def text(self) -> str:
        """Return for example `3 nodes, 8 slots, 1 lost`."""
        slots = sum(slots for _, slots in self.present.values())
        parts = [_count(len(self.present), "node"), slots_text(slots)]
        parts += [f"{self.lost_count} lost"] if self.lost_count else []
        parts += [f"{len(self.refused_ids)} refused"] if self.refused_ids else []
        return ", ".join(parts)

    def sentence(self) -> str:
        """Return a sentence about the nodes at the start."""
        named = [f"{name} {slots_text(slots)}" for name, slots in self.present.values()]
        more = [f"{len(named) - NAMED} more"] if len(named) > NAMED else []
        return f"cluster of {_count(len(named), 'node')}: {', '.join([*named[:NAMED], *more])}"


def slots_text(slots: int) -> str:
    """Return `4 slots`; `no slots` for a node that runs no trials, such as a head without CPUs."""
    return "no slots" if slots == 0 else _count(slots, "slot")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
