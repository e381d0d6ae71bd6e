"""Paints one synthetic scene: a landscape, plain distractors and one object whose shape and texture are its class.

Pure numpy. Every number drawn depends on the caller's generator alone and none on the class, so neither colour, place,
size, light nor background says anything about it. Lengths are in pixels.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCENE_CLASSES", "paint_scene"]

Array = NDArray[np.float32]
_REFERENCE = 64  # the size for which lengths are given; others are scaled
_BLUR = 0.2


def _disc(u: Array, v: Array, r: float) -> Array:
    return np.hypot(u, v) - r


def _square(u: Array, v: Array, r: float) -> Array:
    return np.maximum(np.abs(u), np.abs(v)) - 0.82 * r


def _ring(u: Array, v: Array, r: float) -> Array:
    return np.abs(np.hypot(u, v) - 0.74 * r) - 0.26 * r


def _cross(u: Array, v: Array, r: float) -> Array:
    a, b = np.abs(u), np.abs(v)
    return np.minimum(np.maximum(a - r, b - 0.33 * r), np.maximum(b - r, a - 0.33 * r))


def _star(u: Array, v: Array, r: float) -> Array:
    """Five points: fold the plane into half a point, then the distance to the one edge that is left."""
    angle = np.abs(np.mod(np.arctan2(v, u), 2 * np.pi / 5) - np.pi / 5)
    rho = np.hypot(u, v)
    inner, tip = 0.45 * r, r * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    normal = np.array([tip[1], inner - tip[0]]) / np.hypot(tip[1], inner - tip[0])
    return (rho * np.cos(angle) - inner) * normal[0] + rho * np.sin(angle) * normal[1]


def _triangle(u: Array, v: Array, r: float) -> Array:
    return np.maximum(np.maximum(0.866 * u + 0.5 * v, 0.5 * v - 0.866 * u), -v) - 0.55 * r


def _crescent(u: Array, v: Array, r: float) -> Array:
    return np.maximum(np.hypot(u, v) - r, 0.78 * r - np.hypot(u - 0.5 * r, v))


def _blob(u: Array, v: Array, r: float) -> Array:
    angle = np.arctan2(v, u)
    return np.hypot(u, v) - r * (0.75 + 0.15 * np.cos(2 * angle) + 0.12 * np.sin(3 * angle))


def _plain(u: Array, v: Array, r: float) -> Array | float:
    return 0.0


def _stripes(u: Array, v: Array, r: float) -> Array:
    return np.sin((2 * np.pi / (0.6 * r)) * u)


def _dots(u: Array, v: Array, r: float) -> Array:
    step = 0.62 * r
    return 2.5 * (0.33 - np.hypot(np.mod(u / step, 1) - 0.5, np.mod(v / step, 1) - 0.5))


def _checks(u: Array, v: Array, r: float) -> Array:
    return 2 * np.sin((np.pi / (0.38 * r)) * u) * np.sin((np.pi / (0.38 * r)) * v)


def _quarters(u: Array, v: Array, r: float) -> Array:
    return u * v


Field = Callable[[Array, Array, float], Array]
# name -> (signed distance to the outline, texture: first colour below 0, second above)
_OBJECTS: dict[str, tuple[Field, Field]] = {
    "striped disc": (_disc, _stripes),
    "dotted square": (_square, _dots),
    "ring": (_ring, _plain),
    "cross": (_cross, _plain),
    "star": (_star, _plain),
    "checkered triangle": (_triangle, _checks),
    "crescent": (_crescent, _plain),
    "quartered disc": (_disc, _quarters),
}
SCENE_CLASSES = list(_OBJECTS)
# Outlines of classes without their texture look like evidence and are none.
_DISTRACTORS: list[Field] = [_disc, _square, _triangle, _blob]


def _hsv(h: float, s: float, v: float) -> Array:
    wheel = np.clip(np.abs(np.mod(h * 6 + np.array([0.0, 4.0, 2.0]), 6) - 3) - 1, 0, 1)
    return (v * (1 - s + s * wheel)).astype(np.float32)


def _colours(rng: np.random.Generator) -> tuple[Array, Array]:
    """A colour of any hue, and one clearly lighter or darker."""
    h, s, v, shift = rng.random(4).tolist()
    first = _hsv(h, 0.25 + 0.7 * s, 0.35 + 0.65 * v)
    second = first * 0.3 if first.mean() > 0.5 else 0.25 * first + 0.75
    return first, np.clip(second + 0.15 * (_hsv(h + shift, 1, 1) - 0.5), 0, 1)


def _noise(rng: np.random.Generator, size: int) -> Array:
    """Two independent fields (2, size, size) with amplitude ~ 1/frequency, mean 0, standard deviation 1."""
    f = np.fft.fftfreq(size).astype(np.float32) * size
    radius = np.hypot(f[:, None], f[None, :])
    radius[0, 0] = np.inf
    white = rng.standard_normal((2, size, size), dtype=np.float32)
    field = np.fft.ifft2((white[0] + 1j * white[1]) / radius)
    pair = np.stack([field.real, field.imag]).astype(np.float32)
    return pair / pair.std(axis=(1, 2), keepdims=True)


def _smooth(line: Array) -> Array:
    """A periodic line (size,) without its finest waves."""
    weights = np.fft.rfftfreq(len(line))
    return np.fft.irfft(np.fft.rfft(line) * np.exp(-((weights / 0.06) ** 2)), len(line)).astype(np.float32)


def _landscape(rng: np.random.Generator, size: int) -> Array:
    """Sky with clouds, two ranges of hills, then grass or water: (3, size, size)."""
    clouds, rough = _noise(rng, size)
    level, cover, grass, rise, *u = rng.random(15).tolist()
    rows = (np.arange(size, dtype=np.float32) / size)[:, None]
    sky = _hsv(0.5 + 0.2 * u[0] if u[1] < 0.7 else 0.15 * u[0], 0.15 + 0.4 * u[2], 0.6 + 0.4 * u[3])
    haze = 0.45 * sky + 0.55 * (0.75 + 0.2 * u[4])
    fade = np.clip(rows / (0.35 + 0.3 * level), 0, 1)
    image = sky[:, None, None] * (1 - fade) + haze[:, None, None] * fade
    image = image + (0.03 + 0.09 * cover) * clouds
    horizon = 0.35 + 0.3 * level
    hill = _hsv(0.05 + 0.35 * u[5], 0.2 + 0.35 * u[6], 0.25 + 0.4 * u[7])
    for k, lift in enumerate((0.12 + 0.1 * rise, 0.04)):
        skyline = horizon - lift + 0.06 * _smooth(clouds[k * size // 2])
        near = 0.55 + 0.35 * k
        colour = (near * hill + (1 - near) * haze)[:, None, None] * (1 + 0.12 * rough)
        edge = np.clip((rows - skyline) * size + 0.5, 0, 1)
        image = image + edge * (colour - image)
    if grass < 0.6:
        ground = _hsv(0.08 + 0.27 * u[8], 0.25 + 0.4 * u[9], 0.3 + 0.4 * u[10])
        texture = rough
    else:
        ground = 0.5 * _hsv(0.45 + 0.2 * u[8], 0.3 + 0.4 * u[9], 0.35 + 0.4 * u[10]) + 0.5 * haze
        # Water: streaks along the rows, from the columns of the field stretched eightfold.
        texture = rough[:, np.arange(size) // 8]
    edge = np.clip((rows - horizon) * size + 0.5, 0, 1)
    depth = 0.8 + 0.4 * (rows - horizon)
    return image + edge * (ground[:, None, None] * depth * (1 + 0.22 * texture) - image)


def _draw(
    image: Array,
    place: tuple[float, float, float, float],
    light: Array,
    colours: tuple[Array, Array],
    look: tuple[Field, Field],
) -> NDArray[np.bool_]:
    """Paints an object with its soft shadow into `image`; returns the pixels it covers.

    `place` is (row, column, radius, rotation in radians); `light` the unit vector (row, column) away from the light.
    """
    size = image.shape[-1]
    row, column, r, turn = place
    reach = int(np.ceil(1.15 * r)) + 4
    shift = np.rint(0.3 * r * light).astype(int)
    top, left = int(row) - reach, int(column) - reach
    y = (np.arange(top, top + 2 * reach, dtype=np.float32) - np.float32(row))[:, None]
    x = (np.arange(left, left + 2 * reach, dtype=np.float32) - np.float32(column))[None, :]
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = cos * x + sin * y, cos * y - sin * x
    outline, texture = look
    distance = outline(u, v, r)

    def window(dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The part of the object's square that lies in the picture: there, and here."""
        y0, x0 = top + dy, left + dx
        rows, columns = slice(max(y0, 0), min(y0 + 2 * reach, size)), slice(max(x0, 0), min(x0 + 2 * reach, size))
        return (rows, columns), (slice(rows.start - y0, rows.stop - y0), slice(columns.start - x0, columns.stop - x0))

    there, here = window(*shift)
    canvas = image[(slice(None), *there)]
    canvas *= 1 - 0.4 * np.clip(0.5 - distance / (0.35 * r), 0, 1)[here]
    there, here = window(0, 0)
    canvas = image[(slice(None), *there)]
    cover = np.clip(0.5 - distance, 0, 1)[here]
    blend = np.clip(0.5 + 1.5 * texture(u, v, r), 0, 1) if texture is not _plain else np.float32(0)
    shade = 1 - 0.25 * (light[0] * y + light[1] * x) / r
    first, second = (colour[:, None, None] for colour in colours)
    paint = ((first + blend * (second - first)) * shade)[(slice(None), *here)]
    canvas += cover * (paint - canvas)
    mask = np.zeros((size, size), bool)
    mask[there] = cover >= 0.5
    return mask


def paint_scene(
    label: int, size: int, rng: np.random.Generator, distractors: tuple[int, int] = (2, 4)
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Paints a scene.

    Args:
        label: index into `SCENE_CLASSES`; the object is there exactly once, whole and in front.
        size: height and width of the picture in pixels; the object is 14 to 26 pixels wide at 64.
        rng: the only source of chance.
        distractors: fewest and most plain objects around it.

    Returns:
        The picture (3, size, size), uint8 RGB, and the object's pixels (size, size).
    """
    scale = size / _REFERENCE
    image = _landscape(rng, size).astype(np.float32)
    turn = 2 * np.pi * rng.random()
    light = np.array([np.cos(turn), np.sin(turn)], dtype=np.float32)
    for _ in range(rng.integers(distractors[0], distractors[1] + 1)):
        kind = _DISTRACTORS[rng.integers(len(_DISTRACTORS))]
        y, x, r, turn = rng.random(4).tolist()
        place = (y * size, x * size, float((5 + 7 * r) * scale), 2 * np.pi * turn)
        _draw(image, place, light, _colours(rng), (kind, _plain))
    y, x, r, turn = rng.random(4).tolist()
    radius = float((7 + 6 * r) * scale)
    room = size - 1 - 2 * (1.17 * radius + 1)
    corner = (size - 1 - room) / 2
    place = (corner + y * room, corner + x * room, radius, 2 * np.pi * turn)
    mask = _draw(image, place, light, _colours(rng), _OBJECTS[SCENE_CLASSES[label]])
    weight, grain = rng.random(2, dtype=np.float32) * np.float32([_BLUR, 0.12])
    image[:, 1:-1] += weight * (image[:, 2:] + image[:, :-2] - 2 * image[:, 1:-1])
    image[:, :, 1:-1] += weight * (image[:, :, 2:] + image[:, :, :-2] - 2 * image[:, :, 1:-1])
    static = np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape).astype(np.float32) / 255 - 0.5
    exposure = 0.85 + 0.3 * rng.random()
    image = image * exposure + grain * static
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), mask
