"""Contact sheet: some images of every class as the network sees them, as PNG or HTML."""

from __future__ import annotations

import base64
import html
import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clmethods.data.cache import write_atomically
from clmethods.data.source import DatasetError, Pixels

SIDE = 72
"""Side of a shown image in pixels."""
GAP = 6
LABEL = 150
"""Width of the column of class names in pixels."""


@dataclass(frozen=True, slots=True)
class SheetRow:
    """Row of a contact sheet: a class."""

    title: str
    images: Mapping[str, Sequence[Pixels]]
    """Images (S, S) or (S, S, 3) by split."""


def write_contact_sheet(path: Path, rows: Sequence[SheetRow]) -> None:
    """Write the sheet as PNG or HTML, by the suffix of `path`.

    Raises `DatasetError` if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".png":
            sheet = _drawn(rows)
            write_atomically(path, lambda temporary: sheet.save(temporary, format="PNG"))
        else:
            text = _page(rows)
            write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error.strerror or error}") from error


def _drawn(rows: Sequence[SheetRow]) -> Image.Image:
    columns = max(sum(map(len, row.images.values())) for row in rows)
    width = LABEL + columns * (SIDE + GAP) + GAP
    sheet = Image.new("RGB", (width, len(rows) * (SIDE + GAP) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    draw.font = ImageFont.load_default_imagefont()  # the other built-in font has no accents
    for index, row in enumerate(rows):
        top = GAP + index * (SIDE + GAP)
        draw.text((GAP, top), _printable(row.title), fill="black")
        left = LABEL
        for split, images in row.images.items():
            for image in images:
                sheet.paste(_thumbnail(image), (left, top))
                draw.text((left + 2, top + 1), split[:5], fill="red")
                left += SIDE + GAP
    return sheet


def _printable(title: str) -> str:
    """Return the title in the characters of the font (Latin-1), on several lines.

    A letter with a mark that the font does not have is drawn without the mark; other characters
    become question marks. The page in HTML contains every character.
    """
    composed = unicodedata.normalize("NFC", title)
    text = "".join(_in_font(character) for character in composed)
    return "\n".join(text[at : at + 22] for at in range(0, min(len(text), 88), 22))


def _in_font(character: str) -> str:
    for form in (character, unicodedata.normalize("NFKD", character)[0]):
        if form.isprintable() and ord(form) < 256:
            return form
    return "?"


def _page(rows: Sequence[SheetRow]) -> str:
    body = []
    for row in rows:
        cells = "".join(
            f"<td>{''.join(_tag(image) for image in images)}</td>"
            for images in row.images.values()
        )
        body.append(f"<tr><th>{html.escape(row.title)}</th>{cells}</tr>")
    splits = "".join(f"<th>{html.escape(split)}</th>" for split in rows[0].images)
    style = (
        "body{font:14px sans-serif}img{image-rendering:pixelated;margin:2px}th{text-align:left}"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Images by class'
        f"</title><style>{style}</style></head><body><table><tr><th>class</th>{splits}</tr>"
        f"{''.join(body)}</table></body></html>\n"
    )


def _tag(image: Pixels) -> str:
    stream = io.BytesIO()
    _thumbnail(image).save(stream, format="PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img width="{SIDE}" height="{SIDE}" alt="" src="data:image/png;base64,{data}">'


def _thumbnail(image: Pixels) -> Image.Image:
    shown = Image.fromarray(np.asarray(image)).convert("RGB")
    return shown.resize((SIDE, SIDE), Image.Resampling.NEAREST)
