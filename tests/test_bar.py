"""The line on a terminal, and what is printed where there is none."""

import io
import sys

import pytest

from nst_tf.terminal.bar import TIMED, Bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(text):
    """What each line of a terminal shows in the end."""
    return [line.rsplit("\r")[-1] for line in text.split("\n")]


def test_a_terminal_shows_it_and_other_lines_make_way(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = Bar(quiet=False, format=TIMED)
    bar.show(3, 12, "frames")
    assert "[#####...............] 3/12  frames" in terminal.getvalue()
    assert terminal.getvalue().endswith(" left")
    bar.say("Saved it")
    bar.show(12, 12)
    assert shown(terminal.getvalue())[0] == "Saved it"
    assert shown(terminal.getvalue())[1].startswith("[" + "#" * 20 + "] 12/12")


@pytest.mark.parametrize(
    ("stream", "quiet", "said"),
    [
        (io.StringIO, False, "Saved it\n"),
        (io.StringIO, True, ""),
        (Terminal, True, ""),
    ],
)
def test_elsewhere_lines_alone_are_printed_and_none_if_quiet(
    monkeypatch, stream, quiet, said
):
    heard = stream()
    monkeypatch.setattr(sys, "stderr", heard)
    bar = Bar(quiet)
    bar.show(3, 12)
    bar.say("Saved it")
    assert heard.getvalue() == said
