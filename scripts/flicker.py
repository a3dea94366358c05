#!/usr/bin/env python3
"""What holds a clip's frames together, measured where the motion is known.

Usage: flicker.py FOLDER [flow | WAY ...] [--OPTION=VALUE ...]
       flicker.py clip CLIP PAINTING [--OPTION=VALUE ...]

A WAY is `apart`, each frame painted by itself; a temporal weight, 0 being a
warped start that nothing holds; or such a weight and how many earlier frames
hold one, as 1000x3. What is painted stays in the folder, and is not painted
again. `flow` compares the presets of dense inverse search.
"""

import sys
import time
from fractions import Fraction
from pathlib import Path

import draw_clip
import numpy as np

from nst_tf.files import encoding, images
from nst_tf.request import presets
from nst_tf.request.options import Options
from nst_tf.stylization import run
from nst_tf.terminal import flags
from nst_tf.video import clips, flow, paint
from nst_tf.video.settings import Settings

STYLE = draw_clip.EXAMPLES / "style_strokes.jpg"
COUNTED = {"count": 12, "height": 120, "width": 160}


def flows() -> None:
    """The true end-point error of each preset."""
    print("preset px-in-sight px-believed believed far-off hidden-believed s")
    for height, width, pan, ball in (
        (120, 160, 1.5, 5.3),
        (240, 320, 3, 10.6),
        (240, 320, 9, 31.8),
        (240, 320, 40, 40),
        (240, 320, 1.5, 20),
        (240, 320, 1.5, 40),
    ):
        drawn = draw_clip.draw(
            12, height, width, (pan, 0.27 * pan),
            ball=18 * width / 160, speed=(-ball, 0.2 * ball),
        )  # fmt: skip
        greys = [flow.grey(images.unit(frame)) for frame in drawn.frames]
        print(f"{width} x {height} px, {pan:g} px a frame, the ball {ball:g}")
        for preset in flow.PRESETS:
            rows = [
                compared(greys[k], greys[k - 1], drawn.flow[k],
                         drawn.visible[k], preset)
                for k in range(1, 12)
            ]  # fmt: skip
            told = " ".join(f"{value:.3f}" for value in np.mean(rows, 0))
            print(f"  {preset:<10} {told}")


def compared(now, before, truth, visible, preset) -> list[float]:
    started = time.process_time()
    moved = flow.motion(now, before, preset)
    seconds = time.process_time() - started
    error = np.hypot(*np.moveaxis(moved.flow - truth, -1, 0))
    believed = moved.believed
    return [
        error[visible].mean(),
        error[believed & visible].mean(),
        believed.mean(),
        (error[believed & visible] > 1).mean(),
        believed[~visible].mean(),
        seconds,
    ]


def painted(
    path: Path, way: str, options: Options, steps: str | None
) -> dict[str, np.ndarray]:
    """The frames and their costs, painted one of the ways."""
    if way == "apart":
        results = []
        for frame in clips.frames(clips.Clip(str(path))):
            *_, last = run.snapshots(frame.rgb, STYLE, options=options)
            results.append(last)
    else:
        weight, _, earlier = way.partition("x")
        settings = Settings(
            temporal_weight=weight, earlier=earlier or 1, frame_steps=steps
        )
        job = paint.prepare(str(path), STYLE, options, settings)
        results = [p.result for p in paint.frames(job) if p.done]
    return {
        "frames": np.stack([result.image for result in results]),
        **{
            name: np.array([result.costs[name] for result in results])
            for name in ("style", "content")
        },
    }


def beside_itself(path: str, style: str, given: dict[str, str]) -> None:
    """A clip's frames, each beside the same one painted by itself."""
    every = int(given.pop("every", 1))
    own, pictures = flags.separate(Settings, given)
    options = presets.load(pictures.pop("preset", None), **pictures)
    job = paint.prepare(path, style, options, Settings(**own))
    before = np.empty(0), np.empty(0)
    started = time.monotonic()
    print("frame        s style-cost colours least-colours brightness to-last")
    painted = []
    for one in paint.frames(job):
        if one.done:
            painted.append((one, time.monotonic()))
    for k, frame in enumerate(clips.frames(job.clip)):
        content = images.resize(images.unit(frame.rgb), job.first.plan.size)
        one, ended = painted[k]
        grey, apart = flow.grey(content), np.nan
        if not one.cut:
            moved = flow.motion(grey, before[0])
            warped = flow.warp(before[1], moved.flow)
            apart = np.mean((warped - one.image)[moved.believed] ** 2)
        before = grey, one.image.astype("float32")
        if k % every:
            continue
        *_, alone = run.snapshots(content, style, options=options)
        costs = [style_cost(x.image, style, options) for x in (one, alone)]
        shares = colours(one.image) / colours(alone.image)
        bright = one.image.mean() / alone.image.mean()
        seconds = ended - (painted[k - 1][1] if k else started)
        row = costs[0] / costs[1], np.median(shares), shares.min(), bright
        told = " ".join(f"{value:10.3g}" for value in (seconds, *row, apart))
        print(f"{k:3} {told}{' a cut' if one.cut else ''}", flush=True)


def style_cost(picture: np.ndarray, style: str, options: Options) -> float:
    """Of a finished picture, at its own size."""
    still = options.replace(steps=0, scales=1, max_size=max(picture.shape))
    *_, result = run.snapshots(picture, style, options=still)
    return result.costs["style"]


def colours(picture: np.ndarray) -> np.ndarray:
    """Mean distance from grey, of (Cb, Cr), in each of 4 x 2 parts."""
    red, green, blue = np.moveaxis(picture.astype("float32"), -1, 0)
    across = -0.168736 * red - 0.331264 * green + 0.5 * blue
    other = 0.5 * red - 0.418688 * green - 0.081312 * blue
    apart = np.hypot(across, other)
    parts = [np.array_split(row, 4, 1) for row in np.array_split(apart, 2)]
    return np.array([part.mean() for row in parts for part in row])


def warping(frames: np.ndarray, drawn: draw_clip.Clip, back: int = 1) -> float:
    """Mean squared difference to an earlier frame, along the true motion.

    Of values from 0 to 255, where what is seen was in sight all the way.
    """
    errors = []
    for k in range(back, len(frames)):
        way, seen = drawn.flow[k], drawn.visible[k]
        for between in range(k - 1, k - back, -1):
            seen = seen & (
                flow.warp(np.float32(drawn.visible[between]), way) > 0.99
            )
            way = way + flow.warp(drawn.flow[between], way)
        earlier = flow.warp(frames[k - back].astype("float32"), way)
        errors.append(np.mean((earlier - frames[k])[seen] ** 2))
    return float(np.mean(errors))


def main():
    folder, *rest = sys.argv[1:]
    if folder == "clip":
        path, style, *typed = rest
        pairs = [word[2:].split("=", 1) for word in typed]
        beside_itself(path, style, dict(pairs))
        return
    typed = [word for word in rest if word.startswith("--")]
    ways = [word for word in rest if word not in typed]
    if ways == ["flow"]:
        flows()
        return
    pairs = [word[2:].split("=", 1) for word in typed]
    given = dict(pairs)
    counted = {name: int(given.pop(name, COUNTED[name])) for name in COUNTED}
    still = given.pop("still", None)
    steps = given.pop("frame_steps", None)
    drawn = (draw_clip.standing if still else draw_clip.draw)(**counted)
    options = Options.from_dict(given)
    Path(folder).mkdir(parents=True, exist_ok=True)
    name = "-".join(map(str, counted.values())) + ("-still" if still else "")
    path = Path(folder) / f"{name}.mp4"
    if not path.exists():
        times = (Fraction(k, 12) for k in range(len(drawn.frames)))
        clips.write(path, zip(times, drawn.frames, strict=True))
    own = np.stack([f.rgb for f in clips.frames(clips.Clip(str(path)))])
    far = min(8, len(own) - 1)
    print("way            to-the-last to-the-8th style content brightness")
    row("the clip", {"frames": own}, drawn, far)
    sheets = [own]
    for way in ways:
        kind = f"{way}-{steps or ''}-{options.fingerprint()[:8]}"
        file = path.with_name(f"{name}-{kind}.npz")
        if not file.exists():
            np.savez_compressed(file, **painted(path, way, options, steps))
        with np.load(file) as data:
            seen = dict(data)
        row(way, seen, drawn, far)
        sheets.append(seen["frames"])
    shown = np.linspace(0, len(own) - 1, min(len(own), 6)).astype(int)
    sheet = np.vstack([np.hstack(frames[shown]) for frames in sheets])
    path.with_suffix(".png").write_bytes(encoding.encode(sheet, ".png"))


def row(way, seen, drawn, far) -> None:
    frames = seen["frames"]
    costs = [seen[n][1:].mean() for n in ("style", "content") if n in seen]
    told = " ".join(f"{cost:.5g}" for cost in costs) or "- -"
    print(
        f"{way:<12} {warping(frames, drawn):8.1f} "
        f"{warping(frames, drawn, far):8.1f}  {told}  "
        f"{frames[1].mean():.2f}..{frames[-1].mean():.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
