"""The networks that there are: their layers, and what each looks at.

Standard library only.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Network(NamedTuple):
    """What has to be known of a network before it is built.

    Fields:
      title: what its authors call it.
      layers: what it may be asked for; each comes of the one before and of
        nothing else of the picture.
      content: layers that hold the content, and their weights, by default.
      style: the same of the style.
      smallest: side in pixels of the smallest picture that it takes.
      tiled: whether a part of a picture, seen with its halo, has the whole
        picture's features: all is padded, and halved by twos.
    """

    title: str
    layers: tuple[str, ...]
    content: Mapping[str, float]
    style: Mapping[str, float]
    smallest: int = 16  # four halvings leave block 5 one position
    tiled: bool = True


def _vgg(*convolutions: int) -> tuple[str, ...]:
    return tuple(
        f"block{block}_conv{number}"
        for block, count in enumerate(convolutions, start=1)
        for number in range(1, count + 1)
    )


_VGG19 = Network(
    "VGG-19",
    _vgg(2, 2, 4, 4, 4),
    {"block4_conv2": 1.0},
    {
        "block1_conv1": 0.02,
        "block2_conv1": 0.002,
        "block3_conv1": 0.001,
        "block4_conv1": 0.0001,
    },
)
NETWORKS = {
    "vgg19": _VGG19,
    "vgg19_slim": _VGG19._replace(title="vgg19_slim"),
    "vgg16": _VGG19._replace(title="VGG-16", layers=_vgg(2, 2, 3, 3, 3)),
    # The first layer after each halving. Batch normalisation makes features
    # of about size 1, VGG-19's are some hundreds: the weights bring the costs,
    # which go with their square and with its square, to where those are.
    "inception_v3": Network(
        "Inception V3",
        (
            *(f"conv{number}" for number in range(1, 6)),
            *(f"mixed{number}" for number in range(11)),
        ),
        {"mixed2": 1e5},
        dict.fromkeys(("conv1", "conv4", "mixed0", "mixed3", "mixed8"), 1e6),
        smallest=75,
        tiled=False,
    ),
}
LAYERS = _VGG19.layers
