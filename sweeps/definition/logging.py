"""Section `logging` of a sweep file: external loggers of trials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

from clmethods.errors import ConfigIssue, refuse

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Python package that each logger requires."""

KEYS = {"mlflow": ("tracking_token",), "wandb": ("api_key", "api_key_file")}
"""Arguments that put a key into the stored sweep file or, by Ray, into an environment variable."""

_PASSWORD_IN_URL = re.compile(r"://[^/@\s]+:[^/@\s]+@")
_KEYS_BELONG = (
    "Put the key into a file of mode 0600 on the host that runs the driver: ~/.netrc for W&B, "
    "~/.mlflow/credentials for MLflow"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """Loggers of Ray Tune, which receive a few metrics per stage; result tables are complete."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    tensorboard: bool | str = False
    """True for STORAGE/sweeps/NAME/tensorboard, or a different directory."""
    mlflow: dict[str, Any] | None = None
    """Arguments of Ray's `MLflowLoggerCallback`, such as `tracking_uri`; {} uses its defaults."""
    wandb: dict[str, Any] | None = None
    """Arguments of Ray's `WandbLoggerCallback`, such as `project`; {} uses its defaults."""

    @property
    def enabled(self) -> dict[str, Any]:
        """Enabled loggers with their arguments."""
        loggers = {"tensorboard": self.tensorboard, "mlflow": self.mlflow, "wandb": self.wandb}
        return {name: value for name, value in loggers.items() if value not in (False, None)}

    def refuse(self, storage: str) -> None:
        """Raise `InvalidConfigError` for loggers that lack a package or a local directory."""
        issues = [
            ConfigIssue(
                f"logging.{name}",
                value,
                f"to be left out unless the package {PACKAGES[name]} is installed",
                f"`pip install {PACKAGES[name]}`",
            )
            for name, value in self.enabled.items()
            if find_spec(PACKAGES[name]) is None
        ]
        if self.tensorboard is True and "://" in storage:
            constraint = "a local directory, as the storage is a bucket"
            issues.append(
                ConfigIssue(
                    "logging.tensorboard", True, constraint, "For example: tensorboard: logs"
                )
            )
        refuse([*issues, *self._keys()])

    def _keys(self) -> list[ConfigIssue]:
        """Return issues for arguments that hold a key; their values are not repeated."""
        constraint = (
            "no key: sweep files are stored, and Ray writes environment variables to its logs"
        )
        return [
            ConfigIssue(f"logging.{logger}.{name}", "(not shown)", constraint, _KEYS_BELONG)
            for logger in KEYS
            for name, value in (self.enabled.get(logger) or {}).items()
            if name in KEYS[logger] or (isinstance(value, str) and _PASSWORD_IN_URL.search(value))
        ]
