"""What TensorFlow finds around it when it loads."""

import contextlib
import gc
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

# For TensorFlow, before it loads. What is set already wins.
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Memory from a pool that is kept, not from the system each time: a fifth
    # faster at 512 px (docs/performance.md). Its limit: none.
    "TF_CPU_ALLOCATOR_USE_BFC": "true",
    "TF_CPU_BFC_MEM_LIMIT_IN_MB": str(1 << 30),
}


def prepare() -> None:
    """Sets what is not set yet; call it before TensorFlow loads."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever it was


# Keras and TensorFlow import them where they are installed, for what nothing
# here asks of them: a second, and nothing lost.
UNUSED = "IPython", "cv2", "matplotlib", "pandas", "scipy"


@contextlib.contextmanager
def loading(meanwhile: Callable[[], Any] | None = None) -> Iterator[Any]:
    """For the process's first import of TensorFlow: silent, and lean.

    That takes two seconds. What `meanwhile` is to do in them it begins in a
    thread; what it returns is yielded.
    """
    with _unheard():
        fresh = "nst_tf.backend" not in sys.modules
        begun = meanwhile() if meanwhile else None
        if fresh:
            _load()
        yield begun


def _load() -> None:
    absent = [name for name in UNUSED if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        importlib.import_module("nst_tf.backend")
    finally:
        for name in absent:
            sys.modules.pop(name, None)
    gc.freeze()  # nor is it looked through for garbage later: it stays


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Hides what TensorFlow's C++ prints on import, unless that fails.

    It prints before it has read TF_CPP_MIN_LOG_LEVEL.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as heard:
        stderr = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        except Exception:
            heard.seek(0)
            os.write(stderr, heard.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
