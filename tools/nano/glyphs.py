"""Rendered characters of non-Latin scripts, and the rule that keeps evaluation characters out.

Digits of any script, and the alphabets of `EXCLUDED_SCRIPTS`, are never drawn for pretraining:
benchmarks made of them must stay unseen. `allowed` decides from Unicode data, and
`lookalikes` also drops letters whose picture resembles a digit or a letter of an excluded script.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from fontTools import unicodedata as scripts
from fontTools.ttLib import TTCollection, TTFont, TTLibError
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from nano.shapes import SIDE, Pictures

BENCHMARK_SCRIPTS = frozenset(
    {"Latn", "Grek", "Cyrl", "Hira", "Kana", "Hebr", "Armn", "Geor", "Deva"}
)
"""ISO 15924 codes of the scripts kept for evaluation."""

SHAPE_COPYING_SCRIPTS = {
    "Copt": "Coptic",
    "Cher": "Cherokee",
    "Lisu": "Lisu",
    "Dsrt": "Deseret",
    "Osge": "Osage",
    "Vith": "Vithkuqi",
    "Elba": "Elbasan",
    "Goth": "Gothic",
    "Glag": "Glagolitic",
    "Perm": "Old Permic",
    "Ital": "Old Italic",
    "Cari": "Carian",
    "Lyci": "Lycian",
    "Lydi": "Lydian",
    "Phnx": "Phoenician",
    "Runr": "Runic",
    "Tfng": "Tifinagh",
    "Cans": "Canadian Syllabics",
    "Shaw": "Shavian",
    "Wara": "Warang Citi",
    "Aghb": "Caucasian Albanian",
    "Adlm": "Adlam",
    "Bopo": "Bopomofo",
    "Hung": "Old Hungarian",
    "Armi": "Imperial Aramaic",
    "Samr": "Samaritan",
    "Medf": "Medefaidrin",
    "Hmnp": "Nyiakeng Hmong",
    "Pauc": "Pau Cin Hau",
    "Nkoo": "N'Ko",
    "Vaii": "Vai",
    "Bamu": "Bamum",
    "Sora": "Sora Sompeng",
    "Kali": "Kayah Li",
    "Yiii": "Yi",
}
"""Scripts that took over the shapes of excluded letters, or are close relatives of them."""

EXCLUDED_SCRIPTS = (
    BENCHMARK_SCRIPTS
    | SHAPE_COPYING_SCRIPTS.keys()
    | {"Zyyy", "Zinh", "Zzzz"}  # symbols, fullwidth forms, mathematical letters, marks
)

BENCHMARK_SAMPLE = (
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπρστφχψωБГДЖЗИЛПУФЦЧШЩЪЫЬЭЮЯбвгджзийклмнптцчшщъыьэюя"
    "אבגדהוזחטיכלמנסעפצקרשת"
    + "".join(chr(c) for c in [*range(0x3042, 0x3094), *range(0x30A2, 0x30F4)])
)
"""Characters that no pretraining glyph may resemble; drawn for this comparison only."""

RESEMBLANCE = 0.82  # centred cosine of blurred pictures above which two pictures look alike
RESEMBLANCE_SHARE = 0.05  # share of such pictures from which a character is dropped
PER_SCRIPT = {"Hani": 220, "Hang": 120}  # most candidates of a script
OTHER_SCRIPT = 30  # the same, for every other script
FONT_PIXELS = 64
SKIPPED_FONTS = ("Emoji", "Symbols", "Math", "Music")


def allowed(character: str) -> bool:
    """Return True if Unicode classifies a character as a plain letter of an allowed script.

    Category Lo leaves out Nd, No, Nl, marks and cased letters; `numeric` leaves out letters
    with a number value (Han numerals among them); NFKC leaves out compatibility copies.
    """
    return (
        unicodedata.category(character) == "Lo"
        and unicodedata.numeric(character, None) is None
        and unicodedata.normalize("NFKC", character) == character
        and scripts.script(character) not in EXCLUDED_SCRIPTS
        and not EXCLUDED_SCRIPTS & set(scripts.script_extension(character))
    )


def _characters(path: Path) -> frozenset[int]:
    """Code points of a font file (of its first face, when it is a collection)."""
    try:
        if path.suffix.lower() == ".ttc":
            font = TTCollection(path, lazy=True).fonts[0]
        else:
            font = TTFont(path, lazy=True)
        return frozenset(font.getBestCmap() or {})
    except (TTLibError, OSError, AssertionError):
        return frozenset()


def supports(path: Path, characters: str) -> bool:
    """Return True if a font file has all of the characters."""
    return {ord(c) for c in characters} <= _characters(path)


def font_files(cache: Path) -> list[Path]:
    """Outline font files below `cache`, in a fixed order."""
    files = [p for p in cache.rglob("*") if p.suffix.lower() in {".ttf", ".otf", ".ttc"}]
    files = [p for p in files if p.is_file() and not any(s in p.name for s in SKIPPED_FONTS)]
    return sorted(files, key=lambda p: p.relative_to(cache).as_posix())


def draw_glyph(font: ImageFont.FreeTypeFont, character: str, stroke: float) -> Pictures | None:
    """One character, cropped, fitted into a square with a margin; None when it has no ink."""
    box = font.getbbox(character, stroke_width=stroke)
    width, height = int(box[2] - box[0]), int(box[3] - box[1])
    if width < 2 or height < 2 or max(width, height) > 6 * FONT_PIXELS:
        return None
    image = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(image)
    pen.text((-box[0], -box[1]), character, fill=255, font=font, stroke_width=stroke)
    ink = image.getbbox()
    if ink is None:
        return None
    image = image.crop(ink)
    inner = SIDE - 8
    scale = inner / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BICUBIC)
    square = Image.new("L", (SIDE, SIDE), 0)
    square.paste(small, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.asarray(square, np.uint8)


def load_font(path: Path) -> ImageFont.FreeTypeFont:
    """A font at the drawing size, without the optional text shaper (same result everywhere)."""
    return ImageFont.truetype(str(path), FONT_PIXELS, layout_engine=ImageFont.Layout.BASIC)


def _outline(picture: Pictures) -> NDArray[np.float64]:
    """Blurred, centred, unit-length version of a picture, for comparisons."""
    image = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.2)).reduce(2)
    flat: NDArray[np.float64] = np.array(image, np.float64).ravel()
    flat -= flat.mean()
    flat /= max(float(np.linalg.norm(flat)), 1e-9)
    return flat


def lookalikes(candidates: Iterable[Pictures], fonts: list[Path]) -> NDArray[np.bool_]:
    """Mask of the pictures that resemble a character of `BENCHMARK_SAMPLE` in any font."""
    desired = {ord(c) for c in BENCHMARK_SAMPLE}
    references = []
    for path in fonts:
        font = load_font(path)
        for code in sorted(desired & _characters(path)):
            picture = draw_glyph(font, chr(code), 0.0)
            if picture is not None:
                references.append(_outline(picture))
    outlines = np.stack([_outline(picture) for picture in candidates])
    return np.asarray((outlines @ np.stack(references).T).max(1) > RESEMBLANCE)


def _choose(coverage: dict[str, list[int]], rng: np.random.Generator) -> list[str]:
    """A bounded random choice of well-covered characters per script, in code-point order."""
    by_script: dict[str, list[str]] = defaultdict(list)
    for character in sorted(coverage):
        by_script[scripts.script(character)].append(character)
    chosen: list[str] = []
    for script in sorted(by_script):
        most = max(len(coverage[c]) for c in by_script[script])
        floor = max(2, 0.6 * most)  # at least two font files each
        pool = [c for c in by_script[script] if len(coverage[c]) >= floor]
        limit = PER_SCRIPT.get(script, OTHER_SCRIPT)
        picks = rng.permutation(len(pool))[:limit]
        chosen += [pool[i] for i in sorted(picks.tolist())]
    return chosen


def glyph_classes(
    cache: Path, count: int, rng: np.random.Generator
) -> tuple[list[str], list[Pictures]]:
    """Characters, and `count` pictures of each: uint8 (count, SIDE, SIDE) per character."""
    files = font_files(cache)
    if not files:
        raise FileNotFoundError(f"no fonts below {cache}; run tools/fetch_fonts.py first")
    coverage: dict[str, list[int]] = defaultdict(list)
    verdict: dict[int, bool] = {}
    for index, path in enumerate(files):
        for code in _characters(path):
            if code not in verdict:
                verdict[code] = allowed(chr(code))
            if verdict[code]:
                coverage[chr(code)].append(index)
    chosen = _choose(coverage, rng)
    fonts = {index: load_font(files[index]) for c in chosen for index in coverage[c]}
    names: list[str] = []
    kept: list[Pictures] = []
    for character in chosen:
        pictures: list[Pictures] = []
        for _ in range(4 * count):
            index = coverage[character][int(rng.integers(len(coverage[character])))]
            picture = draw_glyph(fonts[index], character, float(rng.choice([0, 0, 1, 2])))
            if picture is not None:
                pictures.append(picture)
            if len(pictures) == count:
                names.append(character)
                kept.append(np.stack(pictures))
                break
    plain = [p for p in files if p.stem in {"NotoSans-Regular", "NotoSans-Bold"}]
    plain += [p for p in files if p.stem in {"NotoSansHebrew-Regular", "NotoSansCJK-Regular"}]
    alike = lookalikes((picture for pictures in kept for picture in pictures), plain)
    fine = alike.reshape(-1, count).mean(1) < RESEMBLANCE_SHARE
    return (
        [name for name, keep in zip(names, fine, strict=True) if keep],
        [pictures for pictures, keep in zip(kept, fine, strict=True) if keep],
    )
