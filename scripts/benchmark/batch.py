#!/usr/bin/env python3
"""How many trivial jobs a second a batch hands out, and what it keeps.

    scripts/benchmark/batch.py --jobs=10000 --workers=2

The engine is the tests' own, which paints nothing: a grey picture, its recipe
and its thumbnail are written. Client and scheduler are one process here.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import dask
import distributed  # noqa: F401  # its own settings, before ours

from nst_tf.batches import batch

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "tests" / "batch_preload.py"
PICTURE = ROOT / "examples" / "content_lake.jpg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--noindex", action="store_true")
    typed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "jobs.jsonl"
        row = json.dumps({"content": str(PICTURE), "style": str(PICTURE)})
        manifest.write_text(f"{row}\n" * typed.jobs)
        measure(manifest, typed)


def measure(manifest: Path, typed: argparse.Namespace) -> None:
    """Prints a line each tenth of the jobs."""
    started = time.monotonic()
    order = batch.batch(
        manifest=manifest,
        output=manifest.with_name("painted"),
        name="{number}.png",
        index=not typed.noindex,
        workers=typed.workers,
        device="cpu",
    )
    print(f"checked in {time.monotonic() - started:.1f} s")
    with (
        dask.config.set({"distributed.worker.preload": [str(ENGINE)]}),
        order.crew() as crew,
    ):
        started, before = time.monotonic(), time.process_time()
        for done, one in enumerate(order.finished(crew), 1):
            if one.reason:
                raise SystemExit(one.reason)
            if done % max(1, typed.jobs // 10) == 0:
                seconds = time.monotonic() - started
                own = (time.process_time() - before) / done
                print(
                    f"{done} jobs, {done / seconds:.0f} a second, "
                    f"{1e3 * own:.2f} ms of client and scheduler each, "
                    f"{resident()} MB",
                    flush=True,
                )


def resident() -> int:
    """Megabytes that this process has in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


if __name__ == "__main__":
    main()
