"""Command `clmethods data`: show the images of a run by class, task and split."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clmethods.cli.errors import exit_on_user_error
from clmethods.cli.input_files import read_mapping
from clmethods.cli.tables import columns
from clmethods.config import ConfigIssue, InvalidConfigError, RunConfig, run_from_dict
from clmethods.standard_streams import output_that_may_end

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clmethods.data.data_summary import DataSummary

SHOWN_DUPLICATES = 20
SHOWN_IGNORED = 20
PER_SPLIT = 6
"""Number of images of a class and split in a contact sheet."""
SHEETS = (".png", ".html")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--contact-sheet",
    "sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write some images of every class to this .png or .html file, as the network sees them.",
)
@click.option("--verbose", is_flag=True, help="List all ignored files and all duplicates.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@output_that_may_end()
def data(file: Path, sheet: Path | None, verbose: bool, as_json: bool) -> None:
    """Show classes, images per task and split, sizes, and duplicates across splits.

    FILE (YAML or JSON) has the section `stream`, as a run or a sweep, and describes the user's own
    data: `image-folder`, `manifest` or `idx`. All images are decoded once, as for training.
    """
    with exit_on_user_error(f"the data of {file} cannot be shown"):
        run = _run(file)
        if sheet is not None and sheet.suffix.lower() not in SHEETS:
            issue = ConfigIssue("--contact-sheet", str(sheet), f"a file ending in {SHEETS}")
            raise InvalidConfigError([issue])
        from clmethods.data.data_summary import summary_of

        summary = summary_of(run.stream)
        if summary is None:
            allowed = "the user's own data: image-folder, manifest or idx"
            issue = ConfigIssue("stream.dataset", run.stream.dataset, allowed)
            raise InvalidConfigError([issue])
        duplicates = _duplicates(run)
        if sheet is not None:
            _write_sheet(sheet, run, summary)
    if as_json:
        click.echo(json.dumps(asdict(summary) | {"duplicates": duplicates}))
    else:
        click.echo(_text(summary, duplicates, verbose))
        if sheet is not None:
            click.echo(f"contact sheet: {sheet}")


def _run(file: Path) -> RunConfig:
    document = read_mapping(file)
    run = document.get("run", document)
    sections = run if isinstance(run, dict) else {}
    if not isinstance(sections.get("stream"), dict):
        allowed = "a file with the section stream"
        raise InvalidConfigError([ConfigIssue("FILE", str(file), allowed)])
    known = {name: sections[name] for name in ("backbone", "stream") if name in sections}
    return run_from_dict(known)


def _duplicates(run: RunConfig) -> list[dict[str, Any]]:
    """Return the validation and test images that training images equal or resemble."""
    import numpy as np

    from clmethods.data.data_summary import SPLITS
    from clmethods.data.datasets import open_images
    from clmethods.data.near_duplicates import near_duplicates
    from clmethods.data.splits import drawn_splits
    from clmethods.user_data.folder_listing import digests_of

    opened = open_images(run.stream, run.backbone.image_size)
    splits = drawn_splits(run.stream, opened.source)
    training = np.flatnonzero(splits == SPLITS["training"])
    others = np.flatnonzero(splits != SPLITS["training"])
    listing = run.stream.listing()
    digests = digests_of(listing) if listing is not None and listing.paths else []
    equal = {digests[index]: index for index in training.tolist()} if digests else {}
    words = {code: word for word, code in SPLITS.items()}
    found: list[dict[str, Any]] = []
    exact: set[int] = set()
    for index in others.tolist():
        if digests and digests[index] in equal:
            exact.add(index)
            pair = (index, equal[digests[index]])
            found.append(_pair(*pair, "equal", opened.source, words[int(splits[index])]))
    for each in near_duplicates(opened.images, training, others):
        if each.image not in exact:
            word = words[int(splits[each.image])]
            found.append(_pair(each.image, each.training, "similar", opened.source, word))
    return found


def _pair(image: int, training: int, kind: str, source: Any, split: str) -> dict[str, Any]:
    names = [str(source.files[i]) if source.files else f"image {i}" for i in (image, training)]
    labels = [source.class_names[source.labels[i]] for i in (image, training)]
    return {
        "kind": kind,
        "split": split,
        "image": names[0],
        "class": labels[0],
        "training_image": names[1],
        "training_class": labels[1],
    }


def _write_sheet(path: Path, run: RunConfig, summary: DataSummary) -> None:
    import numpy as np

    from clmethods.data.contact_sheet import SheetRow, write_contact_sheet
    from clmethods.data.data_summary import SPLITS
    from clmethods.data.datasets import open_images
    from clmethods.data.image_decoding import center_crop
    from clmethods.data.splits import drawn_splits

    opened = open_images(run.stream, run.backbone.image_size)
    splits = drawn_splits(run.stream, opened.source)
    images = center_crop(opened.images, run.stream.resizing)

    def chosen(label: int, code: int) -> NDArray[np.intp]:
        return np.flatnonzero((opened.labels == label) & (splits == code))[:PER_SPLIT]

    rows = [
        SheetRow(
            f"{label}: {name}",
            {word: [images[i] for i in chosen(label, code)] for word, code in SPLITS.items()},
        )
        for label, name in enumerate(summary.classes)
    ]
    write_contact_sheet(path, rows)


def _text(summary: DataSummary, duplicates: list[dict[str, Any]], verbose: bool) -> str:
    lines = [summary.line, f"  root: {summary.root}", ""]
    splits = [split for split in summary.counts[0].images if summary.total(split)]
    table = [["task  class", "id", *splits]]
    table += [
        [
            f"{count.task}  {count.name}",
            str(count.label),
            *(f"{count.images[s]:,}" for s in splits),
        ]
        for count in summary.counts
    ]
    lines += [columns(table), ""]
    for word, numbers in (("formats", summary.formats), ("modes", summary.modes)):
        if numbers:
            lines.append(f"{word}: {', '.join(f'{n:,} {name}' for name, n in numbers.items())}")
    if summary.turned:
        lines.append(f"orientation tags: applied to {summary.turned:,} images")
    lines += _list("ignored", summary.ignored, SHOWN_IGNORED, verbose)
    shown = [
        f"{d['kind']}: {d['split']} {d['image']} ({d['class']}) and training "
        f"{d['training_image']} ({d['training_class']})"
        for d in duplicates
    ]
    lines += _list("duplicates across splits", shown, SHOWN_DUPLICATES, verbose)
    return "\n".join(lines)


def _list(title: str, items: list[str], most: int, verbose: bool) -> list[str]:
    shown = items if verbose else items[:most]
    rest = len(items) - len(shown)
    more = [f"  and {rest:,} more (--verbose)"] if rest else []
    return [f"{title}: {len(items):,}", *(f"  {item}" for item in shown), *more]
