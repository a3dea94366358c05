"""Masks: where to paint, and what of a painting to learn."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import kept, smooth
from PIL import Image

import nst_tf
from nst_tf.engine import transfer, vgg
from nst_tf.engine.objective import Numbers, Places
from nst_tf.request.options import Options
from nst_tf.stylization import inputs, places, sources

pytestmark = pytest.mark.usefixtures("tiny_weights_everywhere")
NUMBERS = Numbers(10.0, 40.0, 1e3, 0.02)
FEW = {
    "max_size": 96,
    "steps": 3,
    "scales": 1,
    "margin": 0,
    "precision": "float32",
    "optimizer": "adam",
    "content_layers": "conv2_1",
    "style_layers": "conv1_1,conv2_1",
}
DEEP = {
    "content_layers": "conv4_2",
    "style_layers": "conv1_1,conv2_1,conv3_1,conv4_1",
}


@pytest.fixture
def draw(tmp_path):
    """A mask's file: `[h, w]` of 0 to 255."""

    def save(name: str, mask: np.ndarray) -> str:
        path = tmp_path / f"{name}.png"
        Image.fromarray(mask.astype("uint8")).save(path)
        return str(path)

    return save


def halves(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Left and right, as masks of 0 and 255."""
    left = np.zeros((height, width))
    left[:, : width // 2] = 255
    return left, 255 - left


@kept
def engine(kernels, tile: int = 0, **changes) -> transfer.Transfer:
    options = Options(margin=0, **{**DEEP, **changes})
    layers = options.layer_names()
    network = vgg.features_model(kernels, layers, "avg")
    arithmetic = transfer.Arithmetic(tile=tile)
    return transfer.build(network, options, arithmetic)


def mask(array: np.ndarray) -> tf.Tensor:
    return tf.constant(array.reshape(-1, *array.shape[-2:], 1), tf.float32)


def evaluated(tool, content, styles, image, given: Places):
    pictures = [tf.constant(one[None]) for one in (content, image)]
    styles = [tf.constant(style[None]) for style in styles]
    blend = [1.0] * len(styles)
    targets = tool.objective.targets(pictures[0], styles, blend, given)
    return tool.objective.evaluate(pictures[1], targets, NUMBERS)


@pytest.fixture(scope="module")
def scene():
    shapes = (128, 160, 1), (96, 112, 2), (112, 128, 3), (128, 160, 4)
    content, one, other, image = (smooth(*shape) for shape in shapes)
    return content, [one, other], image


def test_black_stays_the_photograph_to_the_bit(pictures, draw):
    content, style = pictures
    left, _ = halves(48, 64)
    result = nst_tf.stylize(content, style, mask=draw("left", left), **FEW)
    before = np.rint(content * 255).astype("uint8")
    np.testing.assert_array_equal(result.image[:, 32:], before[:, 32:])
    assert np.abs(result.image[:, :32].astype(int) - before[:, :32]).max() > 3


@pytest.mark.parametrize("scales", [1, 2])
def test_black_stays_at_every_scale_and_in_every_snapshot(draw, scales):
    content, style = smooth(64, 96, 1), smooth(64, 64, 2)
    left, _ = halves(64, 96)
    few = {**FEW, "scales": scales, "margin": 8, "optimizer": "lbfgs"}
    few["history"] = 2
    found = list(
        nst_tf.snapshots(
            content, style, mask=draw("left", left), init="noise", **few
        )
    )
    last = found[-1].image
    before = np.rint(content * 255).astype("uint8")
    np.testing.assert_array_equal(last[:, 48:], before[:, 48:])


def test_a_mask_of_ones_is_no_mask(pictures, draw):
    content, style = pictures
    white = draw("white", np.full((48, 64), 255))
    part = draw("part", np.full((40, 56), 255))
    plain = nst_tf.stylize(content, style, **FEW)
    masked = nst_tf.stylize(
        content,
        style,
        mask=white,
        content_mask=white,
        style_mask=part,
        **FEW,
    )
    np.testing.assert_array_equal(masked.image, plain.image)
    assert masked.costs == plain.costs


def test_a_constant_mask_changes_no_cost(tiny_kernels, scene):
    content, styles, image = scene
    tool = engine(tiny_kernels)
    plain, slope = evaluated(tool, content, styles[:1], image, Places())
    half = mask(np.full(content.shape[:2], 0.5))
    learnt = [mask(np.full(styles[0].shape[:2], 0.3))]
    given = Places(half, half, learnt)
    costs, gradient = evaluated(tool, content, styles[:1], image, given)
    for name in ("content", "style"):
        one, other = getattr(costs, name), getattr(plain, name)
        np.testing.assert_allclose(one, other, rtol=1e-4)
    # Painted half, the total variation of each painted pixel counts twice.
    variation = NUMBERS.tv_weight * plain.tv
    np.testing.assert_allclose(costs.total, plain.total + variation, rtol=1e-4)
    assert gradient.shape == slope.shape


def test_two_halves_of_one_style_cost_what_each_has(tiny_kernels, scene):
    """sum_k share_k J_k, each of the mean over its own positions."""
    content, styles, image = scene
    tool = engine(tiny_kernels)
    left, right = (own / 255 for own in halves(128, 160))
    regions = mask(np.stack([left, right]))
    both = evaluated(tool, content, styles, image, Places(None, regions))[0]
    alone = [
        evaluated(tool, content, [style], image, Places(mask(own), mask(own)))
        for style, own in zip(styles, (left, right), strict=True)
    ]
    for layer, cost in both.style_layers.items():
        parts = [float(one.style_layers[layer]) for one, _ in alone]
        np.testing.assert_allclose(cost, np.mean(parts), rtol=1e-4)


def test_a_style_reaches_its_own_region(tiny_kernels, scene):
    """Where no region lies the style has no slope."""
    content, styles, image = scene
    tool = engine(tiny_kernels, content_weight=0, tv_weight=0)
    corner = np.zeros((128, 160))
    corner[:32, :32] = 1
    given = Places(None, mask(corner))
    pictures = tf.constant(image[None]), tf.constant(styles[0][None])
    targets = tool.objective.targets(pictures[0], pictures[1:], [1.0], given)
    gradient = tool.objective.evaluate(
        pictures[0], targets, NUMBERS._replace(tv_weight=0.0)
    )[1].numpy()[0]
    assert np.abs(gradient[:32, :32]).min() > 0
    # Beyond what the layers see of the region there is none.
    assert not gradient[:, 32 + 96 :].any()


def test_of_a_style_what_is_masked_is_learnt(tiny_kernels, scene):
    content, styles, image = scene
    tool = engine(tiny_kernels)
    style = np.concatenate([styles[0], styles[0][:, ::-1]], 1)
    style[:, styles[0].shape[1] + 16 :] = 0.5
    part = np.zeros(style.shape[:2])
    part[:, :64] = 1
    other = style.copy()
    other[:, 64 + 96 :] = 0.9  # beyond what positions of the part see
    found = [
        evaluated(tool, content, [own], image, Places(None, None, [mask(part)]))
        for own in (style, other)
    ]
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("statistic", ["gram", "wasserstein"])
def test_tiles_equal_the_whole(tiny_kernels, scene, statistic):
    content, styles, image = scene
    soft = smooth(128, 160, 7)[..., 0].clip(0, 1)
    soft[:, 130:] = 0
    regions = np.stack([soft * 0.4, soft * soft * 0.6])
    learnt = [None, mask(smooth(112, 128, 8)[..., 0].clip(0, 1))]
    given = Places(mask(soft), mask(regions), learnt)
    shallow = {"content_layers": "conv3_1", "style_layers": "conv1_1,conv3_1"}
    whole, tiled = (
        evaluated(
            engine(tiny_kernels, tile, style_statistic=statistic, **shallow),
            content,
            styles,
            image,
            given,
        )
        for tile in (0, 64)
    )
    tolerance = 1e-5 if statistic == "gram" else 1e-4
    flat = map(tf.nest.flatten, (whole[0], tiled[0]))
    for one, other in zip(*flat, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance)
    apart = np.linalg.norm(whole[1] - tiled[1])
    assert apart < 10 * tolerance * np.linalg.norm(whole[1])


def test_the_gradient_is_that_of_the_cost(tiny_kernels, scene):
    content, styles, image = scene
    tool = engine(tiny_kernels)
    soft = smooth(128, 160, 7)[..., 0].clip(0.2, 1)
    given = Places(mask(soft), mask(np.stack([soft * 0.7, soft * 0.3])))
    step = 1e-2 * smooth(128, 160, 9)
    low, high = (
        evaluated(tool, content, styles, (image + sign * step), given)[0]
        for sign in (-1, 1)
    )
    gradient = evaluated(tool, content, styles, image, given)[1][0]
    expected = float(high.total - low.total)
    assert float(tf.reduce_sum(2 * step * gradient)) == pytest.approx(
        expected, rel=0.02
    )


def test_too_little_for_a_layer_leaves_it_out(tiny_kernels, scene):
    content, styles, image = scene
    tool = engine(tiny_kernels)
    corner = np.zeros((128, 160))
    corner[:24, :24] = 1
    costs, gradient = evaluated(
        tool, content, styles[:1], image, Places(mask(corner), mask(corner))
    )
    assert float(costs.style_layers["block4_conv1"]) == 0
    assert float(costs.style_layers["block1_conv1"]) > 0
    assert np.all(np.isfinite(gradient))


def test_it_is_said(pictures, draw):
    content, style = pictures
    corner = np.zeros((48, 64))
    corner[:20, :20] = 255
    with pytest.warns(UserWarning, match="fewer than 16 positions of .*block5"):
        nst_tf.stylize(
            content,
            style,
            mask=draw("corner", corner),
            **{**FEW, "style_layers": "conv1_1,conv5_1"},
        )


def test_masks_share_where_they_overlap(draw):
    options = Options(
        content_mask=[
            draw("a", np.full((8, 8), 255)),
            draw("b", halves(8, 8)[0]),
        ],
        style_blend=[1, 3],
        max_size=8,
        scales=1,
    )
    content = inputs.images.read(np.zeros((8, 8, 3), "float32"))
    with pytest.warns(UserWarning):
        found = places.read(options, content, (8, 8), [], [])
    np.testing.assert_allclose(found.regions[:, 0, 0], [0.25, 0.75])
    np.testing.assert_allclose(found.regions[:, 0, 7], [1, 0])


def test_colours_are_matched_region_by_region(draw):
    """A blue half stays blue, a red one red, whatever the painting's are."""
    content = np.zeros((64, 64, 3), "float32")
    content += smooth(64, 64, 1) * 0.2
    content[:, :32, 0] += 0.6
    content[:, 32:, 2] += 0.6
    style = smooth(64, 64, 2)
    left, right = halves(64, 64)
    prepared = inputs.prepare(
        content,
        [style, style],
        content_mask=[draw("left", left), draw("right", right)],
        color="content",
        **FEW,
    )
    red, blue = (one.mean((0, 1)) for one in prepared.styles)
    assert red[0] > red[2] + 0.3 and blue[2] > blue[0] + 0.3


def test_alpha_is_a_mask(pictures):
    content, style = pictures
    alpha = np.ones((48, 64, 1), "float32")
    alpha[:, 32:] = 0
    rgba = np.concatenate([content, alpha], 2)
    prepared = inputs.prepare(rgba, style, mask="alpha", **FEW)
    np.testing.assert_array_equal(prepared.places.painted, alpha[..., 0])
    with pytest.raises(ValueError, match="no pixel of `content`"):
        inputs.prepare(content, style, mask="alpha", **FEW)


def test_a_drawn_mask_of_another_size_or_transparent(pictures, draw, tmp_path):
    content, style = pictures
    large = inputs.prepare(
        content, style, mask=draw("large", halves(480, 640)[0]), **FEW
    )
    np.testing.assert_array_equal(large.places.painted[:, :31], 1)
    np.testing.assert_array_equal(large.places.painted[:, 33:], 0)
    rgba = np.full((48, 64, 4), 255, "uint8")
    rgba[:, 32:, 3] = 0  # white paint on nothing
    path = tmp_path / "brush.png"
    Image.fromarray(rgba).save(path)
    brushed = inputs.prepare(content, style, mask=str(path), **FEW)
    np.testing.assert_array_equal(brushed.places.painted[:, 32:], 0)
    assert brushed.places.painted[:, :32].min() == 1


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"mask": "black"}, "black all over"),
        ({"mask": "tall"}, "shape of its picture, 64 x 48; received 48 x 64"),
        ({"mask": "missing.png"}, "`mask`.*missing"),
        ({"content_mask": ["left"]}, "once for each style: expected 2"),
        ({"style_mask": "left,left,left"}, "expected 2, received 3"),
        ({"content_mask": [3]}, "`content_mask`: expected paths"),
    ],
)
def test_what_is_no_mask_is_refused(pictures, draw, changes, message):
    content, style = pictures
    known = {
        "black": draw("black", np.zeros((48, 64))),
        "tall": draw("tall", np.full((64, 48), 200)),
        "left": draw("left", halves(48, 64)[0]),
    }

    def path(name):
        return known.get(name, name)

    changes = {
        name: [path(one) for one in value]
        if isinstance(value, list)
        else ",".join(path(one) for one in value.split(","))
        for name, value in changes.items()
    }
    with pytest.raises(ValueError, match=message):
        inputs.prepare(content, [style, style], **changes, **FEW)


def test_the_recipe_holds_their_digests(pictures, draw):
    content, style = pictures
    left = draw("left", halves(48, 64)[0])
    result = nst_tf.stylize(
        content, [style, style], mask=left, content_mask=["all", left], **FEW
    )
    recorded = result.record["inputs"]
    assert recorded["mask"] == sources.identity(left, "mask")
    assert recorded["content_mask"] == [None, sources.identity(left, "mask")]
    assert recorded["style_mask"] is None
