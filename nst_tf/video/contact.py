"""A clip at a glance: every n-th frame, the photograph above the painting."""

import numpy as np

from nst_tf.files import images
from nst_tf.video import clips
from nst_tf.video.folder import Folder

MOST = 8  # columns


def sheet(clip: clips.Clip, kept: Folder, count: int) -> np.ndarray:
    """uint8 `[2 h, n w, 3]`, n at most `MOST`, from the first frame on.

    Args:
      clip: what was painted.
      kept: the finished frames.
      count: how many there are; all of them are in `kept`.

    Raises:
      FileNotFoundError: a finished frame is gone.
    """
    columns = []
    stride = -(-count // MOST)
    for number, frame in enumerate(clips.frames(clip)):
        if number % stride:
            continue
        painting = kept.get(number)
        photograph = images.unit(frame.rgb)
        photograph = images.resize(photograph, painting.shape[:2])
        columns.append(np.vstack([images.to_uint8(photograph), painting]))
    return np.hstack(columns)
