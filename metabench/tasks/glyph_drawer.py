"""Drawers: a face, a stroke weight, a bend and a slant make 20 images of one character."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.rng import Address
from metabench.tasks.glyph_render import CANVAS, Pictures

DRAWERS = 20
SIDE = 28
_ONE = 256
"""Fixed-point unit of coordinates and weights."""
_GRID = 4

# Strengths: chosen so that nearest neighbours on raw pixels find it about as hard as Omniglot
# while a person still names the character at once.
_STRETCH, _SHEAR, _SHIFT, _BEND = 0.15, 0.26, 3.0, 9.0
_LEAST_SCALE, _MOST_SCALE = 1.0, 1.35
_THINNEST, _BOLDEST = -0.4, 1.0

Whole = NDArray[np.int64]


def draw_character(pictures: Pictures, address: Address) -> NDArray[np.uint8]:
    """The character [DRAWERS, SIDE, SIDE], from its forms, as a pure function of the address.

    Every real number is rounded to fixed point before pixels are touched, and everything after
    that is whole-number arithmetic, so the pixels do not depend on the processor.
    """
    rng = address.generator("drawers")
    face = (int(rng.integers(len(pictures))) + np.arange(DRAWERS)) % len(pictures)
    weight = _fixed(rng.uniform(_THINNEST, _BOLDEST, DRAWERS))
    inked = _softened(_reweighted(pictures[face].astype(np.int64), weight[:, None, None]))
    return _sampled(inked, _coordinates(rng))


def _fixed(x: NDArray[np.float64]) -> Whole:
    return np.rint(x * _ONE).astype(np.int64)


def _neighbours(x: Whole) -> tuple[Whole, Whole]:
    """The least and the greatest of each pixel's 3 x 3 neighbours."""
    p = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = []
    for extreme in (np.minimum, np.maximum):
        wide = extreme(extreme(p[:, :, :-2], p[:, :, 1:-1]), p[:, :, 2:])
        out.append(extreme(extreme(wide[:, :-2], wide[:, 1:-1]), wide[:, 2:]))
    return out[0], out[1]


def _reweighted(x: Whole, weight: Whole) -> Whole:
    """Strokes thinner (weight below 0) or bolder by up to a pixel of the canvas on each side."""
    thin, bold = _neighbours(x)
    return x + np.where(weight < 0, (x - thin) * weight, (bold - x) * weight) // _ONE


def _softened(x: Whole) -> Whole:
    """A 1-2-1 blur both ways, times 16: the canvas is sampled at every other pixel."""
    p = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    wide = p[:, :, :-2] + 2 * p[:, :, 1:-1] + p[:, :, 2:]
    return wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]


def _spline() -> NDArray[np.float64]:
    """Weights [SIDE, _GRID] of a uniform cubic B-spline's knots, in whole parts of _ONE."""
    at = (np.arange(SIDE) + 0.5) / SIDE * (_GRID - 1)
    t = np.abs(at[:, None] - np.arange(_GRID))
    near, far = 2 / 3 - t**2 + t**3 / 2, (2 - t) ** 3 / 6
    return np.rint(np.where(t < 1, near, np.where(t < 2, far, 0)) * _ONE)


def _coordinates(rng: np.random.Generator) -> Whole:
    """Where on the canvas each pixel looks, in parts of _ONE: [DRAWERS, 2, SIDE, SIDE] (y, x)."""
    scale = rng.uniform(_LEAST_SCALE, _MOST_SCALE, (DRAWERS, 1, 1))
    stretch = rng.uniform(-_STRETCH, _STRETCH, DRAWERS)
    matrix = np.eye(2) + rng.uniform(-_SHEAR, _SHEAR, (DRAWERS, 2, 2)) * (1 - np.eye(2))
    matrix[:, 0, 0] += stretch
    matrix[:, 1, 1] -= stretch
    linear = _fixed(scale * matrix)
    shift = _fixed(rng.uniform(-_SHIFT, _SHIFT, (DRAWERS, 2)))
    knots = np.rint(rng.uniform(-_BEND, _BEND, (DRAWERS, 2, _GRID, _GRID)) * 16)

    # Twice the distance from the middle in pixels is the distance in canvas pixels.
    place = 2 * np.arange(SIDE) - (SIDE - 1)
    y, x = np.meshgrid(place, place, indexing="ij")
    turned = linear[:, :, 0, None, None] * y + linear[:, :, 1, None, None] * x
    basis = _spline()
    # Floats here only carry whole numbers below 2**53, whose sums are exact in any order.
    bend = (basis @ knots @ basis.T).astype(np.int64) // (16 * _ONE)
    middle = (CANVAS - 1) * _ONE // 2
    return middle + turned + shift[:, :, None, None] + bend


def _sampled(inked: Whole, where: Whole) -> NDArray[np.uint8]:
    """Bilinear samples [N, SIDE, SIDE] of softened pictures; beyond the canvas there is no ink."""
    where = np.clip(where, 0, (CANVAS - 1) * _ONE - 1)
    whole, part = where // _ONE, where % _ONE
    flat = inked.reshape(-1)
    corner = whole[:, 0] * CANVAS + whole[:, 1]
    corner += np.arange(len(inked))[:, None, None] * CANVAS * CANVAS
    y, x = part[:, 0], part[:, 1]
    top = flat[corner] * (_ONE - x) + flat[corner + 1] * x
    low = flat[corner + CANVAS] * (_ONE - x) + flat[corner + CANVAS + 1] * x
    value = (top * (_ONE - y) + low * y) // (16 * _ONE * _ONE)
    # The blur took a third of a thin stroke's darkness: give it back.
    return np.minimum(value * 3 // 2, 255).astype(np.uint8)
