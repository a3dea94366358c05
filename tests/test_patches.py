"""Patches: a brute-force search finds the same, a crop alone answers so."""

import json
import signal

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from conftest import smooth

import nst_tf
from nst_tf.engine import vgg
from nst_tf.files import record
from nst_tf.request.networks import LAYERS
from nst_tf.study import found as found_
from nst_tf.study import patches, sheets
from nst_tf.study.fields import field
from nst_tf.terminal import cli

FIVE = patches.LAYERS
SIZES = ((97, 131), (64, 64), (150, 90), (83, 200)) * 3


def scene():
    """A dozen pictures of waves and grain, of odd sizes."""
    generator = np.random.default_rng(7)
    return [
        np.clip(
            smooth(*size, seed) + generator.normal(0, 0.1, (*size, 3)), 0, 1
        ).astype("float32")
        for seed, size in enumerate(SIZES)
    ]


@pytest.fixture(scope="module")
def photographs():
    return scene()


@pytest.fixture(scope="module")
def features(tiny_kernels, photographs):
    """`{layer: [h, w, units] of each picture}`, without tiles."""
    network = vgg.features_model(tiny_kernels, FIVE, "max")
    answers = [network(picture[None]) for picture in photographs]
    return {
        layer: [answer[layer][0].numpy() for answer in answers]
        for layer in FIVE
    }


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(patches, "TILE", 64)


@pytest.fixture(scope="module")
def found(tiny_weights_everywhere, photographs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patches, "TILE", 64)
        return patches.find(photographs, units=8)


def listed(found, layer, unit):
    return [
        one for one in found.patches() if (one.layer, one.unit) == (layer, unit)
    ]


@pytest.mark.parametrize("layer", FIVE)
def test_brute_force_finds_the_same_nine(found, features, layer):
    for unit in found.units(layer):
        greatest = [
            (np.max(answer[..., unit]), number, np.argmax(answer[..., unit]))
            for number, answer in enumerate(features[layer])
        ]
        greatest.sort(key=lambda one: -one[0])
        own = listed(found, layer, unit)
        wanted = [one for one in greatest[:9] if one[0] > 0]
        assert len(own) == len(wanted)
        for patch, (activation, number, at) in zip(own, wanted, strict=True):
            assert patch.image == f"picture {number}"
            assert patch.activation == pytest.approx(activation, rel=1e-5)
            place = np.unravel_index(at, features[layer][number].shape[:2])
            assert patch.box == field(layer).box(*place)


@pytest.mark.parametrize("layer", FIVE)
def test_the_spread_is_the_standard_deviation(found, features, layer):
    flat = [answer.reshape(-1, answer.shape[-1]) for answer in features[layer]]
    spread = np.concatenate(flat).astype("float64").std(0)
    np.testing.assert_allclose(found.seen[layer].spread, spread, rtol=1e-4)


def alone(kernels, pixels, patch, size):
    """A unit's activation by nothing but the pixels in its patch.

    `pixels` is the patch's part inside a picture of `size`. Beyond the
    border the network sees zeros, in every layer anew.
    """
    depth = LAYERS.index(patch.layer)
    row, column = (
        (low + field(patch.layer).before) // field(patch.layer).stride
        for low in (patch.box[1], patch.box[0])
    )
    needed = [(row, row), (column, column)]
    steps = []  # backwards: what of each layer's input the unit depends on
    for layer in reversed(LAYERS[: depth + 1]):
        needed = [(low - 1, high + 1) for low, high in needed]
        steps.append((layer, needed))
        if layer.endswith("conv1") and layer != LAYERS[0]:
            needed = [(2 * low, 2 * high + 1) for low, high in needed]
    x = vgg.preprocess(pixels[None]).numpy()
    has = [
        (max(low, 0), min(high, length) - 1)
        for low, high, length in (
            (patch.box[1], patch.box[3], size[0]),
            (patch.box[0], patch.box[2], size[1]),
        )
    ]
    assert x.shape[1:3] == tuple(high - low + 1 for low, high in has)
    sides = list(size)
    for layer, needed in reversed(steps):
        if layer.endswith("conv1") and layer != LAYERS[0]:
            x = tf.nn.max_pool2d(x, 2, 2, "VALID").numpy()
            sides = [side // 2 for side in sides]
            assert all(low % 2 == 0 for low, _ in has)
            has = [
                (low // 2, low // 2 + count - 1)
                for (low, _), count in zip(has, x.shape[1:3], strict=True)
            ]
        pads = [(0, 0), (0, 0)]
        for axis, (low, high) in enumerate(needed):
            pads[axis] = max(-low, 0), max(high + 1 - sides[axis], 0)
            inside = slice(max(low, 0) - has[axis][0], None)
            x = x[:, inside] if axis == 0 else x[:, :, inside]
        pads = [(min(a, 1), min(b, 1)) for a, b in pads]
        x = np.pad(x, [(0, 0), *pads, (0, 0)])
        kernel, bias = kernels[layer]
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID") + bias).numpy()
        has = [
            (max(low + 1, 0), min(high - 1, side - 1))
            for (low, high), side in zip(needed, sides, strict=True)
        ]
        assert x.shape[1:3] == tuple(high - low + 1 for low, high in has)
    return x[0, 0, 0, patch.unit]


def test_a_crop_alone_answers_as_in_the_picture(
    found, photographs, tiny_kernels
):
    inside = {layer: [0, 0] for layer in FIVE}
    for patch in found.patches():
        number = int(patch.image.split()[-1])
        left, top, right, bottom = patch.box
        picture = photographs[number]
        size = picture.shape[:2]
        whole = (
            left >= 0 and top >= 0 and right <= size[1] and bottom <= size[0]
        )
        inside[patch.layer][whole] += 1
        pixels = picture[max(top, 0) : bottom, max(left, 0) : right]
        activation = alone(tiny_kernels, pixels, patch, size)
        assert activation == pytest.approx(patch.activation, rel=1e-4)
    assert all(whole for _, whole in list(inside.values())[:4])
    assert all(passing for passing, _ in inside.values())


def test_several_patches_of_a_picture_are_peaks_apart(
    small_tiles, tiny_weights_everywhere, photographs, features
):
    found = patches.find(photographs, units=8, per_image=3)
    for layer in ("block1_conv1", "block3_conv1", "block4_conv1"):
        own = field(layer)
        reach = max(1, own.side // 2 // own.stride)
        for unit in found.units(layer):
            peaks = []
            for number, answer in enumerate(features[layer]):
                one = answer[..., unit]
                height, width = one.shape
                here = [
                    (one[row, column], number, own.box(row, column))
                    for row in range(height)
                    for column in range(width)
                    if one[row, column] > 0
                    and one[row, column]
                    >= one[
                        max(row - reach, 0) : row + reach + 1,
                        max(column - reach, 0) : column + reach + 1,
                    ].max()
                ]
                peaks += sorted(here, key=lambda p: -p[0])[:3]
            peaks = sorted(peaks, key=lambda p: -p[0])[:9]
            mine = listed(found, layer, unit)
            assert [one.box for one in mine] == [box for *_, box in peaks]
            numbers = [f"picture {number}" for _, number, _ in peaks]
            assert [one.image for one in mine] == numbers


def test_it_streams_and_may_be_left(tiny_weights_everywhere, photographs):
    searching = patches.search(iter(photographs), layers="conv1_1", units=2)
    first = next(searching)
    assert (first.count, first.total) == (1, len(photographs))
    assert {one.image for one in first.patches()} == {"picture 0"}
    again = patches.find(photographs[:1], layers="conv1_1", units=2)
    assert again.patches() == first.patches()


def test_beyond_the_border_is_what_the_network_takes_for_zero(photographs):
    patch = found_.crop(photographs[0], (-2, -3, 5, 4))
    zeros = vgg.preprocess(patch).numpy()
    np.testing.assert_allclose(zeros[:3], 0, atol=1e-4)
    np.testing.assert_allclose(zeros[:, :2], 0, atol=1e-4)
    np.testing.assert_array_equal(patch[3:, 2:], photographs[0][:4, :5])


def test_small_patches_are_enlarged_pixel_by_pixel():
    patch = np.random.default_rng(0).random((3, 3, 3), "float32")
    drawn = sheets.mosaic([patch], 3, 9)
    np.testing.assert_array_equal(drawn[26:156:52, 26:156:52], patch)
    assert drawn[200:].min() == 1  # no patch, no ink


# At the terminal


@pytest.fixture
def folder(tmp_path, monkeypatch, photographs):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for number, picture in enumerate(photographs[:4]):
        inside = "more/" if number % 2 else ""
        path = tmp_path / "photos" / f"{inside}{number}.png"
        PIL.Image.fromarray(np.uint8(picture * 255)).save(path)
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    return tmp_path


def run(*more):
    return cli.main(["patches", "--images=photos", *more])


def test_sheets_and_record_are_written(folder, tiny_weights_everywhere, capsys):
    code = run("--layers=conv1_1,conv3_1", "--units=2,0", "--record=a.json")
    assert code == 0
    names = [f"patches_block{block}_conv1.png" for block in (1, 3)]
    said = capsys.readouterr().err
    for name in names:
        assert f"Saved {name}" in said
        sheet = np.asarray(PIL.Image.open(name))
        assert sheet.shape[1:] == (1600, 3)
    rows = json.loads((folder / "a.json").read_text())
    assert set(rows[0]) == {"layer", "unit", "activation", "image", "box"}
    own = [r for r in rows if (r["layer"], r["unit"]) == ("block3_conv1", 2)]
    assert [r["layer"] for r in rows] == sorted(r["layer"] for r in rows)
    assert 1 <= len(own) <= 4
    activations = [row["activation"] for row in own]
    assert activations == sorted(activations, reverse=True)
    assert len({row["image"] for row in own}) == len(own)
    assert {"photos/0.png", "photos/more/1.png"} <= {r["image"] for r in rows}
    recipe = record.read_recipe(names[0])
    assert recipe["options"]["units"] == [2, 0]
    assert recipe["network"]["pooling"] == "max"


def test_one_layer_is_one_file(folder, tiny_weights_everywhere):
    assert run("--layers=conv2_1", "--output=out/a.jpg", "--quiet") == 0
    assert [path.name for path in (folder / "out").iterdir()] == ["a.jpg"]


def test_what_is_no_picture_is_left_out(
    folder, tiny_weights_everywhere, capsys
):
    (folder / "photos" / "0.png").write_bytes(b"broken")
    PIL.Image.new("RGB", (15, 40)).save(folder / "photos" / "narrow.png")
    assert run("--layers=conv1_1", "--units=2") == 0
    said = capsys.readouterr().err
    assert said.count("It is left out.") == 2
    assert "narrow.png" in said


def test_a_signal_ends_the_search_and_the_sheets_show_what_there_was(
    folder, tiny_weights_everywhere, capsys, monkeypatch
):
    looking = patches.read

    def read(source, number, max_size):
        if number == 1:
            signal.raise_signal(signal.SIGINT)
        return looking(source, number, max_size)

    monkeypatch.setattr(patches, "read", read)
    assert run("--layers=conv1_1", "--record=a.json") == 130
    assert "2 of 4 pictures" in capsys.readouterr().err
    rows = json.loads((folder / "a.json").read_text())
    assert {row["image"] for row in rows} == {"photos/0.png", "photos/2.png"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--images=nowhere"], "`images` should be a folder"),
        (["--layers=conv9_1"], "`layers`: a layer should be"),
        (["--units=0"], "`units` should be a whole number from 1"),
        (["--units=1,4"], "`units` of block1_conv1 are 0 to 3; received 4"),
        (["--per_image=x"], "`per_image` should be a whole number"),
        (["--output=a.txt"], "`output` should end in"),
        (
            ["--output=photos/0.png", "--layers=conv1_1"],
            "`output` is one of the inputs",
        ),
        (["--record=a.txt"], "`record` should end in .json"),
        (["--steps=3"], "steps"),
    ],
)
def test_mistakes_get_one_line(
    folder, tiny_weights_everywhere, capsys, arguments, told
):
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == ["photos"]


def test_python_has_it(tiny_weights_everywhere, photographs, tmp_path):
    found = nst_tf.patches(photographs[:2], layers=["conv1_1"], units=[1])
    assert found.save(tmp_path / "a.png") == [str(tmp_path / "a.png")]
    assert found.units("block1_conv1") == [1]
