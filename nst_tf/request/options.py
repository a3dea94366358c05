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
    "lbfgs": {"history": "auto", "range_weight": 1e7},
    "adam": {
        "learning_rate": 0.02,
        "decay": 1.0,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
    },
    "adagrad": {
        "learning_rate": 0.1,
        "decay": 1.0,
        "initial_accumulator": 0.1,
        "epsilon": 1e-7,
    },
    "sgd": {"learning_rate": 1e-6, "decay": 1.0, "momentum": 0.9},
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


def _option(
    default,
    group,
    help_text,
    low=None,
    high=None,
    choices=(),
    first=False,
    read=None,
    engine=values.later,
):
    """A field of the table.

    `first` are those that a short help shows; `read` brings what is typed into
    its own type, where default and annotation do not tell it; `engine` is what
    of the value an engine is built for.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "group": group,
            "help": help_text,
            "low": low,
            "high": high,
            "choices": tuple(choices),
            "first": first,
            "read": read,
            "engine": engine,
        },
    )


# Of an option that no engine is built for: it is fed, or decides the inputs.
_fed = functools.partial(_option, engine=None)
_weight, _fed_weight = (
    functools.partial(kind, low=0, high=math.inf) for kind in (_option, _fed)
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a stylisation; validated, comparable, hashable.

    Raises:
      ValueError: with the option in backticks, what was expected and what
        was received.
    """

    # Costs
    strength: float | None = _fed(
        None,
        "costs",
        "how much of the painting, above 0 and below 1, the same for every "
        "pair; in place of the two weights, 0.5 is about what they do",
        0.01,
        0.99,
        first=True,
    )
    content_weight: float = _weight(
        10.0,
        "costs",
        "alpha, the weight of the content cost",
        engine=values.present,
    )
    style_weight: float = _weight(
        40.0,
        "costs",
        "beta, the weight of the style cost",
        engine=values.present,
    )
    tv_weight: float = _fed_weight(
        None,
        "costs",
        "gamma, the weight of the total variation; by default the statistic's "
        "own",
    )
    content_layers: Layers = _option(
        None,
        "costs",
        "layers that hold the content, as NAME[:WEIGHT],...; by default the "
        "network's own, in the statistic's weights",
        read=values.later,
    )
    style_layers: Layers = _option(
        None,
        "costs",
        "layers whose features hold the style, as NAME[:WEIGHT],...; by "
        "default the network's own, in the statistic's weights",
        read=values.later,
    )
    style_statistic: str = _option(
        "gram",
        "costs",
        "what of the features is style: their Gram matrix, as in the paper; or "
        "mean and covariance, by Wasserstein distance: calmer strokes, truer "
        "colours (--preset=paint adds the scales for it)",
        choices=STATISTICS,
    )
    detail_weight: float = _weight(
        0.0,
        "costs",
        "weight of the photograph's edges and small things, as faces: of the "
        "Laplacian of means over 4 x 4 pixels",
        engine=values.present,
    )
    # Styles
    style_blend: tuple[float, ...] = _fed(
        (),
        "styles",
        "weights of several styles, as 2,1; equal by default",
        read=values.blend,
    )
    style_scale: float = _fed(
        1.0,
        "styles",
        "size of the strokes: long side of the style relative to the "
        "result's, or to its own where that is smaller",
        0.01,
        16.0,
        first=True,
    )
    style_scales: tuple[float, ...] = _fed(
        (),
        "styles",
        "of several styles, as 1,0.5: by how much more, or less, than "
        "--style_scale says",
        read=values.style_scales,
    )
    # Colours
    color: str = _fed(
        "style",
        "colours",
        "the style's own; the content's, by mapping the style's to them; or "
        "light and dark alone painted, the content's chroma kept",
        choices=("style", "content", "luminance"),
    )
    color_strength: float | None = _fed(
        None,
        "colours",
        "share of the way from the style's colours to those asked for; 1 by "
        "default",
        0,
        1,
    )
    color_image: str | None = _fed(
        None, "colours", "PATH of a picture to whose colours the style's go"
    )
    # Places
    mask: str | None = _fed(
        None,
        "places",
        "PATH of a mask as the content lies, or alpha, the content's own: "
        "white is painted, black stays the photograph",
    )
    content_mask: tuple[str, ...] = _fed(
        (),
        "places",
        "PATH of a mask of where a style goes, or all; given once for each "
        "style, in their order",
        read=values.paths,
    )
    style_mask: tuple[str, ...] = _fed(
        (),
        "places",
        "PATH of a mask of what part of a style to learn from, or all; given "
        "once for each style",
        read=values.paths,
    )
    detail_mask: str | None = _fed(
        None,
        "places",
        "PATH of a mask of where --detail_weight counts",
    )
    # Start
    init: str = _fed(
        "content",
        "start",
        "picture to start from: content, noise, style, or a file's PATH",
    )
    noise: str | None = _fed(
        None,
        "start",
        "kind of noise for --init=noise; uniform by default",
        choices=("uniform", "gaussian"),
    )
    noise_ratio: float | None = _fed(
        None,
        "start",
        "share of noise for --init=noise, the rest is content; 1 by default",
        0,
        1,
    )
    seed: int = _option(0, "start", "seed of all that is random", 0, 2**31 - 1)
    # Optimiser
    optimizer: str = _option(
        "lbfgs", "optimiser", "how to descend", choices=OPTIMIZERS
    )
    learning_rate: float | None = _fed_weight(
        None, "optimiser", "length of a step (adam, adagrad, sgd)"
    )
    decay: float | None = _option(
        None,
        "optimiser",
        "factor on the learning rate at each step (adam, adagrad, sgd)",
        0,
        1,
    )
    beta1: float | None = _option(
        None, "optimiser", "decay of the first moment (adam)", 0, 0.999999
    )
    beta2: float | None = _option(
        None, "optimiser", "decay of the second moment (adam)", 0, 0.999999
    )
    epsilon: float | None = _weight(
        None, "optimiser", "added to the divisor (adam, adagrad)"
    )
    initial_accumulator: float | None = _weight(
        None, "optimiser", "start of the sum of squares (adagrad)"
    )
    momentum: float | None = _option(
        None, "optimiser", "share of the last step kept (sgd)", 0, 1
    )
    history: str | int | None = _option(
        None,
        "optimiser",
        "pairs that model the curvature, 1 to 100; auto: 10, fewer where they "
        "would take too much memory (lbfgs)",
        read=values.history,
    )
    range_weight: float | None = _weight(
        None,
        "optimiser",
        "weight, times alpha + beta, of values outside [0, 1], which no file "
        "holds (lbfgs; the others clip)",
    )
    # Size
    steps: int = _fed(
        100,
        "size",
        "steps at each of the first two scales, one evaluation each; half as "
        "many at each further one",
        0,
        10**7,
        first=True,
    )
    max_size: int = _fed(
        512,
        "size",
        "long side of the result in pixels; 0: the file's",
        0,
        10**6,
        first=True,
    )
    enlarge: bool = _fed(
        False, "size", "let --max_size enlarge smaller pictures"
    )
    print: str | None = _fed(
        None,
        "size",
        "instead of --max_size: the sheet to fill, as 60x40cm@300dpi or "
        "24x16in@300dpi, turned as the picture is; enlarges",
        read=values.paper,
    )
    scales: str | int | tuple[int, ...] = _fed(
        "auto",
        "size",
        "coarse to fine: how many sizes, each twice the last; or the long "
        "sides to pass through, as 256,512; auto: from about 256 px",
        read=values.scales,
    )
    margin: int = _option(
        8, "size", "pixels painted beyond the frame and cut off", 0, 16
    )
    # Network
    weights: str = _option(
        "auto",
        "network",
        "the network's weights: auto, imagenet, random, or a file's PATH",
    )
    network: str = _option(
        "vgg19",
        "network",
        "what looks at the pictures",
        choices=NETWORKS,
    )
    pooling: str = _option(
        None,
        "network",
        "how the network halves; by default the statistic's own",
        choices=("max", "avg"),
    )
    precision: str = _fed(
        "auto",
        "network",
        "what the convolutions compute in; auto: bfloat16 where the processor "
        "multiplies it, float16 on a GPU that has that alone, else float32",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    tile: str | int = _fed(
        "auto",
        "network",
        "side in pixels of the parts computed one at a time, a multiple of "
        "16; off; auto: what fits into the memory there is",
        read=values.tile,
    )
    jit: str = _fed(
        "auto",
        "network",
        "compile with XLA, once for each size; auto: no, it takes longer than "
        "usual runs gain",
        choices=("auto", "on", "off"),
    )

    def __post_init__(self):
        values.validate(self)
        self._check_network()
        self._check_optimizer()
        if self.init != "noise":
            for name in ("noise", "noise_ratio"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"`{name}` needs `init` to be noise; "
                        f'received init "{self.init}".'
                    )
        self._check_color()
        if self.print is not None and self.max_size != Options.max_size:
            raise ValueError(
                "`print` says how large the result is, and so does `max_size`; "
                f'received both, print "{self.print}" and max_size '
                f"{self.max_size}. Leave one of them out."
            )
        self._check_weights()
        if not self.content_weight and not self.style_weight:
            raise ValueError(
                "`content_weight` and `style_weight` are both 0: nothing to "
                "optimise towards. Give one of them."
            )

        if self.jit == "on" and isinstance(self.tile, int):
            raise ValueError(
                "`jit` cannot be on with a `tile`: XLA does not compile "
                f"tiles; received tile {self.tile}. Leave one of them out."
            )

    def _check_network(self):
        for name, value in usual(self.network, self.style_statistic).items():
            given = getattr(self, name)
            value = value if given is None else given
            if name.endswith("_layers"):
                try:
                    value = values.parse_layers(value, self.network)
                except ValueError as error:
                    raise ValueError(f"`{name}`: {error}") from None
            object.__setattr__(self, name, value)
        if NETWORKS[self.network].tiled:
            return
        tile = self.tile if isinstance(self.tile, int) else None
        for name, given in (
            ("tile", tile),
            ("mask", self.mask),
            ("content_mask", self.content_mask),
            ("style_mask", self.style_mask),
        ):
            if given:
                raise ValueError(
                    f"`{name}` needs a network that pads and halves by twos; "
                    f'received it with network "{self.network}", which looks '
                    "at pictures whole. Leave one of them out."
                )

    def _check_optimizer(self):
        for name in set().union(*OPTIMIZERS.values()):
            if getattr(self, name) is None:
                continue
            if name not in OPTIMIZERS[self.optimizer]:
                users = [key for key, own in OPTIMIZERS.items() if name in own]
                raise ValueError(
                    f"`{name}` belongs to {', '.join(users)}; received it "
                    f'with optimizer "{self.optimizer}". Leave it out, or '
                    f"choose --optimizer={users[0]}."
                )

    def _check_color(self):
        if self.color_image is None and self.color == "style":
            if self.color_strength is not None:
                raise ValueError(
                    "`color_strength` needs `color` to be content or "
                    'luminance, or a `color_image`; received color "style".'
                )
        elif self.color_image is not None and self.color != "style":
            raise ValueError(
                "`color_image` says whose colours, and so does `color`; "
                f'received both, color "{self.color}". Give one of them.'
            )

    def _check_weights(self):
        for name in ("content_weight", "style_weight"):
            default = type(self).__dataclass_fields__[name].default
            value = getattr(self, name)
            if self.strength is not None and value != default:
                raise ValueError(
                    f"`strength` sets `content_weight` and `style_weight`; "
                    f"received {name} {value:g} beside it. Give the one, or "
                    "the others."
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
        return {
            name: default
            if getattr(self, name) is None
            else getattr(self, name)
            for name, default in OPTIMIZERS[self.optimizer].items()
        }

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
        if self.weights not in ("auto", "random"):
            own["seed"] = 0  # of random kernels
        return Options(**own)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` gives the same options back."""
        plain = dataclasses.asdict(self)
        for name in ("content_layers", "style_layers"):
            plain[name] = dict(plain[name])
        for name, value in plain.items():
            if isinstance(value, tuple):
                plain[name] = list(value)
        return plain

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
