"""What is seen, drawn: mosaics of patches, grids as PDF."""

import io
import math
from collections.abc import Sequence

import numpy as np

from nst_tf.files import record

LARGEST = 156  # pixels that a patch is drawn in, about


def mosaic(patches: Sequence[np.ndarray], side: int, count: int) -> np.ndarray:
    """Float32 `[h, w, 3]`: patches `[side, side, 3]` in a square, in order.

    Small ones are enlarged pixel by pixel, for their pixels to be seen; the
    places of patches that are missing stay white.
    """
    each = max(1, round(LARGEST / side))
    columns = math.ceil(math.sqrt(count))
    gap = 2 if side * each < LARGEST * 2 else 4
    step = side * each + gap
    whole = np.ones((columns * step - gap,) * 2 + (3,), "float32")
    for place, patch in enumerate(patches):
        top, left = (step * k for k in divmod(place, columns))
        large = patch.repeat(each, 0).repeat(each, 1)
        whole[top : top + step - gap, left : left + step - gap] = large
    return whole


def relief(gradient: np.ndarray) -> np.ndarray:
    """A gradient as a picture: grey where it is 0, float32 in [0, 1].

    The largest half a percent is cut off: a few pixels would leave all else
    grey.
    """
    largest = np.quantile(np.abs(gradient), 0.995)
    return np.clip(0.5 + gradient / (2 * largest or 1), 0, 1)


def pdf(
    pictures: Sequence[np.ndarray], rows: Sequence[str], columns: Sequence[str]
) -> bytes:
    """A grid of pictures, row by row, labels at its margins (matplotlib).

    Raises:
      ValueError: there is no matplotlib.
    """
    check_matplotlib("pdf")
    from matplotlib.figure import Figure

    high = float(np.median([p.shape[0] / p.shape[1] for p in pictures]))
    size = 2.4 * len(columns), (2.4 * high + 0.25) * len(rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for axis, picture in zip(axes.flat, pictures, strict=True):
        axis.imshow(picture, interpolation="none")
        axis.set(xticks=[], yticks=[])
        for side in axis.spines.values():
            side.set_visible(False)
    for axis, label in zip(axes[0], columns, strict=True):
        axis.set_title(record.printable(label), fontsize=8)
    for axis, label in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(record.printable(label), fontsize=8)
    data = io.BytesIO()
    figure.savefig(data, format="pdf", dpi=200)
    return data.getvalue()


def check_matplotlib(argument: str) -> None:
    """ValueError where the package that draws `argument` is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ValueError(
            f"`{argument}` needs matplotlib: pip install matplotlib, or "
            "leave it out."
        ) from None
