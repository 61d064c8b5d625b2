"""Files and folders that systems and editors create, and that are never part of a dataset."""

from __future__ import annotations

IGNORED_NAMES = frozenset(
    {
        "$recycle.bin",
        "#recycle",
        "#snapshot",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "icon\r",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)
"""Names, in lower case, that macOS, Windows, Linux, Synology, QNAP and Python give to their own
files. All hidden names (with a leading dot) are ignored too, such as `.DS_Store`, `._photo.jpg`,
`.ipynb_checkpoints` and `.thumbnails`."""

IGNORED_PREFIXES = ("~$", "@syno")
"""Beginnings of names, in lower case: lock files of office programs, files of Synology."""

IGNORED_SUFFIXES = (
    "~",
    ".bak",
    ".crdownload",
    ".download",
    ".old",
    ".part",
    ".partial",
    ".swp",
    ".tmp",
    "@synoeastream",
    "@synoresource",
)
"""Ends of names, in lower case: backups of editors and incomplete downloads."""

WITHOUT_LABELS = frozenset({"extra", "unlabeled", "unlabelled", "unsup"})
"""Folders beside `train` and `test` that contain images without labels; they are ignored."""


def is_ignored(name: str, *, folder: bool) -> bool:
    """Return True if a file or folder of this name is never part of a dataset."""
    lower = name.lower()
    if lower.startswith((".", *IGNORED_PREFIXES)) or lower in IGNORED_NAMES:
        return True
    return not folder and lower.endswith(IGNORED_SUFFIXES)
