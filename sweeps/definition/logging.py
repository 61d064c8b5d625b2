"""Section `logging` of a sweep file: external loggers of trials."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

from clmethods.errors import ConfigIssue, refuse
from clmethods.hidden_values import HIDDEN, looks_secret, without_url_secrets

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""Python package that each logger requires."""

_WHERE_KEYS_BELONG = {
    "mlflow": "write it to ~/.mlflow/credentials, mode 0600, on the host of the driver",
    "wandb": "run `wandb login` on the host of the driver, which writes ~/.netrc. Ray's callback "
    "copies the key of an `api_key_file` into an environment variable, which Ray logs",
    "tensorboard": "specify only the directory",
}
"""Advice by logger. Environment variables are no place for keys, because Ray logs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """Loggers of Ray Tune, which receive a few metrics per stage; result tables are complete."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    tensorboard: bool | str = False
    """True for STORAGE/sweeps/NAME/tensorboard, or a different directory."""
    mlflow: dict[str, object] | None = None
    """Arguments of Ray's `MLflowLoggerCallback`, such as `tracking_uri`; {} uses its defaults."""
    wandb: dict[str, object] | None = None
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
        refuse(issues)


def secret_issues(section: object) -> list[ConfigIssue]:
    """Return an issue for each secret in a `logging` section: the sweep file is stored."""
    if not isinstance(section, Mapping):
        return []
    return [
        ConfigIssue(
            f"logging.{'.'.join(path)}",
            HIDDEN,
            "no secret, as sweep files are stored and can be read by others",
            f"Remove it. {_advice(path[0])}.",
        )
        for path in _secret_paths(section)
    ]


def _advice(logger: str) -> str:
    text = _WHERE_KEYS_BELONG.get(logger, "keep it out of the sweep file")
    return text[0].upper() + text[1:]


def without_secrets(section: object) -> object:
    """Return a `logging` section without its secrets, which earlier versions accepted."""
    if isinstance(section, Mapping):
        kept = {k: v for k, v in section.items() if not _is_secret(str(k), v)}
        return {name: without_secrets(value) for name, value in kept.items()}
    if isinstance(section, list):
        return [without_secrets(item) for item in section if not _is_secret("", item)]
    return section


def _secret_paths(
    section: Mapping[str, object] | Sequence[object], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    pairs: Iterable[tuple[object, object]] = (
        section.items() if isinstance(section, Mapping) else enumerate(section)
    )
    for key, value in pairs:
        here = (*path, str(key))
        if _is_secret(str(key), value):
            yield here
        elif isinstance(value, Mapping | list):
            yield from _secret_paths(value, here)


def _is_secret(name: str, value: object) -> bool:
    if looks_secret(name):
        return value not in (None, "", {}, [])
    return isinstance(value, str) and without_url_secrets(value) != value
