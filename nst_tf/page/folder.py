"""The folder that holds what visitors sent and got: one for the process.

Nothing outside it is ever served. It is swept by age and by total size, and
goes with the process.
"""

import atexit
import contextlib
import functools
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nst_tf.files import record

AGE = 6 * 3600.0  # seconds that a file is kept
TOTAL = 2_000_000_000  # bytes that all of them may take
GIVEN, SHOWN = "given", "shown.jpg"  # what was sent; the name of a preview
EACH = 30.0  # seconds between two sweeps


@functools.cache
def home() -> Path:
    """The folder; made on first use, removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="nst_tf-page-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    threading.Thread(target=_sweep_on, daemon=True).start()
    return folder


def fresh(kind: str = "painted") -> Path:
    """A new place in it for one run's results, which nobody can guess."""
    return home() / kind / uuid.uuid4().hex


def holds(path: str | Path) -> bool:
    """Whether a path, symbolic links followed, is a file in the folder."""
    try:
        whole = Path(path).resolve()
        return whole.is_file() and whole.is_relative_to(home())
    except (OSError, ValueError, RuntimeError):  # a null byte, a circle
        return False


def original(payload: Any, name: str) -> Path | None:
    """The file that was sent, where its preview stands for it.

    Raises:
      ValueError: it is not in the page's folder.
    """
    if payload is None:
        return None
    path = payload.get("path") if isinstance(payload, Mapping) else None
    if isinstance(path, str) and holds(path):
        token, _, rest = Path(path).name.partition(".")
        if rest != SHOWN:
            return Path(path)
        given = home() / GIVEN / token / "original"
        for file in given.iterdir() if given.is_dir() else ():
            return file
    raise ValueError(
        f"`{name}` should be a picture that was sent to this page; "
        "received something else, or its time here is over. Send it anew."
    )


def sent(payload: Any, name: str) -> bytes | None:
    """The bytes of `original`."""
    path = original(payload, name)
    return None if path is None else path.read_bytes()


def samples() -> dict[str, list[Path]]:
    """Copies in the folder of the pictures that come with nst_tf.

    Returns:
      `content` and `style`, each a list of paths; empty lists where the
      pictures are missing.
    """
    package = Path(__file__).parents[1]
    inside, beside = package / "examples", package.parent / "examples"
    found: dict[str, list[Path]] = {"content": [], "style": []}
    for kind, copies in found.items():
        source = inside if inside.is_dir() else beside
        for path in sorted(source.glob(f"{kind}_*.jpg")):
            copy = home() / "samples" / path.name
            if not copy.is_file():
                record.write(copy, path.read_bytes())
            copies.append(copy)
    return found


def sweep(age: float = AGE, total: int = TOTAL) -> None:
    """Removes files older than `age` seconds, then the oldest above `total`.

    The samples stay.
    """
    files = []
    for path in home().rglob("*"):
        with contextlib.suppress(OSError):
            about = path.lstat()
            if not path.is_dir() and path.parent != home() / "samples":
                files.append((about.st_mtime, about.st_size, path))
    kept = sum(size for _, size, _ in files)
    for changed, size, path in sorted(files):
        if kept <= total and time.time() - changed <= age:
            break
        kept -= size
        with contextlib.suppress(OSError):
            path.unlink()
    for path in sorted(home().rglob("*"), reverse=True):
        with contextlib.suppress(OSError):
            if path.is_dir() and time.time() - path.stat().st_mtime > 60:
                path.rmdir()  # refused while there is something in it


def _sweep_on() -> None:
    while True:
        time.sleep(EACH)
        sweep()
