"""The brush: white over the photograph is what is painted."""

import base64
import binascii
from pathlib import Path
from typing import Any

import gradio as gr

SCRIPT = Path(__file__).with_name("brush.js")
DRAWN = "data:image/png;base64"
MOST = 8_000_000  # letters of a drawing: one of noise has no more
TO_THE_BRUSH = '(photograph) => photograph?.url ?? ""'
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
  <button type="button" class="brush-draw" aria-pressed="true">Brush</button>
  <button type="button" class="brush-erase" aria-pressed="false">Eraser</button>
  <label>Width <input class="brush-width" type="range" min="1" max="30"
    value="8"></label>
  <button type="button" class="brush-invert">Invert</button>
  <button type="button" class="brush-clear">Clear</button>
</div>
"""


def component() -> gr.HTML:
    """The brush; its value is the photograph's address, or what was drawn."""
    return gr.HTML(
        "",
        html_template=BOARD,
        js_on_load=SCRIPT.read_text(encoding="utf-8"),
        elem_id="brush",
    )


def mask(value: Any) -> bytes | None:
    """The file that the brush drew, a PNG's bytes; None where it is unused.

    Raises:
      ValueError: it is something else.
    """
    head, _, data = str(value or "").partition(",")
    if head != DRAWN:
        return None
    try:
        if len(data) > MOST:
            raise ValueError
        return base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(
            "`mask` should be what the brush drew; received something else. "
            "Clear it, and draw anew."
        ) from None
