"""What a sweep file says under `logging`: who else is told how trials go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

from clmethods.errors import ConfigIssue, refuse
from clmethods.hidden_values import HIDDEN, looks_secret, without_url_secrets

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""What each logger needs to be installed."""

NOT_SECRET = ("api_key_file",)
"""Arguments of loggers that look like secrets by their name and are none."""

_WHERE_KEYS_BELONG = {
    "mlflow": "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN, in the environment of the driver's host",
    "wandb": "run `wandb login` on the driver's host, which writes ~/.netrc, or set WANDB_API_KEY "
    "in its environment, or name a file on it with `api_key_file`",
    "tensorboard": "give the directory alone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """Loggers of Ray Tune. They see a few figures per stage; the tables hold everything."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    tensorboard: bool | str = False
    """True for STORAGE/sweeps/NAME/tensorboard, or a directory of its own."""
    mlflow: dict[str, Any] | None = None
    """Arguments of Ray's `MLflowLoggerCallback`, such as `tracking_uri`; {} takes its defaults."""
    wandb: dict[str, Any] | None = None
    """Arguments of Ray's `WandbLoggerCallback`, such as `project`; {} takes its defaults."""

    @property
    def enabled(self) -> dict[str, Any]:
        """The loggers that are on, and what is said of them."""
        given = {"tensorboard": self.tensorboard, "mlflow": self.mlflow, "wandb": self.wandb}
        return {name: value for name, value in given.items() if value not in (False, None)}

    def refuse(self, storage: str) -> None:
        """Raise `InvalidConfigError` for loggers that cannot work with what is there."""
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
        refuse(issues)


def secret_issues(section: Any) -> list[ConfigIssue]:
    """Return an issue for each secret in a `logging` section: the sweep file is stored."""
    if not isinstance(section, Mapping):
        return []
    return [
        ConfigIssue(
            f"logging.{'.'.join(path)}",
            HIDDEN,
            "no secret, as sweep files are stored and can be read by others",
            f"Remove it and {_WHERE_KEYS_BELONG.get(path[0], 'keep it in the environment')}.",
        )
        for path in _secret_paths(section)
    ]


def without_secrets(section: Any) -> Any:
    """Return a `logging` section without its secrets, which earlier versions accepted."""
    if isinstance(section, Mapping):
        kept = {k: v for k, v in section.items() if not _is_secret(str(k), v)}
        return {name: without_secrets(value) for name, value in kept.items()}
    if isinstance(section, list):
        return [without_secrets(item) for item in section if not _is_secret("", item)]
    return section


def _secret_paths(section: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    pairs = section.items() if isinstance(section, Mapping) else enumerate(section)
    for key, value in pairs:
        here = (*path, str(key))
        if _is_secret(str(key), value):
            yield here
        elif isinstance(value, Mapping | list):
            yield from _secret_paths(value, here)


def _is_secret(name: str, value: Any) -> bool:
    if looks_secret(name) and name not in NOT_SECRET:
        return value not in (None, "", {}, [])
    return isinstance(value, str) and without_url_secrets(value) != value
