"""How many operations a step takes, as a GPU gets it.

A GPU's step is bound by their number: each is launched by itself, whatever its
size. The same graph can be counted on a CPU.
"""

import collections
import glob

import numpy as np
import pytest
import tensorflow as tf
from conftest import smooth

from nst_tf.engine import transfer, vgg
from nst_tf.engine.transfer import Arithmetic
from nst_tf.request.options import Options

pytestmark = pytest.mark.usefixtures("graphs_as_users_run_them")
NUMBERS = transfer.Numbers(10.0, 40.0, 1e6, 0.0)


def engine(kernels, at_once, **options):
    options = Options(**options)
    layers, half = options.layer_names(), "mixed_bfloat16"
    network = vgg.features_model(
        kernels, layers, options.pooling, half, at_once=at_once
    )
    return transfer.build(network, options, Arithmetic(half, at_once=at_once))


def begun(tool, steps):
    """A state after some steps, and what the next ones need."""
    content, style = (tf.constant(smooth(64, 80, k)[None]) for k in (1, 2))
    targets = tool.objective.targets(content, [style], [1.0])
    numbers = transfer.Numbers(*map(tf.constant, NUMBERS))
    state = tool.start(content, targets, numbers)
    return tool.advance(state, targets, numbers, steps), targets, numbers


def operations(folder, run):
    """How often each kind is executed while it runs."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    options = tf.profiler.experimental.ProfilerOptions(2, 0)
    with tf.profiler.experimental.Profile(str(folder), options):
        run()
    counted = collections.Counter()
    for path in glob.glob(f"{folder}/**/*.xplane.pb", recursive=True):
        with open(path, "rb") as file:
            planes = xplane_pb2.XSpace.FromString(file.read()).planes
        for plane in planes:
            for event in (e for line in plane.lines for e in line.events):
                name = plane.event_metadata[event.metadata_id].name
                if ":" in name and "::" not in name:
                    counted[name.rpartition(":")[2]] += 1
    return counted


@pytest.mark.parametrize(
    ("statistic", "most"), [("gram", 400), ("wasserstein", 720)]
)
def test_a_step_has_few_operations(tiny_kernels, tmp_path, statistic, most):
    tool = engine(tiny_kernels, True, style_statistic=statistic)
    state, *given = begun(tool, 13)
    counts = [
        operations(
            tmp_path / str(until),
            lambda until=until: float(
                tool.advance(state, *given, until).costs.total
            ),
        )
        for until in (14, 15)
    ]
    step = counts[1] - counts[0]
    assert sum(v for k, v in step.items() if "Conv2D" in k) >= 20
    assert sum(step.values()) <= most, step.most_common(20)


def test_at_once_is_the_same(tiny_kernels):
    few = {
        "content_layers": "conv2_1",
        "style_layers": "conv1_1,conv2_1",
        "history": 2,
    }
    one, other = (
        begun(engine(tiny_kernels, at_once, **few), 3)[0]
        for at_once in (False, True)
    )
    np.testing.assert_allclose(one.costs.total, other.costs.total, rtol=1e-3)
    np.testing.assert_allclose(one.image, other.image, atol=1e-3)
