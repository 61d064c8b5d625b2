"""Calls from this process in the network of a host: the tests have no address there themselves."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from tests.cluster.lab.host import Host

Result = TypeVar("Result")
CLONE_NEWNET = 0x40000000


def in_network(host: Host, function: Callable[[], Result]) -> Result:
    """The result of a function whose sockets and child processes belong to the host's network."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            _enter(host.process_1)
            results.append(function())
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=call)  # a namespace belongs to a thread
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network of process {pid}")
    finally:
        os.close(descriptor)
