"""One trace for pictures of every size, whole and in tiles."""

import functools
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from conftest import smooth
from tensorflow.python.framework.func_graph import FuncGraph

import nst_tf
from nst_tf.engine.tracing import AnySize
from nst_tf.stylization import run
from nst_tf.stylization.inputs import prepare

QUICK = {
    "content_layers": "conv2_1",
    "style_layers": "conv1_1",
    "steps": 2,
    "scales": 2,
    "optimizer": "adam",
    "margin": 4,
}
SIZES = ((40, 48), (48, 64), (57, 41), (90, 100))

pytestmark = pytest.mark.usefixtures("tiny_weights_everywhere")


def test_the_size_is_not_traced_and_the_channels_are():
    doubled = AnySize(lambda image, factor: image * factor)
    for height, width in SIZES:
        image = np.ones((1, height, width, 3), "float32")
        assert doubled(image, 2.0).shape == image.shape
    assert doubled.traces == 1
    doubled(np.ones((1, 4, 4, 5), "float32"), 2.0)
    assert doubled.traces == 2


@pytest.mark.parametrize(
    ("statistic", "jit", "tile"),
    [
        ("gram", "off", "off"),
        ("gram", "on", "off"),
        ("wasserstein", "off", 64),  # small pictures are not cut
    ],
)
def test_every_size_is_served_by_one_trace(statistic, jit, tile):
    options = {**QUICK, "tile": tile, "style_statistic": statistic, "jit": jit}
    sizes = SIZES
    if jit == "on":  # XLA compiles each size for seconds
        options["scales"], sizes = 1, SIZES[:2]
    run._engine.cache_clear()
    for number, (height, width) in enumerate(sizes):
        content, style = (
            smooth(height, width, seed=number + k) for k in (0, 10)
        )
        nst_tf.stylize(content, style, **options)
    prepared = prepare(content, style, **options)
    engine, _ = run.engine(prepared.options, prepared.plan.arithmetic)
    objective = engine.objective
    for functions in (
        engine.starting,
        engine.advancing,
        objective.evaluation,
        objective._content,
        objective._style,
    ):
        traces = [functions[tiled].traces for tiled in (False, True)]
        assert traces == [1, 0 if tile == "off" else 1]


def test_two_engines_are_kept_and_a_third_frees_the_first(monkeypatch):
    two = functools.lru_cache(run.ENGINES)(run._engine.__wrapped__)
    monkeypatch.setattr(run, "_engine", two)
    content, style = smooth(40, 48, 1), smooth(40, 48, 2)

    def engine(pooling):
        prepared = prepare(content, style, **QUICK, pooling=pooling)
        return run.engine(prepared.options, prepared.plan.arithmetic)[0]

    first = engine("avg")
    assert engine("max") is not first and engine("avg") is first
    gone = weakref.ref(first)
    del first
    nst_tf.stylize(content, style, **QUICK, pooling="avg")
    for weight in (1.0, 0.0):  # without content: another engine
        nst_tf.stylize(content, style, **QUICK, content_weight=weight)
        nst_tf.stylize(
            content, style, **QUICK, content_weight=weight, pooling="max"
        )
    gc.collect()
    assert gone() is None


def test_an_engine_let_go_leaves_no_graph(monkeypatch):
    def graphs():
        gc.collect()
        return sum(isinstance(each, FuncGraph) for each in gc.get_objects())

    own = functools.lru_cache(1)(run._engine.__wrapped__)
    monkeypatch.setattr(run, "_engine", own)
    before = graphs()
    nst_tf.stylize(smooth(40, 48, 1), smooth(40, 48, 2), **QUICK)
    assert graphs() > before
    own.cache_clear()
    assert graphs() == before


def test_results_hold_a_picture_and_no_state():
    results = list(
        nst_tf.snapshots(smooth(40, 48, 1), smooth(40, 48, 2), every=1, **QUICK)
    )
    for result in results:
        held = [v for v in vars(result).values() if tf.is_tensor(v)]
        assert [tuple(v.shape) for v in held] == [result.tensor.shape]
