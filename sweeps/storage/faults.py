"""What goes wrong with a storage itself, told apart from what goes wrong with a run."""

from __future__ import annotations

import errno
import re

from obstore.exceptions import BaseError

_FULL = re.compile(rf"\(os error ({errno.ENOSPC}|{errno.EDQUOT})\)")

FULL = (
    "no space is left; what is stored is whole. Free some space, then the same command continues"
)
"""What a person is told."""


def is_storage_fault(error: BaseException) -> bool:
    """Whether the error, or one that it came from, was raised by an object store."""
    return any(isinstance(each, BaseError) for each in _chain(error))


def is_full(error: BaseException) -> bool:
    """Whether the error, or one that it came from, says that there is no space or quota left."""
    return any(
        (isinstance(each, OSError) and each.errno in {errno.ENOSPC, errno.EDQUOT})
        or (isinstance(each, BaseError) and _FULL.search(str(each)) is not None)
        for each in _chain(error)
    )


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found
