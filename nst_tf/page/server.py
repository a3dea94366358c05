"""Starts the page: one server, one device, one queue."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from nst_tf.machine import devices
from nst_tf.page import folder
from nst_tf.page.painting import Limits

# For Gradio, before it loads: nobody is told, nothing is asked for.
ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
}
UPLOAD = "64mb"  # of a file that is sent


@dataclasses.dataclass
class Page:
    """A page that runs.

    Attributes:
      url: where it is.
      share_url: where the world finds it; None unless it was asked for.
    """

    url: str
    share_url: str | None
    _blocks: Any = dataclasses.field(repr=False)
    _visits: Any = dataclasses.field(repr=False)

    def wait(self) -> None:
        """Returns when the page is closed, or with Ctrl-C."""
        self._blocks.block_thread()

    def close(self) -> None:
        """Ends every run, then the server."""
        self._visits.stop_all()
        self._blocks.close(verbose=False)


def launch(
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    auth_file: str | os.PathLike | None = None,
    max_pixels: int = Limits.max_pixels,
    max_steps: int = Limits.max_steps,
    queue: int = 8,
    open_browser: bool = False,
    share: bool = False,
    root_path: str | None = None,
    device: str = "auto",
) -> Page:
    """Starts the page and returns at once.

    Args:
      host: address to listen on; no other is.
      port: where; None takes the first free one from 7860.
      auth_file: a line `name:password` for each who may enter.
      max_pixels: that a result may have.
      max_steps: that a run may take at a scale.
      queue: how many may wait; one runs.
      open_browser: also show it.
      share: also open a tunnel from Gradio's servers: the world may enter.
      root_path: where a proxy has it, as /paint.
      device: what it paints on: auto, cpu, gpu or gpu:N.

    Raises:
      ValueError: Gradio is missing, or an argument cannot be used.
    """
    users = read_users(auth_file) if auth_file else None
    os.environ.update(ENVIRONMENT)
    os.environ["GRADIO_TEMP_DIR"] = str(folder.home())
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise ValueError(
            "the page needs Gradio: pip install 'nst_tf[page]'."
        ) from None
    devices.select(device)
    from nst_tf.page import app

    blocks, visits = app.build(Limits(max_pixels, max_steps), queue)
    try:
        _, url, share_url = blocks.launch(
            **app.settings(),
            server_name=host,
            server_port=port,
            auth=users,
            inbrowser=open_browser,
            share=share,
            root_path=root_path,
            max_file_size=UPLOAD,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise ValueError(
            f"`port`: {host}:{port or '7860 to 7959'} cannot be listened on "
            f"({error}). Choose another."
        ) from None
    return Page(url, share_url or None, blocks, visits)


def read_users(path: str | os.PathLike) -> list[tuple[str, str]]:
    """`name:password` of each line; ValueError without the file's text."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f'`auth_file`: "{path}" cannot be read '
            f"({getattr(error, 'strerror', None) or 'no text'})."
        ) from None
    users = []
    for number, line in enumerate(lines, start=1):
        name, colon, password = line.strip().partition(":")
        if not line.strip() or line.startswith("#"):
            continue
        if not (name and colon and password):
            raise ValueError(
                f'`auth_file`: line {number} of "{path}" should be '
                "name:password."
            )
        users.append((name, password))
    if not users:
        raise ValueError(f'`auth_file`: "{path}" names nobody.')
    return users
