"""What is seen, drawn: mosaics of patches, grids as PDF."""

import math
from collections.abc import Sequence

import numpy as np

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
