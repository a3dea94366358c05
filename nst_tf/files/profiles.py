"""ICC profiles applied to 16 bits a channel; Pillow applies them to 8.

Those of three curves and a matrix, or of one curve: what cameras, screens and
editors write. Those with tables, as printers and CMYK have them, stay at 8.
Source: ICC.1:2022, annex F, and the types `curv`, `para` and `XYZ`.
"""

import struct

import numpy as np

LEVELS = np.arange(65536)
WHITE = 0.9642, 1.0, 0.8249  # D50, that of all profiles' XYZ
_PARAMETERS = {0: 1, 3: 5, 4: 7}  # how many of `para`'s, by its kind


def converted(
    pixels: np.ndarray, source: bytes, target: bytes
) -> np.ndarray | None:
    """Pixels as they would be with another profile.

    Args:
      pixels: uint16 [h, w, 1 to 4], grey or RGB, without or with alpha.
      source: the profile that they have.
      target: the one that they are to have, of RGB.

    Returns:
      uint16 [h, w, 3 | 4]; None where a profile is not of this kind, or is
      broken.
    """
    channels = pixels.shape[2]
    if channels < 3:
        pixels = pixels[..., [0, 0, 0, 1][: channels + 2]]
    elif source[16:20] == b"GRAY":
        return None
    try:
        (curves, matrix), (shown, seen) = _read(source), _read(target)
    except (KeyError, ValueError, struct.error):
        return None
    if any(curve[0] for curve in curves):
        return None  # LittleCMS would make black what is darkest
    change = np.linalg.solve(seen, matrix)
    result = pixels.copy()
    for row in result[..., :3]:
        light = np.stack([curves[k][row[:, k]] for k in range(3)])
        for k, part in enumerate(change @ light):
            row[:, k] = np.rint(np.interp(part, shown[k], LEVELS))
    return result


def _read(profile: bytes) -> tuple[list[np.ndarray], np.ndarray]:
    """Curves from R, G and B, or grey, to light, and its matrix to XYZ."""
    tags = {}
    (count,) = struct.unpack_from(">L", profile, 128)
    for k in range(count):
        name, place, size = struct.unpack_from(">4s2L", profile, 132 + 12 * k)
        tags[name] = profile[place : place + size]
    if profile[20:24] != b"XYZ " or b"A2B0" in tags:
        raise ValueError("it has tables")
    if profile[16:20] == b"GRAY":
        return [_curve(tags[b"kTRC"])] * 3, np.diag(WHITE)
    columns = [_fixed(tags[name], 8, 3) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    return curves, np.stack(columns, 1)


def _curve(tag: bytes) -> np.ndarray:
    """The light of each level, 0 to 1."""
    x = LEVELS / LEVELS[-1]
    (count,) = struct.unpack_from(">L", tag, 8)
    if tag[:4] == b"curv":
        table = np.frombuffer(tag, ">u2", count, 12)
        if count == 1:
            return x ** (table[0] / 256)
        places = np.linspace(0, 1, count)
        return np.interp(x, places, table / 65535) if count else x
    if tag[:4] != b"para":
        raise ValueError("it has another curve")
    given = _PARAMETERS[count >> 16]
    numbers = np.array([1.0, 1, 0, 0, 0, 0, 0])
    numbers[:given] = _fixed(tag, 12, given)
    g, a, b, c, d, e, f = numbers
    power = np.maximum(a * x + b, 0) ** g + e
    return np.clip(np.where(x >= d, power, c * x + f), 0, 1)


def _fixed(tag: bytes, place: int, count: int) -> np.ndarray:
    """Numbers of 16 bits before the point and 16 after it."""
    return np.frombuffer(tag, ">i4", count, place) / 65536
