"""Render the characters of the embedded benchmarks from openly licensed fonts.

    python tools/render_glyphs.py --set glyph100 --cache build/fonts
    python tools/render_glyphs.py --set scripts --cache build/fonts

`glyph100` is the benchmark of that name, `scripts` the two last domains of `embedded4`.

The fonts are the Debian packages pinned in tools/glyph_fonts.json, fetched and unpacked into the
cache as by tools/fetch_fonts.py. A package, and with it every cut of its families, belongs to
the training side or to the test side, never to both. Each class takes one font per package in
turn until it has its pictures, in an order that depends on the class alone, so that the same
packages and the same Pillow give the same arrays. Fonts are not shipped; their pictures are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, lru_cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from fetch_fonts import fetch
from fontTools.ttLib import TTFont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]

SIDES = ("train", "test")


@dataclass(frozen=True)
class Alphabet:
    """Characters that a font must have all of, and how many pictures of each are taken."""

    characters: str
    train: int = 40
    test: int = 12


@dataclass(frozen=True)
class GlyphSet:
    """One file: its alphabets, and whether class ids mix them."""

    alphabets: Mapping[str, Alphabet]
    shuffled: bool

    def class_order(self) -> str:
        """The characters by class id: one after another, or shuffled so that a task mixes them."""
        characters = "".join(alphabet.characters for alphabet in self.alphabets.values())
        if not self.shuffled:
            return characters
        order = np.random.default_rng(SEED).permutation(len(characters))
        return "".join(characters[i] for i in order.tolist())


SETS = {
    "glyph100": GlyphSet(
        {
            "digits": Alphabet("23456789"),
            "Latin capitals": Alphabet("ABDEFGHJKLMNPQRSTY"),
            "Latin small letters": Alphabet("abdefghnrt"),
            "Greek": Alphabet("ΓΔΘΛΞΠΣΦΨΩαβδλμξσω"),
            "Cyrillic": Alphabet("БДЖИЦЧШЩЪЫЭЮЯЉ"),
            "Hebrew": Alphabet("אבגדהטלמנעפצקש"),
            "hiragana": Alphabet("あおけすたなのふまみ"),
            "katakana": Alphabet("アキサネホムメラ"),
        },
        shuffled=True,
    ),
    "scripts": GlyphSet(
        {
            "Latin": Alphabet("ABDEGHKMRS", train=100, test=25),
            "hiragana": Alphabet("あおけすたなのふまみ"),
        },
        shuffled=False,
    ),
}
"""Of characters that most fonts draw alike (c and C, 0 and O, β and ß) at most one is in a set."""

SEED = 0
FONT_PIXELS = 96
SIDE = 28
MARGIN = 1.12  # side of the square over the longer side of the glyph
FAINT = 128  # a picture without a pixel this bright is a hairline that 28 pixels cannot show
PINS = Path(__file__).with_name("glyph_fonts.json")
TARGET = Path(__file__).resolve().parent.parent / "clmethods" / "data" / "files"


def font_files(pin: dict[str, Any], cache: Path) -> list[Path]:
    """Fonts of a package that match its `files` patterns (all of them by default), sorted."""
    folder = cache / "glyph100" / pin["package"]
    if not folder.exists():
        print(f"{pin['package']} {pin['version']}", flush=True)
        fetch(pin["package"], pin["version"], pin["sha256"], folder)
    fonts = (path for path in folder.rglob("*") if path.suffix.lower() in {".ttf", ".otf", ".ttc"})
    chosen = (
        path
        for path in fonts
        if not path.is_symlink()
        and any(fnmatch(path.name, pattern) for pattern in pin.get("files", ["*"]))
    )
    return sorted(chosen, key=lambda path: path.relative_to(folder).as_posix())


@cache
def coverage(path: Path) -> frozenset[int]:
    """Code points that a font maps to a glyph of its own."""
    with TTFont(path, lazy=True, fontNumber=0) as font:
        found = font.getBestCmap() or {}
        return frozenset(code for code, glyph in found.items() if glyph != ".notdef")


@lru_cache(maxsize=64)
def load_font(path: Path) -> ImageFont.FreeTypeFont:
    """A font without the optional text shaper, which would differ between machines."""
    return ImageFont.truetype(path, FONT_PIXELS, layout_engine=ImageFont.Layout.BASIC)


def draw(path: Path, character: str) -> Picture | None:
    """The character, white on black, cropped and centred; None if there is too little to see."""
    font = load_font(path)
    left, top, right, bottom = font.getbbox(character)
    canvas = Image.new("L", (int(right - left) + 8, int(bottom - top) + 8))
    ImageDraw.Draw(canvas).text((4 - left, 4 - top), character, fill=255, font=font)
    box = canvas.getbbox()
    if box is None:
        return None
    glyph = canvas.crop(box)
    side = round(max(glyph.size) * MARGIN)
    square = Image.new("L", (side, side))
    square.paste(glyph, ((side - glyph.width) // 2, (side - glyph.height) // 2))
    picture = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.uint8)
    return picture if picture.max() >= FAINT else None


def candidates(packages: list[list[Path]], label: int) -> Iterator[Path]:
    """All fonts, one of every package in turn, in an order of the class's own."""
    rng = np.random.default_rng([SEED, label])
    shuffled = [
        [fonts[i] for i in rng.permutation(len(fonts)).tolist()]
        for fonts in (packages[i] for i in rng.permutation(len(packages)).tolist())
    ]
    return (path for path in chain.from_iterable(zip_longest(*shuffled)) if path is not None)


def render(glyphs: GlyphSet, sides: dict[str, list[list[Path]]]) -> tuple[NDArray[np.uint8], ...]:
    """`images`, `labels` and `test`, by class and with the training images first."""
    rows: list[tuple[Picture, int, bool]] = []
    seen: set[bytes] = set()
    for label, character in enumerate(glyphs.class_order()):
        (alphabet,) = (a for a in glyphs.alphabets.values() if character in a.characters)
        for side, packages in sides.items():
            kept, desired = 0, alphabet.train if side == "train" else alphabet.test
            for path in candidates(packages, label):
                if kept == desired:
                    break
                if not coverage(path).issuperset(map(ord, alphabet.characters)):
                    continue  # a font with a few letters of a script has them for other ends
                picture = draw(path, character)
                if picture is None or picture.tobytes() in seen:
                    continue
                seen.add(picture.tobytes())
                rows.append((picture, label, side == "test"))
                kept += 1
            if kept < desired:
                raise ValueError(f"{character}: {desired} {side} images required, {kept} found")
    images, labels, test = zip(*rows, strict=True)
    return np.stack(images), np.array(labels, np.uint8), np.array(test, bool)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cache", type=Path, default=Path("build/fonts"))
    parser.add_argument("--set", choices=sorted(SETS), default="glyph100")
    parser.add_argument("--out", type=Path, default=TARGET, help="folder for the .npz file")
    args = parser.parse_args()
    pins = json.loads(PINS.read_text())
    sides = {side: [font_files(pin, args.cache) for pin in pins[side]] for side in SIDES}
    glyphs = SETS[args.set]
    images, labels, test = render(glyphs, sides)
    out = args.out / f"{args.set}.npz"
    np.savez_compressed(out, images=images, labels=labels, test=test)
    digest = hashlib.sha256()
    for array in (images, labels, test):
        digest.update(np.ascontiguousarray(array).tobytes())
    print(f"{out.name}: {len(labels)} images, {int(test.sum())} of them for the test")
    print("classes in order:", glyphs.class_order())
    print("sha256 of the arrays:", digest.hexdigest())


if __name__ == "__main__":
    main()
