"""What the workers of test_batches.py load: an engine that paints nothing.

What happens is in the photograph's name: `kill` ends the worker each time,
`once` the first time, `full` finds the disk full.
A `.slow` file beside it makes it take a minute.
"""

import dataclasses
import hashlib
import json
import os
import resource
import signal
import time
from pathlib import Path

import numpy as np

from nst_tf.batches import work
from nst_tf.files import encoding

WEIGHTS = "0" * 64


@dataclasses.dataclass(frozen=True)
class Painted:
    record: dict
    diverged: bool = False

    def encoded(self, suffix):
        grey = np.full((48, 64, 3), 128, np.uint8)
        return encoding.encode(grey, suffix, json.dumps(self.record))


def paint(job, seat):
    content = Path(job.content)
    if content.stem.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if content.stem.startswith("once"):
        died = content.with_suffix(".died")
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if (
        content.stem.startswith("slow")
        and content.with_suffix(".slow").exists()
    ):
        time.sleep(60)
    if content.stem.startswith("full"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    if content.stem.startswith("bad"):
        raise ValueError("`content` should be a picture;\nit is bad")

    def identity(path):
        data = Path(path).read_bytes()
        return {"path": path, "sha256": hashlib.sha256(data).hexdigest()}

    inputs = {
        "content": identity(job.content),
        "styles": [identity(style) for style in job.styles],
        "init": None,
        "color_image": None,
    }
    network = {"sha256": WEIGHTS}
    options = job.options.to_dict()
    return Painted({"options": options, "inputs": inputs, "network": network})


work.paint = paint
work.weights_digest = lambda options, seat: WEIGHTS
