"""Everything that decides the result of a stylisation, in one frozen table.

Flags, presets, metadata and documentation derive from the fields below:
name, default, group, help and bounds are said once. Standard library only.
"""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from nst_tf.request import values
from nst_tf.request.networks import NETWORKS
from nst_tf.request.paper import Paper
from nst_tf.request.values import Layers

# What each optimiser understands, with its defaults.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "lbfgs": dict(history="auto", range_weight=1e7),
    "adam": dict(
        learning_rate=0.02, decay=1.0, beta1=0.9, beta2=0.999, epsilon=1e-8
    ),
    "adagrad": dict(
        learning_rate=0.1, decay=1.0, initial_accumulator=0.1, epsilon=1e-7
    ),
    "sgd": dict(learning_rate=1e-6, decay=1.0, momentum=0.9),
}
PAIRS = 10  # that L-BFGS keeps where there is room
# How styles are compared (formulas/statistics.py), and what each way wants.
STATISTICS: dict[str, dict[str, Any]] = {
    "gram": {"pooling": "avg", "tv_weight": 1e6},
    "wasserstein": {"pooling": "max", "tv_weight": 5e6},
}
ALPHA, EVERYWHERE = "alpha", "all"  # masks that are no file
# The options that name pictures, and the words that name none.
PICTURES: dict[str, tuple[str, ...]] = {
    "init": ("content", "noise", "style"),
    "color_image": (),
    "mask": (ALPHA,),
    "content_mask": (EVERYWHERE,),
    "style_mask": (EVERYWHERE,),
    "detail_mask": (),
}
# Long side in pixels of the coarsest size that is chosen for any picture:
# what VGG-19 sees at once is then a large part of it, and strokes are broad.
COARSEST = 256


def by_optimizer(name: str) -> str:
    """An argument's defaults, as "adam 0.02, sgd 1e-06"; '' of no argument."""
    return ", ".join(
        f"{optimizer} {own[name]}"
        if isinstance(own[name], str)
        else f"{optimizer} {own[name]:g}"
        for optimizer, own in OPTIMIZERS.items()
        if name in own
    )


def usual(network: str, statistic: str) -> dict[str, Any]:
    """The options that follow from network and statistic, unless given."""
    content, style = NETWORKS[network].content, NETWORKS[network].style
    if statistic == "wasserstein":  # features are of one size in all layers
        content = dict.fromkeys(content, 1.0)
        shares = [4.0**-depth for depth in range(len(style))]
        style = {
            layer: round(share / sum(shares), 4)
            for layer, share in zip(style, shares, strict=True)
        }
    layers = {"content_layers": content, "style_layers": style}
    return {**layers, **STATISTICS[statistic]}


def steps_at(scale: int, steps: Any) -> Any:
    """Steps at a scale, 0 being the coarsest: fewer where they take longest.

    From the third scale on strokes are laid and only detail is missing.
    `steps` may be an int or an integer tensor.
    """
    return -(-steps // 2 ** max(0, scale - 1))


# What several help texts end in.
_OWN = "; by default the statistic's own"
_LAYERS = ", as NAME[:WEIGHT],...; by default the network's and statistic's"
# The groups: options that an engine is built for, and those that it is fed.
_cost, _optimiser, _network = (
    functools.partial(values.option, group)
    for group in ("costs", "optimiser", "network")
)
_style, _colour, _place, _start, _size = (
    functools.partial(values.option, group, engine=None)
    for group in ("styles", "colours", "places", "start", "size")
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a stylisation; validated, comparable, hashable.

    Raises:
      ValueError: with the option in backticks, what was expected and what
        was received.
    """

    strength: float | None = _cost(
        None,
        "how much of the painting, between 0 and 1, the same for every pair; "
        "in place of the two weights, which do about what 0.5 does",
        0.01,
        0.99,
        first=True,
        engine=None,
    )
    content_weight: float = _cost(
        10.0, "alpha, weight of the content cost", 0, engine=values.present
    )
    style_weight: float = _cost(
        40.0, "beta, weight of the style cost", 0, engine=values.present
    )
    tv_weight: float = _cost(
        None, "gamma, weight of the total variation" + _OWN, 0, engine=None
    )
    content_layers: Layers = _cost(
        None, "layers of the content" + _LAYERS, read=values.later
    )
    style_layers: Layers = _cost(
        None, "layers of the style" + _LAYERS, read=values.later
    )
    style_statistic: str = _cost(
        "gram",
        "what of the features is style: their Gram matrix, as in the paper; or "
        "mean and covariance, by Wasserstein distance: calmer strokes, truer "
        "colours (--preset=paint adds the scales for it)",
        choices=STATISTICS,
    )
    detail_weight: float = _cost(
        0.0,
        "weight of the photograph's edges and small things, as faces: of the "
        "Laplacian of means over 4 x 4 pixels",
        0,
        engine=values.present,
    )
    style_blend: tuple[float, ...] = _style(
        (), "weights of several styles, as 2,1; else equal", read=values.blend
    )
    style_scale: float = _style(
        1.0,
        "size of the strokes: long side of the style relative to the "
        "result's, or to its own where that is smaller",
        0.01,
        16.0,
        first=True,
    )
    style_scales: tuple[float, ...] = _style(
        (),
        "of several styles, as 1,0.5: factors on --style_scale",
        read=values.style_scales,
    )
    color: str = _colour(
        "style",
        "the style's own; the content's, by mapping the style's to them; or "
        "light and dark alone painted, the content's chroma kept",
        choices=("style", "content", "luminance"),
    )
    color_strength: float | None = _colour(
        None, "how far colours go to those asked for; 1 by default", 0, 1
    )
    color_image: str | None = _colour(
        None, "PATH of a picture to whose colours the style's go"
    )
    mask: str | None = _place(
        None,
        "PATH of a mask as the content lies, or alpha, the content's own: "
        "white is painted, black stays the photograph",
    )
    content_mask: tuple[str, ...] = _place(
        (),
        "PATH of a mask of where a style goes, or all; once for each, in order",
        read=values.paths,
    )
    style_mask: tuple[str, ...] = _place(
        (),
        "PATH of a mask of what of a style counts, or all; once for each",
        read=values.paths,
    )
    detail_mask: str | None = _place(
        None, "PATH of a mask of where --detail_weight counts"
    )
    init: str = _start(
        "content", "what to start from: content, noise, style, or a file's PATH"
    )
    noise: str | None = _start(
        None,
        "kind of noise for --init=noise; uniform by default",
        choices=("uniform", "gaussian"),
    )
    noise_ratio: float | None = _start(
        None, "share of noise for --init=noise; 1 by default", 0, 1
    )
    seed: int = _start(
        0, "seed of all that is random", 0, 2**31 - 1, engine=values.later
    )
    optimizer: str = _optimiser("lbfgs", "how to descend", choices=OPTIMIZERS)
    learning_rate: float | None = _optimiser(
        None, "length of a step", 0, engine=None
    )
    decay: float | None = _optimiser(
        None, "factor on the learning rate at each step", 0, 1
    )
    beta1: float | None = _optimiser(
        None, "decay of the first moment", 0, 0.999999
    )
    beta2: float | None = _optimiser(
        None, "decay of the second moment", 0, 0.999999
    )
    epsilon: float | None = _optimiser(None, "added to the divisor", 0)
    initial_accumulator: float | None = _optimiser(
        None, "start of the sum of squares", 0
    )
    momentum: float | None = _optimiser(
        None, "share of the last step kept", 0, 1
    )
    history: str | int | None = _optimiser(
        None,
        "pairs that model the curvature, 1 to 100; auto: 10, memory allowing",
        read=values.history,
    )
    range_weight: float | None = _optimiser(
        None,
        "weight, times alpha + beta, of values outside [0, 1]; others clip",
        0,
    )
    steps: int = _size(
        100,
        "steps at each of the first two scales; half as many at each further",
        0,
        10**7,
        first=True,
    )
    max_size: int = _size(
        512,
        "long side of the result in pixels; 0: the file's",
        0,
        10**6,
        first=True,
    )
    enlarge: bool = _size(False, "let --max_size enlarge smaller pictures")
    print: str | None = _size(
        None,
        "instead of --max_size: the sheet to fill, as 60x40cm@300dpi or "
        "24x16in@300dpi, turned as the picture is; enlarges",
        read=values.paper,
    )
    scales: str | int | tuple[int, ...] = _size(
        "auto",
        "coarse to fine: how many sizes, each twice the last; or the long "
        "sides to pass through, as 256,512; auto: from about 256 px",
        read=values.scales,
    )
    margin: int = _size(
        8,
        "pixels painted beyond the frame and cut off",
        0,
        16,
        engine=values.later,
    )
    weights: str = _network(
        "auto", "network weights: auto, imagenet, random, or a file's PATH"
    )
    network: str = _network(
        "vgg19", "what looks at the pictures", choices=NETWORKS
    )
    pooling: str = _network(
        None, "how the network halves" + _OWN, choices=("max", "avg")
    )
    precision: str = _network(
        "auto",
        "what the convolutions compute in; auto: bfloat16 where the processor "
        "multiplies it, float16 on a GPU that has that alone, else float32",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
        engine=None,
    )
    tile: str | int = _network(
        "auto",
        "side in pixels of the parts computed one at a time, a multiple of "
        "16; off; auto: what fits into the memory there is",
        read=values.tile,
        engine=None,
    )
    jit: str = _network(
        "auto",
        "compile with XLA, once for each size; auto: no, it seldom pays",
        choices=("auto", "on", "off"),
        engine=None,
    )

    def __post_init__(self):
        values.validate(self)
        self._check_network()
        self._check_optimizer()
        self._check_color()
        self._check_weights()
        for name in ("noise", "noise_ratio"):
            if getattr(self, name) is not None and self.init != "noise":
                raise ValueError(
                    f"`{name}` needs `init` to be noise; "
                    f'received init "{self.init}".'
                )
        if self.print is not None and self.max_size != Options.max_size:
            raise ValueError(
                "`print` says how large the result is, and so does `max_size`; "
                f'received both, print "{self.print}" and max_size '
                f"{self.max_size}. Leave one of them out."
            )
        if self.jit == "on" and isinstance(self.tile, int):
            raise ValueError(
                "`jit` cannot be on with a `tile`: XLA does not compile "
                f"tiles; received tile {self.tile}. Leave one of them out."
            )

    def _check_network(self):
        for name, own in usual(self.network, self.style_statistic).items():
            value = getattr(self, name)
            value = own if value is None else value
            if name.endswith("_layers"):
                try:
                    value = values.parse_layers(value, self.network)
                except ValueError as error:
                    raise ValueError(f"`{name}`: {error}") from None
            object.__setattr__(self, name, value)
        whole = "content_mask", "style_mask", "mask", "tile"
        for name in () if NETWORKS[self.network].tiled else whole:
            if getattr(self, name) not in (None, (), "auto", "off"):
                raise ValueError(
                    f"`{name}` needs a network that pads and halves by twos; "
                    f'received it with network "{self.network}", which looks '
                    "at pictures whole. Leave one of them out."
                )

    def _check_optimizer(self):
        for name in set().union(*OPTIMIZERS.values()):
            users = [key for key, own in OPTIMIZERS.items() if name in own]
            if getattr(self, name) is None or self.optimizer in users:
                continue
            raise ValueError(
                f"`{name}` belongs to {', '.join(users)}; received it "
                f'with optimizer "{self.optimizer}". Leave it out, or '
                f"choose --optimizer={users[0]}."
            )

    def _check_color(self):
        own, image = self.color == "style", self.color_image is not None
        if image and not own:
            raise ValueError(
                "`color_image` says whose colours, and so does `color`; "
                f'received both, color "{self.color}". Give one of them.'
            )
        if self.color_strength is not None and own and not image:
            raise ValueError(
                "`color_strength` needs `color` to be content or "
                'luminance, or a `color_image`; received color "style".'
            )

    def _check_weights(self):
        for name in ("content_weight", "style_weight"):
            value = getattr(self, name)
            if self.strength is not None and value != getattr(Options, name):
                raise ValueError(
                    f"`strength` sets `content_weight` and `style_weight`; "
                    f"received {name} {value:g} beside it. Give the one, or "
                    "the others."
                )
        if not self.content_weight and not self.style_weight:
            raise ValueError(
                "`content_weight` and `style_weight` are both 0: nothing to "
                "optimise towards. Give one of them."
            )
        if self.detail_mask is not None and not self.detail_weight:
            raise ValueError(
                "`detail_mask` needs a `detail_weight`; received none. Give "
                "--detail_weight=1, say."
            )

    def style_scale_of(self, style: int) -> float:
        """The size of the strokes of one of the styles, from 0."""
        return self.style_scale * (self.style_scales or {style: 1.0})[style]

    def color_share(self) -> float:
        """How far colours go from the style's to those asked for, 0 to 1."""
        if self.color == "style" and self.color_image is None:
            return 0.0
        return 1.0 if self.color_strength is None else self.color_strength

    def pictures(self) -> dict[str, str | tuple[str | None, ...]]:
        """The paths of pictures that options name, by the option.

        Of an option that takes several a tuple, None where a word stands.
        """
        found: dict[str, str | tuple[str | None, ...]] = {}
        for name, words in PICTURES.items():
            value = getattr(self, name)
            if isinstance(value, tuple):
                paths = [None if path in words else path for path in value]
                if any(paths):
                    found[name] = tuple(paths)
            elif value is not None and value not in words:
                found[name] = value
        return found

    def picture_paths(self) -> list[str]:
        """All of them in a row."""
        found: list[str] = []
        for value in self.pictures().values():
            paths = value if isinstance(value, tuple) else (value,)
            found += [path for path in paths if path]
        return found

    def optimizer_arguments(self) -> dict[str, Any]:
        """The chosen optimiser's arguments, defaults filled in."""
        own = OPTIMIZERS[self.optimizer]
        given = {name: getattr(self, name) for name in own}
        return own | {n: v for n, v in given.items() if v is not None}

    def used_layers(self) -> tuple[Layers, Layers]:
        """Content's and style's layers; none of a cost without weight."""
        return (
            self.content_layers if self.content_weight else (),
            self.style_layers if self.style_weight else (),
        )

    @property
    def paper(self) -> Paper | None:
        """What it is to be printed on."""
        return None if self.print is None else Paper.parse(self.print)

    @property
    def enlarges(self) -> bool:
        """Whether pictures may become larger than they are."""
        return self.enlarge or self.print is not None

    def factors(self, size: tuple[int, int] | None = None) -> list[float]:
        """How much smaller each scale is than the result, coarse to fine.

        Args:
          size: of the result, pixels; None if it is not known yet.
        """
        long, short = max(size or (512,)), min(size or (512,))
        if isinstance(self.scales, tuple):
            return [long / side for side in self.scales if side < long] + [1.0]
        if isinstance(self.scales, int):
            count = self.scales
        else:
            halvings = int(math.log2(max(1, short / self.smallest)))
            largest = min(values.MOST_SCALES, 1 + halvings)
            count = 1 + round(math.log2(max(1, long / COARSEST)))
            count = max(1, min(count, largest))
        return [2.0**k for k in reversed(range(count))]

    @property
    def smallest(self) -> int:
        """Pixels, the least side of a picture that the network takes."""
        return NETWORKS[self.network].smallest

    def layer_names(self) -> list[str]:
        """All layers that the network will be asked for."""
        return [name for part in self.used_layers() for name, _ in part]

    def built(self) -> "Options":
        """What of them an engine is built for, all else as by default.

        Two runs share an engine if they differ in nothing else.
        """
        own = {
            field.name: field.metadata["engine"](getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.metadata["engine"]
        }
        if self.weights != "random":
            own["seed"] = 0  # of random kernels
        return Options(**own)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` gives the same options back."""
        plain = dataclasses.asdict(self)
        for name in ("content_layers", "style_layers"):
            plain[name] = dict(plain[name])
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in plain.items()
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Options":
        """Options from a mapping; ValueError names an unknown key."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in given:
            if name not in known:
                raise ValueError(
                    f"`{name}` is not an option." + values.suggest(name, known)
                )
        return cls(**given)

    def replace(self, **changes) -> "Options":
        """A copy with some options changed, validated anew.

        Another network looks with layers of its own, unless others than its
        usual ones had been chosen; so does another statistic.
        """
        kept = self.to_dict()
        if {"network", "style_statistic"} & changes.keys():
            own = usual(self.network, self.style_statistic)
            kept = {k: v for k, v in kept.items() if v != own.get(k)}
        return Options.from_dict({**kept, **changes})

    def fingerprint(self) -> str:
        """Hexadecimal sha256 of the options: equal if and only if they are."""
        text = json.dumps(self.to_dict())
        return hashlib.sha256(text.encode()).hexdigest()
