"""The brush: a colour over the photograph is where a painting goes."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from nst_tf.files import encoding, images
from nst_tf.page import form, painting, pictures

# Our own: `ImageEditor` sends its layers to `/gradio_api/component_server`,
# which calls methods of a component by name, and which the guard closes.
SCRIPT = Path(__file__).with_name("brush.js")
DRAWN = "data:image/png;base64"
MOST = 8_000_000  # letters of a drawing: one of noise has no more
# Of what is drawn: all the paintings, then each of them.
COLOURS = ("ffffff", "6366f1", "f59e0b", "10b981", "ec4899")
TO_THE_BRUSH = """(brush, ...pictures) => {
  const [photograph, ...paintings] = pictures.map((one) => one?.url ?? "");
  return { ...brush, photograph, paintings, by: "page" };
}"""
BOARD = """
<p class="brush-words"></p>
<div class="brush-board" hidden>
  <img class="brush-photograph" alt="" draggable="false">
  <canvas class="brush-canvas" tabindex="0" role="application" width="1"
    height="1" aria-label="What is painted: draw, or go by the arrow keys and
    press space"></canvas>
  <span class="brush-tip" hidden></span>
</div>
<div class="brush-tools">
  <span class="brush-colours" role="group" aria-label="Whose part"></span>
  <button type="button" class="brush-erase" aria-pressed="false">Eraser</button>
  <label>Width <input class="brush-width" type="range" min="1" max="30"
    value="8"></label>
  <button type="button" class="brush-undo">Undo</button>
  <button type="button" class="brush-rest">Fill the rest</button>
  <button type="button" class="brush-invert">Invert</button>
  <button type="button" class="brush-clear">Clear</button>
  <a class="brush-save" download="drawn.png" role="button" href="#">Save</a>
  <label class="brush-load" tabindex="0">Load<input type="file"
    accept="image/png,image/*" aria-label="Load what was drawn"></label>
</div>
"""


def component() -> gr.HTML:
    """The brush; its value names the pictures, and has what was drawn."""
    return gr.HTML(
        {"photograph": "", "paintings": [], "drawn": "", "by": "page"},
        html_template=BOARD,
        js_on_load=SCRIPT.read_text(encoding="utf-8").replace(
            "COLOURS", str([f"#{colour}" for colour in COLOURS])
        ),
        elem_id="brush",
    )


def masks(value: Any, given: Sequence[bool]) -> dict[str, bytes]:
    """The masks that were drawn, as `painting.Wish` has them.

    Args:
      value: of the brush.
      given: whether there is a painting, for each place of the form.

    Raises:
      ValueError: it is something else, or a painting has no part.
    """
    drawn = value.get("drawn") if isinstance(value, Mapping) else None
    if not drawn:
        return {}
    labels = _labels(str(drawn))
    found = {painting.MASK: _white(labels >= 0)}
    numbers = [k for k in range(1, form.STYLES + 1) if given[k - 1]]
    if not np.isin(labels, numbers).any():
        return found
    for place, number in enumerate(numbers, 1):
        part = np.isin(labels, (0, number))
        if not part.any():
            raise ValueError(
                f"`brush`: painting {number} has no part. Draw it with its "
                "colour or with the colour of all, or take it away."
            )
        found[painting.PART.format(place)] = _white(part)
    return found


def _labels(drawn: str) -> np.ndarray:
    """Whose each pixel is, [h, w]: 0 of all, then of one; -1 of none."""
    head, _, data = drawn.partition(",")
    try:
        if head != DRAWN or len(data) > MOST:
            raise ValueError
        file = base64.b64decode(data, validate=True)
        if max(images.size(file)) > pictures.SIDE:
            raise ValueError
        picture = images.read(file)
    except (ValueError, binascii.Error):
        raise ValueError(
            "`brush` should be what was drawn; received something else. "
            "Clear it, and draw anew."
        ) from None
    pixels = images.to_uint8(picture.rgb).astype("int16")
    known = [np.array([*bytes.fromhex(c)], "int16") for c in COLOURS]
    far = [np.abs(pixels - colour).sum(-1) for colour in known]
    labels = np.argmin(far, 0)
    if picture.alpha is not None:
        labels[picture.alpha < 0.5] = -1
    return labels


def _white(where: np.ndarray) -> bytes:
    return encoding.encode(where.astype("float32"), ".png")
