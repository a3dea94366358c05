"""index.html: the pictures of a batch, small, each with its recipe."""

import html
from pathlib import Path, PurePosixPath

from nst_tf.batches.stream import Finished
from nst_tf.files import record

PAGE = 500  # pictures on each
STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 1.5rem auto; max-width: 90rem; padding: 0 1rem; }
main { display: grid; gap: 1.5rem 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; height: auto; aspect-ratio: 4 / 3;
  object-fit: contain; background: #8882; }
figcaption { overflow-wrap: anywhere; padding: .4rem 0; }
pre { font-size: 12px; max-height: 20rem; overflow: auto; margin: 0; }
nav { display: flex; gap: 1rem; padding: 1rem 0; }
"""


class Index:
    """Pages of thumbnails, written as they fill."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._page = 1
        self._waiting: list[Finished] = []

    def take(self, finished: Finished) -> None:
        """Puts a picture on a page."""
        if finished.reason:
            return
        if len(self._waiting) == PAGE:
            self._write(more=True)
        self._waiting.append(finished)

    def write(self) -> None:
        """Writes the last page; takes away those of a longer batch before."""
        if self._waiting:
            self._write(more=False)
        number = self._page
        while (path := self._folder / _file(number)).is_file() and number > 1:
            path.unlink()
            number += 1

    def _write(self, more: bool) -> None:
        figures = sorted(self._waiting, key=lambda one: one.job.number)
        text = _html(self._page, more, figures)
        record.write(self._folder / _file(self._page), text)
        self._page, self._waiting = self._page + 1, []


def _file(page: int) -> str:
    return "index.html" if page == 1 else f"index_{page}.html"


def _html(page: int, more: bool, figures: list[Finished]) -> str:
    title = "Painted" if page == 1 else f"Painted, page {page}"
    links = []
    if page > 1:
        links.append(f'<a href="{_file(page - 1)}">Earlier</a>')
    if more:
        links.append(f'<a href="{_file(page + 1)}">More</a>')
    navigation = f"<nav>{''.join(links)}</nav>" if links else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<main>
{"".join(map(_figure, figures))}</main>
{navigation}
</body>
</html>
"""


def _figure(finished: Finished) -> str:
    job = finished.job
    styles = ", ".join(Path(style).stem for style in job.styles)
    about = f"{Path(job.content).stem} in the manner of {styles}"
    name = html.escape(job.name).replace("_", "_<wbr>")
    recipe = html.escape(record.to_json(finished.recipe or {}))
    return f"""<figure>
<a href="{_url(job.name)}"><img loading="lazy" src="{_url(job.thumbnail)}"
 alt="{html.escape(about)}"></a>
<figcaption>{name}
<details><summary>Recipe</summary><pre tabindex="0">{recipe}</pre></details>
</figcaption>
</figure>
"""


def _url(name: str) -> str:
    """A path within the folder as a page has to quote it."""
    return PurePosixPath("/", name).as_uri().removeprefix("file:///")
