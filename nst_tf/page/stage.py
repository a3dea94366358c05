"""What is shown while a picture is painted, as HTML: no file, no script."""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from nst_tf.page.painting import Moment

KINDS = {
    "png": "PNG",
    "jpg": "JPEG",
    "webp": "WebP",
    "deep": "PNG, 16 bits",
    "gif": "GIF of the run",
    "masks": "Masks",
}
WIDTH, HEIGHT = 320, 64  # of the cost curve, in its own units


def empty(words: str = "") -> str:
    """Before anything was asked for."""
    return (
        '<div class="stage-empty"><p>Give a photograph and a painting, '
        "or click the samples; then <b>Paint</b>.</p>"
        f"<p>{_text(words)}</p></div>"
    )


def waiting(words: str) -> str:
    """A line while there is no picture yet."""
    return f'<div class="stage-empty" role="status"><p>{_text(words)}</p></div>'


def ended(words: str) -> str:
    """The last line of a run, above its result."""
    return f'<p class="stage-ended" role="status">{_text(words)}</p>'


def problem(words: str) -> str:
    """What went wrong and how to mend it; `code` in backticks."""
    parts = _text(words).split("`")
    marked = "".join(
        f"<code>{part}</code>" if odd % 2 and odd < len(parts) - 1 else part
        for odd, part in enumerate(parts)
    )
    return f'<div class="stage-problem" role="alert"><p>{marked}</p></div>'


def banner(*warnings: str) -> str:
    """What to know of the weights, and of the pictures given."""
    lines = "".join(f"<p>{_text(one)}</p>" for one in warnings if one)
    return lines and f'<div class="banner" role="alert">{lines}</div>'


def downloads(files: Mapping[str, str], size: str) -> str:
    """Links to a picture's files, and how large it prints."""
    links = "".join(
        f'<a id="download-{kind}" href="gradio_api/file={_text(path)}" '
        f'download="{Path(path).name}">{_text(KINDS.get(kind, kind))}</a>'
        for kind, path in files.items()
    )
    return f'<div class="downloads">{links}</div><p>{_text(size)}</p>'


def moment(now: Moment) -> str:
    """The picture, the bar, one line, the cost curve."""
    if not now.image:
        return waiting(now.words)
    data = base64.b64encode(now.image).decode()
    percent = round(100 * now.done)
    return (
        '<figure class="stage">'
        f'<img alt="The picture so far" src="data:image/jpeg;base64,{data}">'
        f'<figcaption role="status">{_text(now.words)}</figcaption>'
        f'<progress max="100" value="{percent}" aria-label="Done">'
        f"{percent} %</progress>"
        f"{curve(now.curve)}</figure>"
    )


def curve(costs: Sequence[tuple[int, float]]) -> str:
    """The total cost against results, on a logarithmic axis, as SVG.

    Args:
      costs: scale and total cost of each result.
    """
    known = [(scale, cost) for scale, cost in costs if 0 < cost < math.inf]
    if len(known) < 2:
        return ""
    logs = [math.log(cost) for _, cost in known]
    low, high = min(logs), max(logs)
    across = WIDTH / (len(known) - 1)
    points = [
        (n * across, 2 + (HEIGHT - 4) * (high - y) / ((high - low) or 1.0))
        for n, y in enumerate(logs)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    lines = "".join(
        f'<line x1="{n * across:.1f}" x2="{n * across:.1f}" y1="0" '
        f'y2="{HEIGHT}"/>'
        for n in range(1, len(known))
        if known[n][0] != known[n - 1][0]
    )
    first, last = known[0][1], known[-1][1]
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'preserveAspectRatio="none" '
        f'aria-label="Cost, from {first:.3g} to {last:.3g}">'
        f'{lines}<polyline points="{path}"/></svg>'
        f'<p class="cost">cost {first:.3g} → {last:.3g}</p>'
    )


def _text(words: str) -> str:
    return html.escape(" ".join(str(words).split()))
