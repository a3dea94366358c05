"""What a run tells at the terminal: one line first, a bar, the time left."""

import math
import time
from pathlib import Path

from nst_tf.stylization.forecast import duration, pixels_seen, seconds
from nst_tf.stylization.result import Result
from nst_tf.stylization.run import Run
from nst_tf.terminal.bar import Bar

LONG = 10e6  # pixels times steps: less is done before a forecast has paid


class Progress:
    """One line before the first step, a bar on a terminal, the time left."""

    def __init__(self, run: Run, quiet: bool):
        self.first = True
        self._options, self._plan, self._quiet = run.options, run.plan, quiet
        self._bar = Bar(quiet)
        self._marks: tuple[int, int, float] | None = None
        self._told = False
        total = sum(self._plan.schedule)
        self._bar.show(0, total, "loading the network ...")

    def show(self, result: Result) -> None:
        """Draws where the run is."""
        now = time.monotonic()
        if self.first:
            self.first = False
            self._announce(result)
        if self._marks is None or self._marks[0] != result.scale:
            # The first step of a scale pays for compiling: count from after.
            done = result.step
            self._marks = (result.scale, done, now) if done else None
            each = None
        else:
            steps = result.step - self._marks[1]
            each = (now - self._marks[2]) / steps if steps else None
        left = self._left(result, each)
        if left and not self._told and result.step >= 4:
            self._told = True
            self.say(f"About {duration(left)} to go, {each:.2g} s a step.")
        words = self._words(result, each, left)
        self._bar.show(result.count, result.total, words)

    def say(self, text: str) -> None:
        """Prints a line, unless quiet; the bar makes way."""
        self._bar.say(text)

    def _announce(self, result: Result) -> None:
        network, history = result.record["network"], result.record["history"]
        height, width = self._plan.size
        steps = " + ".join(map(str, result.schedule))
        pairs = "" if not history else f" with {history[0]} pairs"
        if len(set(history)) > 1:
            pairs = f" with {' + '.join(map(str, history))} pairs"
        paper = self._options.paper
        printed = ""
        if paper:
            size = paper.measure(self._plan.size)
            printed = f" ({size} at {paper.dpi:.10g} dpi)"
        self.say(
            f"{width} x {height} px{printed}, {steps} steps of "
            f"{self._options.optimizer}{pairs}; "
            f"{network['name']}, weights {Path(network['weights']).name} "
            f"({network['sha256'][:8]}), {network['precision']}; "
            f"{result.record['device']}; "
            + self._plan.summary()
            + self._expected(result)
        )

    def _expected(self, result: Result) -> str:
        """How long it will take, where that is worth finding out."""
        first, *finer = self._plan.scales[result.scale :]
        scales = [(*first[:2], first[2] - result.step), *finer]
        if sum(math.prod(scale) for scale in scales) < LONG or self._quiet:
            return ""
        self._told = True
        expected = seconds(scales, self._options, self._plan.arithmetic)
        return f", about {duration(expected)}"

    def _left(self, result: Result, each: float | None) -> float | None:
        """Seconds; a step takes as long as there are pixels."""
        if each is None:
            return None
        left = float(result.steps - result.step)
        tile = self._plan.arithmetic.tile
        now, *finer = (
            (steps, pixels_seen((height, width), self._options, tile))
            for height, width, steps in self._plan.scales[result.scale :]
        )
        left += sum(steps * pixels / now[1] for steps, pixels in finer)
        return left * each

    def _words(self, result: Result, each, left) -> str:
        costs = result.costs
        text = (
            f"{duration(left)} left  {1 / each:.2g} steps/s  " if each else ""
        )
        if result.scales > 1:
            text += f"scale {result.scale + 1}/{result.scales}  "
        return text + (
            f"J {costs['total']:.3g}  content {costs['content']:.3g}  "
            f"style {costs['style']:.3g}"
        )
