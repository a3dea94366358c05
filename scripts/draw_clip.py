#!/usr/bin/env python3
"""Draw a clip whose motion is known: over the landscape, a ball passing.

Usage: draw_clip.py OUTPUT.mp4 [FRAMES [WIDTH]]
"""

import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FINE = 3  # samples of a pixel along each side


class Clip(NamedTuple):
    """Frames, and how each came of the one before.

    Fields:
      frames: uint8 `[n, h, w, 3]`.
      flow: float32 `[n, h, w, 2]`, from each frame back to the one before,
        pixels across and down; zeros for the first.
      visible: bool `[n, h, w]`: what is seen was seen in the frame before,
        whole pixels of it; False for the first.
    """

    frames: np.ndarray
    flow: np.ndarray
    visible: np.ndarray


class View(NamedTuple):
    """What a frame shows: where it looks, how near, and where the ball is."""

    place: np.ndarray  # of the frame's centre in the picture
    scale: float  # pixels of the picture to one of the frame
    ball: np.ndarray  # its centre in the frame


def draw(
    count: int = 24,
    height: int = 120,
    width: int = 160,
    pan: tuple[float, float] = (1.5, 0.4),
    zoom: float = 0.995,
    ball: float | None = 18,
    speed: tuple[float, float] = (-5.3, 1.1),
    picture: str = "content_lake",
) -> Clip:
    """A pan, pixels a frame, and a zoom; a ball of that radius, or none."""
    ground, skin = _picture(picture, width), _picture("style_mosaic", 90)
    middle = np.array(ground.shape[1::-1]) / 2
    views = []
    for k in range(count):
        half = (count - 1) / 2
        place = middle + np.multiply(pan, k - half)
        start = np.array([width / 2, height / 2]) - np.multiply(speed, half)
        views.append(View(place, zoom**k, start + np.multiply(speed, k)))
    radius = ball or -9.0
    frames = [
        _render(view, ground, skin, radius, height, width) for view in views
    ]
    still = np.zeros((height, width, 2), "float32")
    flows, visible = [still], [np.zeros((height, width), bool)]
    for before, now in zip(views[:-1], views[1:], strict=True):
        flow, seen = _truth(before, now, radius, height, width)
        flows.append(flow)
        visible.append(seen)
    return Clip(np.stack(frames), np.stack(flows), np.stack(visible))


def standing(count: int = 60, height: int = 120, width: int = 160) -> Clip:
    """The same frame again and again."""
    return draw(count, height, width, pan=(0, 0), zoom=1, ball=None)


def _picture(name: str, width: int) -> np.ndarray:
    """A drawn sample, twice as wide as the frame that looks at it."""
    picture = cv2.imread(str(EXAMPLES / f"{name}.jpg"))[..., ::-1]
    size = 2 * width, 2 * width * picture.shape[0] // picture.shape[1]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA) / np.float32(
        255
    )


def _points(height: int, width: int, fine: int = 1) -> np.ndarray:
    """Centres of pixels, or of their parts: `[h, w, 2]`, across and down."""
    rows, columns = np.mgrid[: height * fine, : width * fine]
    return (np.stack([columns, rows], -1) + 0.5) / fine - 0.5


def _sample(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    x, y = np.moveaxis(points.astype("float32"), -1, 0)
    edge = cv2.BORDER_REFLECT_101
    return cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=edge).clip(0, 1)


def _render(view, ground, skin, radius, height, width) -> np.ndarray:
    points = _points(height, width, FINE)
    centre = np.array([width, height]) / 2
    land = _sample(ground, view.place + view.scale * (points - centre))
    own = points - view.ball
    apart = np.hypot(*np.moveaxis(own, -1, 0))[..., None]
    skin = _sample(skin, own + np.array(skin.shape[1::-1]) / 2)
    shade = 1 - 0.5 * (apart / abs(radius)).clip(0, 1) ** 2
    fine = np.where(apart < radius, skin * shade, land)
    whole = fine.reshape(height, FINE, width, FINE, 3).mean((1, 3))
    return np.rint(255 * whole).astype("uint8")


def _truth(before, now, radius, height, width):
    points = _points(height, width)
    centre = np.array([width, height]) / 2
    places = now.place + now.scale * (points - centre)
    land = centre + (places - before.place) / before.scale
    on_ball = np.hypot(*np.moveaxis(points - now.ball, -1, 0)) < radius
    source = np.where(on_ball[..., None], points - now.ball + before.ball, land)
    visible = (source >= 0).all(-1)
    visible &= (source <= [width - 1, height - 1]).all(-1)
    for place, view in ((points, now), (source, before)):
        apart = np.hypot(*np.moveaxis(place - view.ball, -1, 0))
        visible &= np.where(on_ball, apart < radius - 1, apart > radius + 1)
    return (source - points).astype("float32"), visible


def main():
    from fractions import Fraction

    from nst_tf.video import clips

    output, *numbers = sys.argv[1:]
    count, width = [int(n) for n in numbers] + [24, 160][len(numbers) :]
    drawn = draw(count, width * 3 // 4, width)
    times = [Fraction(k, 12) for k in range(count)]
    clips.write(output, zip(times, drawn.frames, strict=True))


if __name__ == "__main__":
    main()
