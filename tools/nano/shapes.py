"""Generated picture classes: IFS fractals, radial contours, rigid compositions, textures.

Every function returns `count` pictures of one class, uint8 (count, SIDE, SIDE), bright on dark.
A class is fixed by its own generator; its pictures differ by a jitter of the class parameters.
Ideas: Kataoka et al. (FractalDB, ACCV 2020), Takashima et al. (Visual Atoms, CVPR 2023),
Anderson and Farrell (SVD-bounded IFS, WACV 2022). The code is new.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 40
JITTER = 0.12  # relative change of a class parameter from picture to picture
SUPERSAMPLE = 3  # drawings are made this much larger, then averaged down

Pictures = NDArray[np.uint8]
Floats = NDArray[np.float64]


def _jitter(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return 1.0 + rng.uniform(-JITTER, JITTER, shape)


# ---------------------------------------------------------------- iterated function systems


def _ifs_maps(rng: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats]:
    """Rotations, singular values and shifts of 2 to 5 contractions.

    The singular values (s1 >= s2) satisfy (5 + n) / 2 <= sum(s1 + 2 s2) <= (6 + n) / 2, the
    bound of Anderson and Farrell under which the attractor is neither a dust nor a blot.
    """
    n = int(rng.integers(2, 6))
    while True:
        first = rng.uniform(0.2, 1.0, n)
        second = first * rng.uniform(0.0, 1.0, n)
        target = rng.uniform(0.5 * (5 + n), 0.5 * (6 + n))
        scale = target / np.sum(first + 2.0 * second)
        if np.max(first) * scale < 0.95:
            break
    angles = rng.uniform(0.0, 2.0 * np.pi, (n, 2))
    mirror = rng.choice([-1.0, 1.0], n)
    shifts = rng.uniform(-1.0, 1.0, (n, 2))
    return angles, np.stack([first * scale, second * scale], -1), mirror, shifts


def _rotation(angle: Floats) -> Floats:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def _ifs_draw(
    rng: np.random.Generator,
    maps: tuple[Floats, Floats, Floats, Floats],
    count: int,
    points: int,
    steps: int,
) -> Pictures:
    """Play the chaos game for `count` jittered copies of the maps at once."""
    angles, values, mirror, shifts = maps
    n = len(mirror)
    angles = angles + rng.uniform(-JITTER, JITTER, (count, n, 2))
    values = np.minimum(values * _jitter(rng, (count, n, 2)), 0.97)
    shifts = shifts * _jitter(rng, (count, n, 2))
    right = np.stack([np.ones_like(mirror), mirror], -1)[:, :, None]  # (n, 2, 1)
    matrix = _rotation(angles[..., 0]) @ (values[..., None] * (right * _rotation(angles[..., 1])))
    weights = np.abs(values[..., 0] * values[..., 1]).mean(0) + 0.01
    limits = np.cumsum(weights / weights.sum())[:-1].astype(np.float32)
    flat = np.concatenate([matrix.reshape(count * n, 4), shifts.reshape(count * n, 2)], 1)
    flat = flat.astype(np.float32)
    offset = (np.arange(count) * n)[:, None]
    x = np.zeros((count, points), np.float32)
    y = np.zeros((count, points), np.float32)
    burn = 15
    track = np.empty((2, steps, count, points), np.float32)
    for step in range(burn + steps):
        pick = np.searchsorted(limits, rng.random((count, points), np.float32)) + offset
        a, b, c, d, e, f = flat[pick].transpose(2, 0, 1)
        x, y = a * x + b * y + e, c * x + d * y + f
        if step >= burn:
            track[0, step - burn], track[1, step - burn] = x, y
    cloud = track.transpose(0, 2, 1, 3).reshape(2, count, -1)
    low, high = np.percentile(cloud[:, :, ::7], [1.0, 99.0], axis=-1)
    extent = np.maximum(high - low, 1e-3)[..., None]
    cells = np.floor((cloud - low[..., None]) / extent * (SIDE - 6) + 3).astype(np.int64)
    inside = ((cells >= 0) & (cells < SIDE)).all(0)
    index = (np.arange(count)[:, None] * SIDE + cells[1]) * SIDE + cells[0]
    hits = np.bincount(index[inside], minlength=count * SIDE * SIDE)
    hits = hits.reshape(count, SIDE, SIDE).astype(np.float64)
    full = 4.0 * cloud.shape[-1] / (SIDE * SIDE)  # a cell hit this often is fully bright
    return (255.0 * np.minimum(1.0, hits / full) ** 0.5).astype(np.uint8)


def ifs_class(rng: np.random.Generator, count: int) -> Pictures:
    """Pictures of one iterated function system; systems too empty or too full are redrawn."""
    while True:
        maps = _ifs_maps(rng)
        trial = _ifs_draw(rng, maps, 1, 200, 40)
        if 0.12 < np.mean(trial > 40) < 0.75:
            return _ifs_draw(rng, maps, count, 500, 48)


# ---------------------------------------------------------------- drawings


def _canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (SIDE * SUPERSAMPLE, SIDE * SUPERSAMPLE), 0)
    return image, ImageDraw.Draw(image)


def _shrink(image: Image.Image) -> Pictures:
    return np.asarray(image.reduce(SUPERSAMPLE), np.uint8)


def contour_class(rng: np.random.Generator, count: int) -> Pictures:
    """One to three nested closed contours whose radius is a sum of sinusoids."""
    rings = int(rng.integers(1, 4))
    waves = int(rng.integers(1, 4))
    frequency = rng.integers(1, 13, (rings, waves))
    height = rng.uniform(0.04, 0.45, (rings, waves)) / np.sqrt(waves)
    phase = rng.uniform(0.0, 2.0 * np.pi, (rings, waves))
    filled = rng.random(rings) < 0.4
    stroke = rng.uniform(1.0, 4.0)
    shrink = np.cumprod(np.concatenate([[1.0], rng.uniform(0.45, 0.75, 2)]))[:rings]
    aspect = rng.uniform(0.6, 1.0)
    theta = np.linspace(0.0, 2.0 * np.pi, 96, endpoint=False)
    pictures = np.empty((count, SIDE, SIDE), np.uint8)
    middle = SIDE * SUPERSAMPLE / 2
    for row in range(count):
        image, draw = _canvas()
        heights = height * _jitter(rng, height.shape) ** 2
        phases = phase + rng.uniform(-0.2, 0.2, phase.shape)
        squeeze = aspect * float(_jitter(rng, ()))
        for ring in range(rings):
            bumps = heights[ring, :, None] * np.sin(
                frequency[ring, :, None] * theta + phases[ring, :, None]
            )
            radius = np.maximum(1.0 + bumps.sum(0), 0.1)
            radius *= 0.45 * SIDE * SUPERSAMPLE * shrink[ring] / radius.max()
            x = middle + radius * np.cos(theta)
            y = middle + radius * squeeze * np.sin(theta)
            outline = [*np.stack([x, y], -1).ravel().tolist()]
            if filled[ring]:
                draw.polygon(outline, fill=255 if ring % 2 == 0 else 0)
            else:
                ink = 0 if ring and filled[ring - 1] and ring % 2 else 255
                width = max(1, round(stroke * SUPERSAMPLE * 0.8 * float(_jitter(rng, ()))))
                draw.line([*outline, *outline[:4]], fill=ink, width=width, joint="curve")
        pictures[row] = _shrink(image)
    return pictures


PRIMITIVES = ("segment", "arc", "ellipse", "disc", "box", "slab", "polygon", "path")


def _draw_primitive(
    draw: ImageDraw.ImageDraw, kind: str, shape: Floats, place: Floats, width: int
) -> None:
    """Draw one primitive; `shape` (6, 2) in [-1, 1], `place` = centre x, y, radius, angle."""
    x, y, radius, angle = place.tolist()
    corners = shape * radius @ _rotation(np.asarray(angle)).T + [x, y]
    span = 0.35 + 0.65 * np.abs(shape[0])
    box = [x - radius * span[0], y - radius * span[1], x + radius * span[0], y + radius * span[1]]
    turn = np.degrees(angle)
    if kind == "segment":
        ends = np.array([[-1.0, 0.0], [1.0, 0.0]]) * radius @ _rotation(np.asarray(angle)).T
        draw.line(np.add(ends, [x, y]).ravel().tolist(), fill=255, width=width)
    elif kind == "arc":
        draw.arc(box, turn, turn + 120 + 150 * abs(shape[1, 0]), fill=255, width=width)
    elif kind == "ellipse":
        draw.ellipse(box, outline=255, width=width)
    elif kind == "disc":
        draw.ellipse(box, fill=255)
    elif kind == "path":
        draw.line(corners[:4].ravel().tolist(), fill=255, width=width, joint="curve")
    elif kind == "polygon":
        order = np.argsort(np.arctan2(shape[:5, 1], shape[:5, 0]))
        draw.polygon(corners[:5][order].ravel().tolist(), fill=255)
    else:
        sides = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * span * radius
        sides = sides @ _rotation(np.asarray(angle)).T + [x, y]
        outline = sides.ravel().tolist()
        if kind == "slab":
            draw.polygon(outline, fill=255)
        else:
            draw.line([*outline, *outline[:4]], fill=255, width=width, joint="curve")


def composition_class(rng: np.random.Generator, count: int) -> Pictures:
    """Two to five primitives in a fixed arrangement, each moved a little per picture."""
    parts = int(rng.integers(2, 6))
    kinds = rng.choice(PRIMITIVES, parts)
    shapes = rng.uniform(-1.0, 1.0, (parts, 6, 2))
    size = SIDE * SUPERSAMPLE
    places = np.stack(
        [
            rng.uniform(0.25, 0.75, parts) * size,
            rng.uniform(0.25, 0.75, parts) * size,
            rng.uniform(0.12, 0.38, parts) * size,
            rng.uniform(0.0, 2.0 * np.pi, parts),
        ],
        -1,
    )
    stroke = rng.uniform(1.2, 4.5)
    pictures = np.empty((count, SIDE, SIDE), np.uint8)
    for row in range(count):
        image, draw = _canvas()
        moved = places + rng.normal(0.0, [0.02 * size, 0.02 * size, 0.0, 0.1], places.shape)
        moved[:, 2] *= _jitter(rng, (parts,))
        bent = shapes + rng.uniform(-JITTER, JITTER, shapes.shape)
        width = max(1, round(stroke * SUPERSAMPLE * float(_jitter(rng, ()) ** 2)))
        for kind, shape, place in zip(kinds.tolist(), bent, moved, strict=True):
            _draw_primitive(draw, kind, shape, place, width)
        pictures[row] = _shrink(image)
    return pictures


# ---------------------------------------------------------------- textures


def texture_class(rng: np.random.Generator, count: int) -> Pictures:
    """One or two gratings of any direction, mixed with 1/f noise of one exponent."""
    gratings = int(rng.integers(1, 3))
    period = np.exp(rng.uniform(np.log(3.0), np.log(20.0), gratings))
    angle = rng.uniform(0.0, np.pi, gratings)
    hard = rng.random(gratings) < 0.4
    exponent = rng.uniform(0.5, 2.5)
    mix = rng.uniform(0.1, 0.9)
    grid = np.arange(SIDE) - SIDE / 2
    norm = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None])
    norm[0, 0] = 1.0
    pictures = np.empty((count, SIDE, SIDE), np.uint8)
    for row in range(count):
        wave = np.zeros((SIDE, SIDE))
        for k in range(gratings):
            turn = angle[k] + rng.normal(0.0, 0.06)
            along = np.cos(turn) * grid[None] + np.sin(turn) * grid[:, None]
            length = period[k] * float(_jitter(rng, ()))
            ripple = np.sin(2.0 * np.pi * along / length + rng.uniform(0.0, 2.0 * np.pi))
            wave += np.sign(ripple) if hard[k] else ripple
        spectrum = np.fft.fft2(rng.standard_normal((SIDE, SIDE))) / norm**exponent
        noise = np.fft.ifft2(spectrum).real
        both = mix * wave / wave.std() + (1.0 - mix) * noise / noise.std()
        low, high = np.percentile(both, [2.0, 98.0])
        pictures[row] = 255.0 * np.clip((both - low) / max(high - low, 1e-6), 0.0, 1.0)
    return pictures


FAMILIES: dict[str, tuple[Callable[[np.random.Generator, int], Pictures], int]] = {
    "ifs": (ifs_class, 400),
    "contour": (contour_class, 400),
    "composition": (composition_class, 400),
    "texture": (texture_class, 150),
}
"""Family name -> (maker of one class, number of classes in the full recipe)."""
