"""Starts the page: one server, one device, one queue."""

import contextlib
import dataclasses
import os
import socket
import webbrowser
from collections.abc import Iterator
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
    _line: Any = dataclasses.field(repr=False)

    def wait(self) -> None:
        """Returns when the page is closed, or with Ctrl-C."""
        self._blocks.block_thread()

    def close(self) -> None:
        """Ends every run, then the server."""
        self._line.close()
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
    _check_address(host, port)
    os.environ.update(ENVIRONMENT)
    os.environ["GRADIO_TEMP_DIR"] = str(folder.home())
    try:
        with _unproxied():
            import gradio  # noqa: F401
    except ImportError:
        raise ValueError("the page needs Gradio: pip install gradio.") from None
    devices.select(device)
    from nst_tf.page import app

    blocks, line = app.build(Limits(max_pixels, max_steps), queue)
    try:
        with _unproxied(share):
            _, url, share_url = blocks.launch(
                **app.settings(),
                server_name=host,
                server_port=port,
                auth=users,
                share=share,
                root_path=root_path,
                max_file_size=UPLOAD,
                prevent_thread_lock=True,
            )
    except ImportError as error:  # a proxy that speaks SOCKS
        raise ValueError(f"`share`: {error}") from None
    except OSError:
        raise ValueError(
            f"`port`: {port or 'all from 7860 to 7959'} on {host} cannot be "
            "had. Choose another."
        ) from None
    if open_browser:
        webbrowser.open(share_url or url)
    return Page(url, share_url or None, blocks, line)


def _check_address(host: str, port: int | None) -> None:
    """ValueError where nobody can listen there; Gradio would try for long."""
    name = "port" if port else "host"
    try:
        family, *_, place = socket.getaddrinfo(host.strip("[]"), port or 0)[0]
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(place)
    except OSError as error:
        raise ValueError(
            f"`{name}`: {host}{f':{port}' * bool(port)} cannot be listened on "
            f"({error.strerror}). Choose another."
        ) from None


@contextlib.contextmanager
def _unproxied(share: bool = False) -> Iterator[None]:
    """Gradio asks its own address for an answer: through no proxy.

    For a tunnel it asks its servers: through the proxy that there is.
    """
    near = "localhost,127.0.0.1,::1,"
    kept = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    known = kept["no_proxy"] or kept["NO_PROXY"] or ""
    os.environ.update(dict.fromkeys(kept, near + known if share else "*"))
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


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
