"""The papers' figures as recipes over a sweep: data, no code.

Sources: Gatys, Ecker, Bethge, "A Neural Algorithm of Artistic Style"
(arXiv:1508.06576, [1]), "Texture Synthesis Using Convolutional Neural
Networks" (NIPS 2015, [2]) and "Image Style Transfer Using Convolutional
Neural Networks" (CVPR 2016, [3]); Mahendran and Vedaldi, "Understanding Deep
Image Representations by Inverting Them" (CVPR 2015, [4]).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from nst_tf.request.options import Options
from nst_tf.study.axes import Axis, Choice

_STYLE_LAYERS = (*Options().style_layers, ("block5_conv1", 0.002))
_SMALL = {"max_size": 256, "scales": 1}
_NOISE = {"init": "noise"}


class Recipe(NamedTuple):
    """A figure: what all its pictures share, and what is varied."""

    about: str
    options: Mapping[str, Any]
    axes: tuple[Axis, ...]


_GROWING = [
    Choice(
        "conv1_1" if count == 1 else f"conv1_1 to conv{count}_1",
        {"style_layers": dict(_STYLE_LAYERS[:count])},
    )
    for count in range(1, 6)
]
# The smoothing follows the features' mean square (`vgg.FEATURE_SIZES`): the
# same cost is much in one layer and nothing in another. conv1_1 has more, which
# takes the noise away sooner.
_RECONSTRUCTED = [
    Choice(layer, {"content_layers": layer, "tv_weight": smoothing})
    for layer, smoothing in (
        ("conv1_1", 1e4),
        ("conv2_1", 3.7e4),
        ("conv3_1", 3e4),
        ("conv4_1", 1.5e5),
        ("conv5_1", 7e2),
    )
]

FIGURES = {
    "content": Recipe(
        "what each layer keeps of the photograph ([3] figure 1, [4])",
        {**_SMALL, "style_weight": 0, "init": "noise", "steps": 200},
        (_RECONSTRUCTED,),
    ),
    "style": Recipe(
        "textures out of more and more style layers ([2] figure 2)",
        {**_SMALL, "content_weight": 0, "init": "noise", "steps": 200},
        (_GROWING,),
    ),
    "ratios": Recipe(
        "style layers against the weight of the style ([1] figure 3)",
        _SMALL,
        (
            _GROWING,
            [
                Choice(f"10 : {beta:g}", {"style_weight": beta})
                for beta in (0.4, 4, 40, 400)
            ],
        ),
    ),
    "starts": Recipe(
        "the same end from other starts? ([3] figure 6)",
        _SMALL,
        (
            [
                Choice("content", {"init": "content"}),
                Choice("style", {"init": "style"}),
                Choice(
                    "0.6 noise, 0.4 content",
                    {"init": "noise", "noise_ratio": 0.6},
                ),
                *[
                    Choice(
                        f"{noise} noise, seed {seed}",
                        {"init": "noise", "noise": noise, "seed": seed},
                    )
                    for noise in ("uniform", "gaussian")
                    for seed in (0, 1, 2)
                ],
            ],
        ),
    ),
    "layers": Recipe(
        "the content held at conv2_2 and at conv4_2 ([3] figure 5)",
        _SMALL,
        (
            [
                Choice(layer, {"content_layers": layer})
                for layer in ("conv2_2", "conv4_2")
            ],
        ),
    ),
    "networks": Recipe(
        "both, the photograph alone and the painting alone, by each network",
        {**_SMALL, "steps": 200},
        (
            [
                Choice("both", {}),
                Choice("photograph alone", {"style_weight": 0, **_NOISE}),
                Choice("painting alone", {"content_weight": 0, **_NOISE}),
            ],
            [
                Choice(name, {"network": name})
                for name in ("vgg19", "vgg16", "inception_v3")
            ],
        ),
    ),
    "optimizers": Recipe(
        "what each optimiser makes of the same steps",
        _SMALL,
        (
            [
                Choice(name, {"optimizer": name})
                for name in ("lbfgs", "adam", "adagrad", "sgd")
            ],
        ),
    ),
}
