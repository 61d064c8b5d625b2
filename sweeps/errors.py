"""Base class of the exceptions of `sweeps`."""

from __future__ import annotations

from clmethods.errors import ClmethodsError


class SweepsError(ClmethodsError):
    """Base class of the exceptions that `sweeps` defines.

    It is a `ClmethodsError`, because functions of `sweeps` raise errors of both packages: invalid
    sweep files, for example, raise `clmethods.errors.InvalidConfigError`. `except ClmethodsError`
    catches all of them.
    """
