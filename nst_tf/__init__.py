"""Neural style transfer by image optimisation, on TensorFlow and Keras.

    import nst_tf
    result = nst_tf.stylize("photo.jpg", "painting.jpg")
    result.save("painted.png")

One convention on images, everywhere inside: float32 `[1, h, w, 3]`, RGB in
[0, 1]. What comes out of `Result.image` is uint8 `[h, w, 3]`.

TensorFlow loads on first use, not on import.
"""

import importlib
from typing import TYPE_CHECKING

from nst_tf.request.options import Options

if TYPE_CHECKING:
    from nst_tf.batches.batch import batch
    from nst_tf.files.record import read_recipe
    from nst_tf.formulas import losses
    from nst_tf.request.presets import load as preset
    from nst_tf.saved_model.export import save as export
    from nst_tf.study.patches import find as patches
    from nst_tf.stylization.result import Result
    from nst_tf.stylization.run import snapshots, stylize

__version__ = "0.1.0"
# Where a public name lives; a module where there is no name in it.
_PUBLIC = {
    "Result": ("stylization.result", "Result"),
    "batch": ("batches.batch", "batch"),
    "export": ("saved_model.export", "save"),
    "losses": ("formulas.losses", ""),
    "patches": ("study.patches", "find"),
    "preset": ("request.presets", "load"),
    "read_recipe": ("files.record", "read_recipe"),
    "snapshots": ("stylization.run", "snapshots"),
    "stylize": ("stylization.run", "stylize"),
}
__all__ = [
    "Options",
    "Result",
    "batch",
    "export",
    "losses",
    "patches",
    "preset",
    "read_recipe",
    "snapshots",
    "stylize",
]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'nst_tf' has no attribute '{name}'")
    module, inside = _PUBLIC[name]
    if name not in ("preset", "read_recipe"):  # which do without TensorFlow
        importlib.import_module("nst_tf.backend")  # before TensorFlow
    value = importlib.import_module(f"nst_tf.{module}")
    value = getattr(value, inside) if inside else value
    globals()[name] = value
    return value
