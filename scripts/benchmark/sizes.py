#!/usr/bin/env python3
"""Seconds and memory of a program that paints many pictures of many sizes.

    scripts/benchmark/sizes.py CONTENT STYLE --count=200

One process paints the same pair at so many different sizes, the engines given
in turn: what every picture takes, and what the process holds after it.
"""

import argparse
import time
import warnings
from pathlib import Path

import psutil
from PIL import Image

from nst_tf.machine import environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("content", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=96, help="the smallest")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--network", default="vgg19_slim")
    parser.add_argument(
        "--poolings", default="avg", help="as avg,max: two engines in turn"
    )
    given = parser.parse_args()
    environment.prepare()  # before TensorFlow
    import nst_tf

    content, style = (
        Image.open(path).convert("RGB") for path in (given.content, given.style)
    )
    poolings = given.poolings.split(",")
    process = psutil.Process()
    print("number,width,height,seconds,mebibytes")
    for number in range(given.count):
        # Every size another: the width grows, the height goes back and forth.
        size = given.size + number // 8, given.size + number * 5 % 41
        started = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nst_tf.stylize(
                content.resize(size),
                style.resize(size),
                steps=given.steps,
                scales=1,
                max_size=0,
                network=given.network,
                pooling=poolings[number % len(poolings)],
            )
        seconds = time.monotonic() - started
        held = process.memory_info().rss >> 20
        print(number + 1, *size, f"{seconds:.3f}", held, sep=",", flush=True)


if __name__ == "__main__":
    main()
