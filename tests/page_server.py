"""A page on a tiny, shallow network: prints its address and waits.

python tests/page_server.py [NAME=NUMBER ...]
"""

import functools
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from nst_tf.machine import environment  # noqa: E402

with environment.loading():
    from nst_tf.files import weights
from nst_tf.page import launch, visits  # noqa: E402
from nst_tf.request.networks import NETWORKS  # noqa: E402
from nst_tf.stylization import run  # noqa: E402
from tests.conftest import (  # noqa: E402
    SHALLOW,
    rewrite_graphs,
    tiny_network,
)

TINY = weights.Weights("tiny", "0" * 64, tiny_network(), "")


def slowly(steps, *_):
    """Steps with rests: a run lasts, and leaves the cores to the others."""
    for step in range(1, steps + 1):
        yield step
        time.sleep(0.3)


def main() -> None:
    settings = dict(argument.split("=") for argument in sys.argv[1:])
    warning = settings.pop("warning", "")
    tiny = TINY._replace(warning=warning)
    weights.load = lambda *_: tiny
    NETWORKS["vgg19"] = SHALLOW
    rewrite_graphs(False)
    run.pace = slowly
    run._engine = functools.lru_cache(maxsize=8)(run._engine.__wrapped__)
    visits.GRACE = float(settings.pop("grace", visits.GRACE))
    numbers = {name: int(value) for name, value in settings.items()}
    page = launch(**numbers)
    print(page.url, flush=True)
    while sys.stdin.readline():  # until the tests close it
        time.sleep(0.1)
    page.close()


if __name__ == "__main__":
    main()
