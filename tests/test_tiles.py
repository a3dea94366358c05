"""Tiles: the whole picture's cost and gradient, exactly, part by part."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, kept, smooth

from nst_tf.engine import tiles, transfer, vgg
from nst_tf.engine.objective import Objective
from nst_tf.formulas import optimizers
from nst_tf.formulas.statistics import STATISTICS
from nst_tf.request.networks import LAYERS, NETWORKS
from nst_tf.request.options import OPTIMIZERS

HEIGHT, WIDTH = 229, 301
CONTENT_LAYERS = (("block4_conv2", 1.0),)
STYLE_LAYERS = tuple((f"block{block}_conv1", 0.2) for block in range(1, 6))
NUMBERS = transfer.Numbers(*map(tf.constant, (10.0, 40.0, 3.0, 0.02)))


@kept
def engine(
    kernels,
    tile,
    name="adam",
    pooling="avg",
    devices=("",),
    statistic="gram",
    vgg_name="vgg19",
    depth=None,
):
    """Of all the layers, or of those that come first."""
    content, style = CONTENT_LAYERS, STYLE_LAYERS
    if depth:
        content, style = style[depth - 1 : depth], style[:depth]
    layers = [layer for layer, _ in content + style]
    network = vgg.features_model(kernels, layers, pooling, network=vgg_name)
    method = getattr(optimizers, name)
    takes_rate = "learning_rate" in OPTIMIZERS[name]
    return transfer.Transfer(
        Objective(
            network,
            content,
            style,
            tile=tile,
            devices=devices,
            statistic=STATISTICS[statistic],
            order=NETWORKS[vgg_name].layers,
        ),
        method if takes_rate else lambda rate: method(),
        margin=8,
    )


@functools.cache
def scene(height=HEIGHT, width=WIDTH):
    """Content, two styles, and a picture on the way between."""
    content = tf.constant(smooth(height, width, seed=1)[None])
    styles = [
        tf.constant(smooth(300, 451, seed=2)[None]),
        tf.constant(smooth(203, 333, seed=3)[None]),
    ]
    return content, styles, tf.constant(smooth(height, width, seed=5)[None])


def evaluate(tool, height=HEIGHT, width=WIDTH):
    content, styles, image = scene(height, width)
    targets = tool.objective.targets(content, styles, [2.0, 1.0])
    costs, gradient = tool.objective.evaluate(image, targets, NUMBERS)
    return targets, costs, gradient


def bodies(tool, targets, height=HEIGHT, width=WIDTH):
    """The graphs of an evaluation's loops over tiles."""
    given = scene(height, width)[2], targets, NUMBERS
    given = tf.nest.map_structure(tf.convert_to_tensor, given)
    graph = tool.objective.evaluation[True].traced(*given).graph
    loops = [op for op in graph.get_operations() if op.type == "While"]
    return [graph._get_function(op.get_attr("body").name).graph for op in loops]


@pytest.fixture(scope="module")
def whole(tiny_kernels):
    """By pooling: targets, costs and gradient without tiles."""
    return functools.cache(
        lambda pooling: evaluate(engine(tiny_kernels, 0, pooling=pooling))
    )


def assert_same(found, expected, tolerance=1e-5):
    """Costs within 1e-5, gradient within 1e-4 of its length, no seam."""
    _, costs, gradient = found
    _, expected_costs, expected_gradient = expected
    for one, other in zip(
        tf.nest.flatten(costs), tf.nest.flatten(expected_costs), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=tolerance)
    difference = tf.norm(gradient - expected_gradient)
    assert difference < 1e-4 * tf.norm(expected_gradient)
    largest = np.max(np.abs(expected_gradient))
    np.testing.assert_allclose(
        gradient, expected_gradient, rtol=0, atol=1e-4 * largest
    )


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_tiles_give_the_whole_pictures_cost_and_gradient(
    tiny_kernels, whole, pooling
):
    found = evaluate(engine(tiny_kernels, 64, pooling=pooling))
    assert_same(found, whole(pooling))
    for layer, gram in whole(pooling)[0].style.items():
        np.testing.assert_allclose(
            found[0].style[layer], gram, rtol=1e-4, atol=1e-6
        )
    for layer, features in whole(pooling)[0].content.items():
        np.testing.assert_allclose(
            found[0].content[layer], features, rtol=1e-4, atol=1e-5
        )


def test_covariances_of_tiles_are_the_whole_pictures(tiny_kernels):
    whole, tiled = (
        evaluate(engine(tiny_kernels, tile, statistic="wasserstein", depth=2))
        for tile in (0, 64)
    )
    # Here means are far larger than deviations, which float32 feels: with the
    # real network it is 1e-6.
    assert_same(tiled, whole, 1e-4)


@pytest.mark.parametrize("size", [(64, 64), (65, 207), (80, 1000)])
def test_any_size_can_be_cut(tiny_kernels, size):
    expected = evaluate(engine(tiny_kernels, 0), *size)
    assert_same(evaluate(engine(tiny_kernels, 64), *size), expected)


def test_a_vgg16_needs_less_of_a_halo(tiny_kernels):
    order = NETWORKS["vgg16"].layers
    assert tiles.halo(["block5_conv1"], order) == 64
    assert tiles.halo(["block5_conv1"]) == 80
    kernels = {layer: tiny_kernels[layer] for layer in order}
    (_, costs, gradient), (_, others, other) = (
        evaluate(engine(kernels, tile, vgg_name="vgg16", depth=4), 150, 197)
        for tile in (0, 64)
    )
    np.testing.assert_allclose(costs.total, others.total, rtol=1e-5)
    size = np.abs(gradient).max()
    np.testing.assert_allclose(gradient, other, atol=1e-4 * size)


def test_without_the_halo_there_would_be_seams(tiny_kernels, monkeypatch):
    whole, own = (engine(tiny_kernels, tile, depth=2) for tile in (0, 64))
    assert_same(evaluate(own), expected := evaluate(whole))
    monkeypatch.setattr(tiles, "halo", lambda *_: 0)
    found = evaluate(engine.__wrapped__(tiny_kernels, 64, depth=2))
    with pytest.raises(AssertionError):
        assert_same(found, expected)


def test_lbfgs_descends_alike_in_tiles(tiny_kernels):
    content, styles, image = scene(100, 150)
    finals = []
    for tile in (0, 64):
        tool = engine(tiny_kernels, tile, "lbfgs", depth=2)
        for snapshot in tool.snapshots(
            content, styles, [2.0, 1.0], image, NUMBERS, lambda _: [2, 4]
        ):
            last = snapshot
        finals.append(last)
    np.testing.assert_allclose(
        finals[1].costs.total, finals[0].costs.total, rtol=1e-4
    )
    np.testing.assert_allclose(finals[1].image, finals[0].image, atol=1e-3)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_halo_is_what_a_cell_sees(layer):
    kernels, channels = {}, 3
    for name in LAYERS:
        ones = np.ones((3, 3, channels, 1), "float32") / (9 * channels)
        kernels[name] = ones, np.ones(1, "float32")
        channels = 1
    network = vgg.features_model(kernels, [layer], "avg")
    halo = tiles.halo([layer])
    image = tf.ones([1, 16, 2 * halo + 32, 3])
    with tf.GradientTape() as tape:
        tape.watch(image)
        cell = network(image)[layer][:, :, halo // tiles.stride(layer)]
    gradient = tape.gradient(cell, image)
    seen = np.flatnonzero(np.any(gradient != 0, axis=(0, 1, 3)))
    reach = seen[0] - halo, seen[-1] - (halo + tiles.stride(layer) - 1)
    assert -reach[0] == reach[1] <= halo < reach[1] + 16


def test_devices_share_the_tiles():
    """Two logical CPUs, which only a fresh process can have."""
    script = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
import conftest, test_tiles
from nst_tf.machine import devices
from nst_tf.engine import vgg
kernels = conftest.tiny_network()
names = devices.workers()
assert len(names) == 2, names
size = 150, 197
expected = test_tiles.evaluate(test_tiles.engine(kernels, 0, depth=2), *size)
tool = test_tiles.engine(kernels, 64, devices=names, depth=2)
test_tiles.assert_same(test_tiles.evaluate(tool, *size), expected)
placed = set()
for body in test_tiles.bodies(tool, expected[0], *size):
    for op in body.get_operations():
        if op.type == "Conv2D":
            placed.add(op.device)
assert {name.split(":")[-1] for name in placed} == {"0", "1"}, placed
print("shared")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        timeout=200,
        check=False,
    )
    assert done.stdout.strip().endswith("shared"), done.stderr[-2000:]


def test_no_tile_adds_a_sum_to_a_sum(tiny_kernels):
    """Grappler's sums in place fail the second time: see `tiles.over`."""
    tool = engine(tiny_kernels, 64, depth=2)
    targets, *_ = evaluate(tool)
    found = bodies(tool, targets)
    assert len(found) == 2  # the means, and the gradient
    sums = {"AddV2", "AddN"}
    for body in found:
        added = [op for op in body.get_operations() if op.type in sums]
        assert added and all(len(op.inputs) == 2 for op in added)
        for op in added:  # of a size that Grappler knows
            if op.outputs[0].shape.is_fully_defined():
                assert not sums & {one.op.type for one in op.inputs}, op


@pytest.mark.parametrize("length", [16, 31, 64, 100, 517, 4000])
@pytest.mark.parametrize("tile", [64, 128, 512])
def test_tiles_cover_all_and_overlap_nowhere(length, tile):
    split = tiles.split(tf.constant([length, length + 7]), tile, 80)
    count = np.zeros((length, length + 7), int)
    arrays = [field.numpy() for field in split]
    for begin, end, seen_begin, seen_end in zip(*arrays, strict=True):
        count[begin[0] : end[0], begin[1] : end[1]] += 1
        assert np.all(begin % 16 == 0) and np.all(end - begin >= 16)
        assert np.all(end - begin < tile + 16)
        assert np.all(seen_begin == np.maximum(begin - 80, 0))
        assert np.all(seen_end == np.minimum(end + 80, count.shape))
    np.testing.assert_array_equal(count, 1)


def test_shares_of_all_tiles_are_one_whole():
    size = tf.constant([389, 517])
    split = tiles.split(size, 128, 80)
    for layer, _ in STYLE_LAYERS:  # one of each stride
        total = tiles.over(
            split,
            lambda tile, sum_, layer=layer: (
                sum_ + tiles.share(size, tile, layer)
            ),
            tf.zeros([]),
        )
        np.testing.assert_allclose(total, 1, rtol=1e-5)
