"""How much of the painting, how large its strokes, and what is not lost."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import smooth

import nst_tf
from nst_tf.engine import transfer, vgg
from nst_tf.engine.objective import Numbers
from nst_tf.formulas import losses
from nst_tf.request import presets
from nst_tf.request.options import Options
from nst_tf.stylization import inputs

FEW = {
    "max_size": 64,
    "steps": 3,
    "scales": 1,
    "margin": 0,
    "history": 2,
    "precision": "float32",
    "content_layers": "conv2_1",
    "style_layers": "conv1_1,conv2_1",
}


def balance(tool, content, style, strength: float) -> float:
    """alpha E_C / (beta J_S) of the weights that a strength comes to."""
    numbers = Numbers(*(tf.constant(x) for x in (0.0, 40.0, 0.0, 0.0, 0.0)))
    image = tf.constant(content[None])
    targets = tool.objective.targets(image, [tf.constant(style[None])], [1.0])
    set_ = tool._balanced(strength, image, targets, numbers)
    empty = {k: tf.zeros_like(v) for k, v in targets.content.items()}
    loss = tool.objective.costs(
        image, targets._replace(content=empty), numbers
    ).content
    gain = tool.objective.costs(image, targets, numbers).style
    return float(set_.content_weight * loss / (set_.style_weight * gain))


def test_a_strength_weighs_what_is_lost_against_what_is_gained(tiny_kernels):
    options = Options(margin=0)
    network = vgg.features_model(tiny_kernels, options.layer_names(), "avg")
    tool = transfer.build(network, options, transfer.Arithmetic())
    for seed in (1, 2):  # whatever the pair
        pair = smooth(64, 80, seed), 0.3 * smooth(48, 64, seed + 2)
        for strength, expected in ((0.5, 1), (0.25, 9), (0.75, 1 / 9)):
            found = balance(tool, *pair, strength)
            assert found == pytest.approx(transfer.BALANCE * expected, rel=1e-3)


def test_a_strength_is_resumed(pictures, tiny_weights_everywhere, tmp_path):
    from nst_tf.files import record
    from nst_tf.stylization import run

    content, style = pictures
    prepared = inputs.prepare(content, style, strength=0.7, **FEW)
    whole = run.Run(prepared, every=1)
    for result in whole:
        if result.step == 1:
            whole.save_checkpoint(tmp_path / "run.npz")
    past = record.read_checkpoint(tmp_path / "run.npz")
    *_, last = run.Run(prepared, every=1, resume=past)
    np.testing.assert_array_equal(last.image, result.image)
    assert last.costs == result.costs


@pytest.mark.parametrize("name", ["content_weight", "style_weight"])
def test_a_strength_stands_for_both_weights(name):
    with pytest.raises(ValueError, match=f"`strength` sets .* received {name}"):
        Options(strength=0.4, **{name: 3})
    assert presets.merge({name: 3}, {"strength": 0.4}) == {"strength": 0.4}
    assert presets.merge({"strength": 0.4}, {name: 3}) == {name: 3}


# Details


def test_details_are_the_laplacian_of_means():
    image = np.random.default_rng(0).random((1, 20, 28, 3))
    means = image.reshape(1, 5, 4, 7, 4, 3).mean((2, 4))
    expected = np.zeros_like(means)
    for y in range(1, 4):
        for x in range(1, 6):
            around = means[:, y - 1, x] + means[:, y + 1, x]
            around += means[:, y, x - 1] + means[:, y, x + 1]
            expected[:, y, x] = around - 4 * means[:, y, x]
    np.testing.assert_allclose(losses.detail(image), expected, atol=1e-12)


def test_details_cost_nothing_beside_themselves_or_in_another_light():
    image = np.random.default_rng(0).random((1, 20, 28, 3))
    own = losses.detail(image)
    assert float(losses.detail_cost(own, image)) == 0
    assert float(losses.detail_cost(own, image + 0.2)) < 1e-20
    y, x = np.mgrid[:20, :28]
    slope = 0.01 * (y + 2 * x)[None, ..., None]  # nor do slopes
    assert float(losses.detail_cost(own, image + slope)) < 1e-20
    assert float(losses.detail_cost(own, image[:, ::-1])) > 1


def test_where_a_detail_weighs_nothing_it_costs_nothing():
    one, other = np.random.default_rng(0).random((2, 1, 32, 32, 3))
    other[:, :, 16:] = one[:, :, 16:]
    weight = np.zeros((1, 8, 8, 1))
    weight[:, :, 5:] = 1  # the Laplacian looks one cell further
    assert float(losses.detail_cost(losses.detail(one), other, weight)) == 0


def test_a_held_detail_is_nearer(pictures, tiny_weights_everywhere):
    content, style = pictures
    few = {**FEW, "steps": 20}
    own = losses.detail(content[None])
    free, held = (
        float(
            losses.detail_cost(
                own,
                nst_tf.stylize(
                    content, style, detail_weight=weight, **few
                ).tensor,
            )
        )
        for weight in (0, 1e4)
    )
    assert held < free / 2


def test_a_detail_mask_needs_a_weight():
    with pytest.raises(ValueError, match="`detail_mask` needs a `detail_w"):
        Options(detail_mask="face.png")


# Sizes of several styles


def test_each_style_has_its_scale(pictures):
    content, style = pictures
    prepared = inputs.prepare(
        content,
        [style, style],
        style_scale=0.5,
        style_scales="2,1",
        **FEW,
    )
    sizes = [max(one.shape) for one in prepared.styles]
    assert sizes == [max(style.shape), max(style.shape) // 2]
    with pytest.raises(ValueError, match="`style_scales` should have a scale"):
        inputs.prepare(content, style, style_scales="2,1", **FEW)
