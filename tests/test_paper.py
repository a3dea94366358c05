"""Sheets and their pixels."""

import pytest

from nst_tf.request.options import Options
from nst_tf.request.paper import Paper


@pytest.mark.parametrize(
    ("text", "size", "pixels", "measured"),
    [
        ("60x40cm@300dpi", (512, 768), (4724, 7086), "60.0 x 40.0 cm"),
        ("600 x 400mm @ 300dpi", (512, 768), (4724, 7086), "600 x 400 mm"),
        ("24x16in@300dpi", (512, 768), (4800, 7200), "24.00 x 16.00 in"),
        ("24x16in@300dpi", (768, 512), (7200, 4800), "16.00 x 24.00 in"),
        ("40X60CM@100DPI", (100, 100), (1574, 1574), "40.0 x 40.0 cm"),
        ("10x2in@50dpi", (30, 40), (100, 133), "2.66 x 2.00 in"),
        ("10x2in@50dpi", (10, 90), (55, 500), "10.00 x 1.10 in"),
    ],
)
def test_the_largest_picture_that_a_sheet_has(text, size, pixels, measured):
    paper = Paper.parse(text)
    assert paper.pixels(size) == pixels
    assert paper.measure(pixels) == measured
    assert Paper.parse(str(paper)) == paper
    assert Options(print=text).print == str(paper)


@pytest.mark.parametrize(
    "text",
    ["", "60x40", "60x40cm", "0x40cm@300dpi", "60x40px@300dpi", 300]
    + ["60x40cm@0dpi", "1.2.3x4cm@300dpi", "-6x4cm@300dpi", "60x40cm@9999dpi"],
)
def test_what_is_no_sheet_is_told(text):
    with pytest.raises(ValueError, match="`print`: expected .* 60x40cm@300dpi"):
        Options(print=text)


def test_a_sheet_and_a_size_exclude_each_other():
    with pytest.raises(ValueError, match="`print` .* `max_size`.*Leave one"):
        Options(print="60x40cm@300dpi", max_size=384)
