"""Where things have moved between two frames, and where to believe it.

Flow is float32 `[h, w, 2]`, pixels across and down: what is at p in this
frame was at p + flow(p) in the other one. Pictures are `[h, w, c]`.

Sources: Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense
Inverse Search" (ECCV 2016), as OpenCV has it; Ruder, Dosovitskiy, Brox,
"Artistic style transfer for videos" (GCPR 2016; arXiv:1604.08610), section
4.3, for what is believed.
"""

from typing import Any, NamedTuple

import numpy as np

PRESETS = ("ultrafast", "fast", "medium")
STEPS = 64  # of a patch, at most; as preset, 25, large motion is lost
COARSER = 4, 2, 1  # parts of the size at which it is estimated in turn
LEAST = 48  # pixels, of a shorter side: smaller pictures tell nothing
PATCH = 16  # pixels: on a shorter side the search crashes
# Two frames of one shot show mostly the same things in other places.
SAME_GREY = 0.1  # of the range: what moved keeps its grey to within this
SAME_SHOT = 0.3  # share of the pixels of which that must be true


class Motion(NamedTuple):
    """How this frame came of an earlier one.

    Fields:
      flow: `[h, w, 2]`, from this frame back to the earlier one.
      visible: bool `[h, w]`, what is here was in sight there.
      believed: bool `[h, w]`, visible, and not at an edge of the motion,
        where flow is seldom right.
    """

    flow: np.ndarray
    visible: np.ndarray
    believed: np.ndarray


def estimator(preset: str = "medium") -> Any:
    """Dense inverse search; ValueError where OpenCV is missing."""
    try:
        import cv2
    except ImportError:
        raise ValueError(
            "`video` needs OpenCV: pip install opencv-python-headless."
        ) from None
    make = cv2.DISOpticalFlow.create
    dis = make(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset.upper()}"))
    dis.setGradientDescentIterations(STEPS)
    return dis


def grey(rgb: np.ndarray) -> np.ndarray:
    """What flow is estimated of: uint8 `[h, w]` of float `[h, w, 3]`."""
    luma = rgb @ np.array([0.299, 0.587, 0.114], "float32")
    return np.ascontiguousarray(np.rint(255 * luma.clip(0, 1)).astype("uint8"))


def motion(
    now: np.ndarray, before: np.ndarray, preset: str = "medium"
) -> Motion:
    """From this frame back to an earlier one, both as `grey` gives them."""
    back, ahead = _found(now, before, preset), _found(before, now, preset)
    visible = in_sight(back, ahead)
    return Motion(back, visible, visible & ~edges(back))


def _found(one: np.ndarray, other: np.ndarray, preset: str) -> np.ndarray:
    """Flow from one grey to the other, from coarse to fine.

    The search has a pyramid of its own, but what is small and goes far is
    lost in it; to begin from what a smaller picture gave finds more of that.
    """
    import cv2

    height, width = one.shape
    more = [(0, max(0, PATCH - side)) for side in one.shape]
    one, other = (np.pad(grey, more, "edge") for grey in (one, other))
    found: Any = None
    for part in COARSER:
        size = tuple(side // part for side in one.shape[::-1])
        if part > 1 and min(size) < LEAST:
            continue
        pair = [
            cv2.resize(x, size, interpolation=cv2.INTER_AREA)
            for x in (one, other)
        ]
        if found is not None:
            grown = np.divide(size, found.shape[1::-1], dtype="float32")
            found = cv2.resize(found, size) * grown
        # A search that has seen pictures of one size may crash on another.
        found = estimator(preset).calc(*pair, found)
    return found[:height, :width]


def in_sight(back: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Whether going there and back again ends where it began, `[h, w]`.

    |w + w'|^2 < 0.01 (|w|^2 + |w'|^2) + 0.5 (equation 5 of the paper), w'
    being the flow ahead where `back` leads; and that is inside the frame.
    """
    there = warp(ahead, back)
    apart = _squared(back + there)
    bound = 0.01 * (_squared(back) + _squared(there)) + 0.5
    return (apart < bound) & inside(back)


def edges(flow: np.ndarray) -> np.ndarray:
    """|grad u|^2 + |grad v|^2 > 0.01 |w|^2 + 0.002 (equation 6), `[h, w]`."""
    down, across = np.gradient(flow, axis=(0, 1))
    return _squared(down) + _squared(across) > 0.01 * _squared(flow) + 0.002


def inside(flow: np.ndarray) -> np.ndarray:
    """Whether the flow ends inside the frame, `[h, w]`."""
    x, y = _ends(flow)
    height, width = flow.shape[:2]
    return (0 <= x) & (x <= width - 1) & (0 <= y) & (y <= height - 1)


def warp(earlier: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """An earlier frame's picture, brought to where its things are now.

    Lanczos, for a picture is warped at every frame: bilinear would blur it,
    and OpenCV's bicubic, by half a pixel, makes waves of 6 pixels 1.03 times as
    high each time: 300 times in a shot of 200 frames.
    """
    import cv2

    x, y = _ends(flow)
    method, border = cv2.INTER_LANCZOS4, cv2.BORDER_REPLICATE
    return cv2.remap(earlier, x, y, method, borderMode=border)


def is_cut(now: np.ndarray, before: np.ndarray, moved: Motion) -> bool:
    """Whether another shot begins: little of `before` is found again."""
    found = warp(before.astype("float32"), moved.flow)
    same = np.abs(found - now) < 255 * SAME_GREY
    return bool(np.mean(moved.visible & same) < SAME_SHOT)


def _ends(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.indices(flow.shape[:2], dtype=np.float32)
    return columns + flow[..., 0], rows + flow[..., 1]


def _squared(vectors: np.ndarray) -> np.ndarray:
    return np.sum(np.square(vectors), axis=-1)
