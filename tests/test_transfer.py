"""The loop: exact costs, no dependence on how it is cut, conformance."""

import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import kept

from nst_tf.engine import transfer, vgg
from nst_tf.engine.objective import Objective, Places
from nst_tf.engine.transfer import Arithmetic
from nst_tf.files import images, weights
from nst_tf.formulas import losses, optimizers
from nst_tf.formulas.statistics import CONTENT_UNIT, STATISTICS
from nst_tf.request.options import OPTIMIZERS, Options

pytestmark = pytest.mark.usefixtures("graphs_as_users_run_them")
CONTENT_LAYERS = (("block2_conv2", 1.0),)
STYLE_LAYERS = (("block1_conv1", 0.4), ("block2_conv1", 0.6))
RATES = {"adam": 0.02, "adagrad": 0.05, "sgd": 1e-7, "lbfgs": 0.0}
NUMBERS = transfer.Numbers(10.0, 40.0, 3.0, 0.02)


@kept
def engine(
    kernels,
    name="adam",
    jit=False,
    content=CONTENT_LAYERS,
    range_weight=0.0,
    precision="float32",
    statistic="gram",
    at_once=False,
    **own,
):
    layers = [layer for layer, _ in content + STYLE_LAYERS]
    network = vgg.features_model(kernels, layers, precision=precision)
    if name == "lbfgs":
        own = {"history": 3, **own}  # the fewer pairs, the shorter the trace
    method = functools.partial(getattr(optimizers, name), **own)
    takes_rate = "learning_rate" in OPTIMIZERS[name]
    build = method if takes_rate else lambda rate: method()
    float16 = precision == "mixed_float16"
    objective = Objective(
        network,
        content,
        STYLE_LAYERS,
        jit,
        float16=float16,
        scale=vgg.scale(precision),
        statistic=STATISTICS[statistic],
    )
    return transfer.Transfer(objective, build, 0, range_weight)


def last(snapshots):
    for snapshot in snapshots:
        kept = snapshot
    return kept


def start(pictures, scales=1):
    content, style = (tf.constant(picture[None]) for picture in pictures)
    image = transfer.shrink(content, factors(scales)[0])
    return content, [style], [1.0], image


def factors(scales):
    return [2.0**k for k in reversed(range(scales))]


@pytest.fixture(scope="module")
def adam(tiny_kernels):
    return engine(tiny_kernels)


def test_costs_are_the_formulas(tiny_kernels, pictures, adam):
    content, styles, blend, _ = start(pictures)
    image = tf.constant(pictures[0][None, ::-1])
    targets = adam.objective.targets(content, styles, blend)
    costs = adam.objective.costs(image, targets, NUMBERS)
    layers = [layer for layer, _ in CONTENT_LAYERS + STYLE_LAYERS]
    network = vgg.features_model(tiny_kernels, layers)
    seen, aim, painting = network(image), network(content), network(styles[0])
    expected_content = losses.content_cost(
        aim["block2_conv2"], seen["block2_conv2"]
    )
    expected_style = losses.style_cost(painting, seen, dict(STYLE_LAYERS))
    tv = losses.total_variation(image)
    np.testing.assert_allclose(costs.content, expected_content, rtol=1e-5)
    np.testing.assert_allclose(costs.style, expected_style, rtol=1e-5)
    np.testing.assert_allclose(costs.tv, tv, rtol=1e-6)
    total = 10 * expected_content + 40 * expected_style + 3 * tv
    np.testing.assert_allclose(costs.total, total, rtol=1e-5)


def test_content_beside_wasserstein_has_the_paintings_size(
    tiny_kernels, pictures
):
    content, (style,), _, _ = start(pictures)
    styles = [style, tf.square(style)]
    objective = engine(tiny_kernels, statistic="wasserstein").objective
    image = tf.constant(pictures[0][None, ::-1])
    network = vgg.features_model(tiny_kernels, ["block2_conv2"])
    aim, seen, *paintings = (
        network(each)["block2_conv2"] for each in (content, image, *styles)
    )
    lost = np.mean(np.square(aim - seen))
    sizes = [np.mean(np.square(each)) for each in paintings]
    regions = np.zeros([2, *content.shape[1:3], 1], "float32")
    regions[0, :, :16], regions[1, :, 16:] = 1, 1
    left = 16 / content.shape[2]
    for places, size in (
        (Places(), 0.75 * sizes[0] + 0.25 * sizes[1]),
        (Places(regions=regions), left * sizes[0] + (1 - left) * sizes[1]),
    ):
        targets = objective.targets(content, styles, [3.0, 1.0], places)
        costs = objective.costs(image, targets, NUMBERS)
        expected = CONTENT_UNIT * lost / size
        np.testing.assert_allclose(costs.content, expected, rtol=1e-4)
        energy = objective.content_energy(targets)
        expected = CONTENT_UNIT * np.mean(np.square(aim)) / size
        np.testing.assert_allclose(energy, expected, rtol=1e-4)


def test_the_merged_styles_have_the_gradient_of_each_on_its_own(pictures, adam):
    content, (style,), _, _ = start(pictures)
    other = tf.image.flip_left_right(style) ** 2
    image = content[:, ::-1]

    def gradient(styles, blend):
        targets = adam.objective.targets(content, styles, blend)
        return adam.objective.evaluate(image, targets, NUMBERS)[1]

    merged = gradient([style, other], [2.0, 1.0])
    apart = (2 * gradient([style], [1.0]) + gradient([other], [1.0])) / 3
    atol = 1e-5 * np.max(np.abs(apart))
    np.testing.assert_allclose(merged, apart, rtol=1e-4, atol=atol)


def test_the_gradient_is_that_of_the_costs(pictures, adam):
    content, styles, blend, _ = start(pictures)
    image = tf.constant(pictures[0][None, ::-1])
    targets = adam.objective.targets(content, styles, blend)
    costs, gradient = adam.objective.evaluate(image, targets, NUMBERS)
    with tf.GradientTape() as tape:
        tape.watch(image)
        expected = adam.objective.costs(image, targets, NUMBERS)
    assert_near(costs.total, expected.total)
    assert_near(gradient, tape.gradient(expected.total, image))


@pytest.mark.parametrize("tile", [0, 32])
def test_projections_are_of_what_the_network_gives(
    tiny_kernels, pictures, tile
):
    """As if the network had them in it, costs and gradient."""
    generator = np.random.default_rng(0)
    matrices = {
        name: generator.normal(size=(6, width)).astype("float32")
        for name, width in (("block2_conv1", 5), ("block2_conv2", 6))
    }
    layers = [layer for layer, _ in CONTENT_LAYERS + STYLE_LAYERS]
    network = vgg.features_model(tiny_kernels, layers)

    def mapped(image):
        return {
            layer: seen @ matrices[layer] if layer in matrices else seen
            for layer, seen in network(image).items()
        }

    content, styles, blend, _ = start(pictures)
    image = tf.constant(pictures[0][None, ::-1])
    found = []
    for one, own in ((network, matrices), (mapped, {})):
        objective = Objective(
            one, CONTENT_LAYERS, STYLE_LAYERS, tile=tile, projections=own
        )
        targets = objective.targets(content, styles, blend)
        found.append(objective.evaluate(image, targets, NUMBERS))
    (costs, gradient), (expected_costs, expected_gradient) = found
    assert_near(costs.content, expected_costs.content)
    assert_near(costs.style, expected_costs.style)
    assert_near(gradient, expected_gradient)


def assert_near(found, expected):
    """Within 1e-5 of the length."""
    error = np.linalg.norm(np.subtract(found, expected))
    assert error < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("scales", [1, 2])
def test_however_it_is_cut_the_picture_is_the_same(
    tiny_kernels, pictures, name, scales
):
    numbers = NUMBERS._replace(learning_rate=RATES[name])
    tool = engine(tiny_kernels, name)
    whole = last(
        tool.snapshots(
            *start(pictures, scales),
            numbers,
            milestones=lambda _: [9],
            factors=factors(scales),
        )
    )
    pieces = last(
        tool.snapshots(
            *start(pictures, scales),
            numbers,
            milestones=lambda _: [1, 4, 9],
            factors=factors(scales),
        )
    )
    assert int(whole.step) == 9
    for one, other in zip(
        tf.nest.flatten(whole.state),
        tf.nest.flatten(pieces.state),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_lowers_the_cost(tiny_kernels, pictures, name):
    numbers = NUMBERS._replace(learning_rate=RATES[name])
    tool = engine(tiny_kernels, name)
    first, *_, final = tool.snapshots(
        *start(pictures), numbers, milestones=lambda _: [20]
    )
    assert final.costs.total < 0.9 * first.costs.total


def test_traced_into_a_graph_it_paints_the_same(pictures, adam):
    """As each optimiser's SavedModel does: `test_export`."""

    def paint(content, style):
        snapshots = adam.snapshots(
            content,
            [style],
            [1.0],
            transfer.shrink(content, 2),
            NUMBERS,
            milestones=lambda _: [tf.constant(3), tf.constant(6)],
            factors=[2.0, 1.0],
        )
        final = last(snapshots)
        return final.image, final.costs.total

    unknown = tf.TensorSpec([1, None, None, 3], tf.float32)
    traced = tf.function(paint, autograph=False, input_signature=[unknown] * 2)
    content, (style,), _, _ = start(pictures)
    image, total = traced(content, style)
    expected = last(
        adam.snapshots(
            *start(pictures, 2), NUMBERS, lambda _: [3, 6], [2.0, 1.0]
        )
    )
    np.testing.assert_allclose(total, expected.costs.total, rtol=1e-3)
    np.testing.assert_allclose(image, expected.image, atol=1e-3)


def test_the_picture_is_the_best_one_seen(tiny_kernels, pictures):
    # A rate so large that Adam makes things worse again and again.
    numbers = NUMBERS._replace(learning_rate=0.5)
    tool = engine(tiny_kernels, beta1=0.5, beta2=0.5)
    best = np.inf
    for snapshot in tool.snapshots(
        *start(pictures), numbers, milestones=lambda _: range(1, 15)
    ):
        best = min(best, float(snapshot.state.costs.total))
        assert float(snapshot.costs.total) == best
        targets = tool.objective.targets(*start(pictures)[:3])
        shown = tool.objective.costs(snapshot.image, targets, numbers)
        np.testing.assert_allclose(shown.total, best, rtol=1e-4)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_run_that_diverges_stops_and_keeps_the_last_good_picture(
    tiny_kernels, pictures, name
):
    tool = engine(tiny_kernels, name)
    numbers = NUMBERS._replace(learning_rate=np.nan)
    final = last(
        tool.snapshots(*start(pictures), numbers, milestones=lambda _: [50])
    )
    assert bool(transfer.diverged(final.state))
    assert int(final.step) < 50
    assert np.isfinite(final.image).all()
    np.testing.assert_array_equal(final.image, start(pictures)[0])


def test_what_is_saved_costs_what_was_optimised(tiny_kernels, pictures):
    """Values outside [0, 1] help the cost, and are cut off in the end."""
    white = tf.clip_by_value(2.0 * pictures[1][None], 0.0, 1.0)
    arguments = [pictures[0][None], [white], [1.0], pictures[0][None], NUMBERS]
    reached, saved = [], []
    for weight in (0.0, 1e9):
        tool = engine(tiny_kernels, "lbfgs", range_weight=weight)
        targets = tool.objective.targets(*arguments[:3])
        final = last(tool.snapshots(*arguments, lambda _: [60]))
        image = final.state.best_image
        total = weight * (10 + 40) * losses.out_of_range(image)
        total += tool.objective.costs(image, targets, NUMBERS).total
        np.testing.assert_allclose(final.costs.total, total, rtol=1e-4)
        reached.append(float(total))
        image = tf.clip_by_value(image, 0.0, 1.0)
        costs = tool.objective.costs(image, targets, NUMBERS)
        saved.append(float(costs.total))
    assert saved[0] > 1.1 * reached[0]
    assert saved[1] < 1.01 * reached[1]
    assert saved[1] < saved[0]


@pytest.mark.parametrize("history", [(), (2,)])
def test_restored_states_are_those_that_were_flattened(
    tiny_kernels, pictures, history
):
    tool = engine(tiny_kernels, "lbfgs")
    final = last(
        tool.snapshots(
            *start(pictures), NUMBERS, lambda _: [4], history=history
        )
    )
    assert len(final.state.slots.steps) == (history or (3,))[0]
    arrays = [np.asarray(a) for a in tf.nest.flatten(final.state)]
    restored = tool.restore(arrays)
    tf.nest.assert_same_structure(restored, final.state)
    for one, other in zip(
        tf.nest.flatten(restored), tf.nest.flatten(final.state), strict=True
    ):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_fewer_pairs_are_those_of_a_shorter_history(tiny_kernels, pictures):
    many = engine(tiny_kernels, "lbfgs")
    few = engine(tiny_kernels, "lbfgs", history=2)
    given = *start(pictures, 2), NUMBERS, lambda _: [6], [2.0, 1.0]
    want = [snapshot.image for snapshot in few.snapshots(*given)]
    for history in (2, 2), (3, 2):
        made = many.snapshots(*given, history=history)
        images = [snapshot.image for snapshot in made]
        same = [
            np.array_equal(*pair) for pair in zip(images, want, strict=True)
        ]
        assert same[:1] == [True] and all(same) == (history == (2, 2))


def test_coarse_to_fine_ends_at_the_full_size(pictures, adam):
    sizes = [
        (snapshot.scale, int(snapshot.step), *snapshot.image.shape[1:3])
        for snapshot in adam.snapshots(
            *start(pictures, 2), NUMBERS, lambda _: [2], factors=[2.0, 1.0]
        )
    ]
    assert sizes == [(0, 0, 24, 32), (0, 2, 24, 32), (1, 0, 48, 64),
                     (1, 2, 48, 64)]  # fmt: skip


@pytest.fixture(scope="module")
def ends(tiny_kernels, pictures):
    """The cost in float32 of the photograph, and of what was painted."""

    @functools.cache
    def painted(size, precision, statistic):
        """With all weights times a size."""
        numbers = transfer.Numbers(
            *(tf.constant(size * number) for number in NUMBERS[:3]), 0.02
        )
        tool, whole = (
            engine(tiny_kernels, "lbfgs", precision=kind, statistic=statistic)
            for kind in (precision, "float32")
        )
        final = last(tool.snapshots(*start(pictures), numbers, lambda _: [30]))
        targets = whole.objective.targets(*start(pictures)[:3])
        return [
            float(whole.objective.costs(image, targets, numbers).total)
            for image in (start(pictures)[0], final.image)
        ]

    return painted


@pytest.mark.parametrize(
    "precision, statistic",
    [
        ("mixed_bfloat16", "gram"),
        ("mixed_bfloat16", "wasserstein"),
        ("mixed_float16", "gram"),
    ],
)
def test_half_precision_ends_at_the_cost_of_whole(ends, precision, statistic):
    """Evaluated in float32; far smaller and larger weights change nothing."""
    for size in (1e-6, 1.0, 1e6):
        before, whole = ends(size, "float32", statistic)
        _, half = ends(size, precision, statistic)
        assert whole < 0.5 * before
        assert abs(half - whole) < 0.01 * before


@pytest.mark.parametrize(
    "statistic, precision, cost, slope",
    [
        ("gram", "float32", 1e-4, 1e-4),
        ("wasserstein", "float32", 1e-4, 1e-4),
        ("gram", "mixed_float16", 0.02, 0.2),
        ("wasserstein", "mixed_bfloat16", 0.02, 0.2),
    ],
)
def test_xla_gives_the_same_costs(
    tiny_kernels, pictures, precision, cost, slope, statistic
):
    content, styles, blend, image = start(pictures)
    usual = engine(tiny_kernels, statistic=statistic)
    compiled = engine(
        tiny_kernels, jit=True, precision=precision, statistic=statistic
    )
    numbers = transfer.Numbers(*map(tf.constant, NUMBERS))
    found = []
    for objective in (usual.objective, compiled.objective):
        targets = objective.targets(content, styles, blend)
        found.append(objective.evaluate(image[:, ::-1], targets, numbers))
    (plain, gradient), (fused, same) = found
    np.testing.assert_allclose(fused.total, plain.total, rtol=cost)
    assert tf.norm(same - gradient) < slope * tf.norm(gradient)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_half_precision_has_the_costs_of_whole_on_real_weights(
    real_weights, statistic
):
    """Black and white pixels among them; half precision in tiles, too."""
    examples = Path(__file__).resolve().parent.parent / "examples"
    options = Options(style_statistic=statistic, margin=0)
    layers = options.layer_names()
    kernels = weights.load(str(real_weights), 0, "vgg19", layers).kernels
    generator, tools = np.random.default_rng(0), []
    for kind, tiles in (("float32", [0]), ("mixed_float16", [0, 64])):
        network = vgg.features_model(kernels, layers, options.pooling, kind)
        tools += [
            transfer.build(network, options, Arithmetic(kind, tile)).objective
            for tile in tiles
        ]
    for pair in (("lake", "mosaic"), ("lighthouse", "woodcut")):
        content, style = (
            images.read(examples / f"{what}_{name}.jpg", what).rgb
            for what, name in zip(("content", "style"), pair, strict=True)
        )
        content, style = (
            transfer.resize(tf.constant(picture[None]), [80, 96])
            for picture in (content, style)
        )
        noise = generator.integers(0, 2, content.shape).astype("float32")
        image = tf.where(generator.random(content.shape) < 0.2, noise, content)
        found = [
            tool.costs(image, tool.targets(content, [style], [1.0]), NUMBERS)
            for tool in tools
        ]
        for costs in found[1:]:
            for one, other in zip(
                tf.nest.flatten(costs), tf.nest.flatten(found[0]), strict=True
            ):
                np.testing.assert_allclose(one, other, rtol=5e-3)


def test_half_precision_of_no_slope_is_no_slope(tiny_kernels, pictures):
    content, styles, blend, _ = start(pictures)
    tool = engine(tiny_kernels, precision="mixed_float16").objective
    targets = tool.targets(content, styles, blend)
    numbers = transfer.Numbers(*map(tf.constant, (10.0, 0.0, 0.0, 0.0)))
    costs, gradient = tool.evaluate(content, targets, numbers)
    assert float(costs.total) == 0
    np.testing.assert_array_equal(gradient, tf.zeros_like(gradient))
