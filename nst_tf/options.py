"""Everything that decides the result of a stylisation, in one frozen table.

Flags, presets, metadata and documentation derive from the fields below:
name, default, group, help and bounds are said once. Standard library only.
"""

import dataclasses
import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from nst_tf.networks import NETWORKS
from nst_tf.paper import Paper

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
STATISTICS = "gram", "wasserstein"  # see formulas/statistics.py
Layers = tuple[tuple[str, float], ...]
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
SMALLEST = 16  # pixels, the side of what any network takes
MOST_SCALES = 8


def suggest(word: str, known: Iterable[str]) -> str:
    """' Did you mean "x"?' with the nearest known word, or ''."""
    close = difflib.get_close_matches(str(word), list(known), 1, 0.6)
    return f' Did you mean "{close[0]}"?' if close else ""


def steps_at(scale: int, steps: Any) -> Any:
    """Steps at a scale, 0 being the coarsest: fewer where they take longest.

    From the third scale on strokes are laid and only detail is missing.
    `steps` may be an int or an integer tensor.
    """
    return -(-steps // 2 ** max(0, scale - 1))


def layer_name(name: str, network: str = "vgg19") -> str:
    """`conv4_2` or `relu4_2` -> `block4_conv2`; ValueError if unknown."""
    title, layers, content, style, *_ = NETWORKS[network]
    canonical = str(name).strip().lower()
    for prefix in ("conv", "relu"):
        if canonical.startswith(prefix) and "_" in canonical:
            block, _, conv = canonical[len(prefix) :].partition("_")
            canonical = f"block{block}_conv{conv}"
    if canonical not in layers:
        raise ValueError(
            f"a layer should be one of {title}'s, {layers[0]} to "
            f'{layers[-1]}; received "{name}".'
            + (
                suggest(canonical, layers)
                or f" Usual are {', '.join([*content, *style])}."
            )
        )
    return canonical


def _number(value: Any, what: str) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f'{what} should be a number; received "{value}".'
        ) from None
    if not math.isfinite(number):
        raise ValueError(f"{what} should be finite; received {value}.")
    return number + 0.0  # -0.0 is 0.0


def _check_range(what: str, number: float, low: float, high: float) -> None:
    if low <= number <= high:
        return
    bounds = f"{low:.12g} to {high:.12g}"
    if high == math.inf:
        bounds = f"at least {low:.12g}"
    raise ValueError(f"{what} should be {bounds}; received {number:.12g}.")


def parse_layers(
    value: str | Mapping[str, float] | Iterable, network: str = "vgg19"
) -> Layers:
    """`"conv1_1:0.2,conv2_1"` or a mapping -> `((name, weight), ...)`.

    A layer without a weight gets an equal share, 1 / number of layers.
    """
    if isinstance(value, str):
        parts = [part.partition(":") for part in value.split(",")]
        pairs: list = [(name, weight or None) for name, _, weight in parts]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        pairs = _pairs(value)
    if not pairs:
        raise ValueError("give at least one layer; received none.")
    layers: list[tuple[str, float]] = []
    for name, weight in pairs:
        layer = layer_name(name, network)
        if layer in dict(layers):
            raise ValueError(f'give each layer once; "{layer}" came twice.')
        share = 1 / len(pairs) if weight is None else _number(weight, layer)
        _check_range(f"the weight of {layer}", share, 0, math.inf)
        layers.append((layer, share))
    return tuple(layers)


def _pairs(value: Iterable) -> list:
    try:
        pairs = [(p, None) if isinstance(p, str) else p for p in value]
        return [(name, weight) for name, weight in pairs]
    except (TypeError, ValueError):
        raise ValueError(
            "expected NAME[:WEIGHT],... or pairs of a name and a weight; "
            f'received "{value}".'
        ) from None


def _option(
    default, group, help_text, low=None, high=None, choices=(), first=False
):
    """A field; `first` are those that a short help shows."""
    return dataclasses.field(
        default=default,
        metadata={
            "group": group,
            "help": help_text,
            "low": low,
            "high": high,
            "choices": tuple(choices),
            "first": first,
        },
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a stylisation; validated, comparable, hashable.

    Raises:
      ValueError: with the option in backticks, what was expected and what
        was received.
    """

    # Costs
    strength: float | None = _option(
        None,
        "costs",
        "how much of the painting, above 0 and below 1, the same for every "
        "pair; in place of the two weights, 0.5 is about what they do",
        0.01,
        0.99,
        first=True,
    )
    content_weight: float = _option(
        10.0,
        "costs",
        "alpha, the weight of the content cost",
        0,
        math.inf,
    )
    style_weight: float = _option(
        40.0,
        "costs",
        "beta, the weight of the style cost",
        0,
        math.inf,
    )
    tv_weight: float = _option(
        3e5, "costs", "gamma, the weight of the total variation", 0, math.inf
    )
    content_layers: Layers = _option(
        None,
        "costs",
        "layers that hold the content, as NAME[:WEIGHT],...; by default the "
        "network's own",
    )
    style_layers: Layers = _option(
        None,
        "costs",
        "layers whose Gram matrices hold the style, as NAME[:WEIGHT],...; by "
        "default the network's own",
    )
    style_statistic: str = _option(
        "gram",
        "costs",
        "what of the features is style: their Gram matrix, as in the paper; or "
        "mean and covariance, by Wasserstein distance: calmer strokes, truer "
        "colours (--preset=paint has the weights for it)",
        choices=STATISTICS,
    )
    detail_weight: float = _option(
        0.0,
        "costs",
        "weight of the photograph's edges and small things, as faces: of the "
        "Laplacian of means over 4 x 4 pixels",
        0,
        math.inf,
    )
    # Styles
    style_blend: tuple[float, ...] = _option(
        (), "styles", "weights of several styles, as 2,1; equal by default"
    )
    style_scale: float = _option(
        1.0,
        "styles",
        "size of the strokes: long side of the style relative to the "
        "result's, or to its own where that is smaller",
        0.01,
        16.0,
        first=True,
    )
    style_scales: tuple[float, ...] = _option(
        (),
        "styles",
        "of several styles, as 1,0.5: by how much more, or less, than "
        "--style_scale says",
    )
    # Colours
    color: str = _option(
        "style",
        "colours",
        "the style's own; the content's, by mapping the style's to them; or "
        "light and dark alone painted, the content's chroma kept",
        choices=("style", "content", "luminance"),
    )
    color_strength: float | None = _option(
        None,
        "colours",
        "share of the way from the style's colours to those asked for; 1 by "
        "default",
        0,
        1,
    )
    color_image: str | None = _option(
        None, "colours", "PATH of a picture to whose colours the style's go"
    )
    # Places
    mask: str | None = _option(
        None,
        "places",
        "PATH of a mask as the content lies, or alpha, the content's own: "
        "white is painted, black stays the photograph",
    )
    content_mask: tuple[str, ...] = _option(
        (),
        "places",
        "PATH of a mask of where a style goes, or all; given once for each "
        "style, in their order",
    )
    style_mask: tuple[str, ...] = _option(
        (),
        "places",
        "PATH of a mask of what part of a style to learn from, or all; given "
        "once for each style",
    )
    detail_mask: str | None = _option(
        None,
        "places",
        "PATH of a mask of where --detail_weight counts",
    )
    # Start
    init: str = _option(
        "content",
        "start",
        "picture to start from: content, noise, style, or a file's PATH",
    )
    noise: str | None = _option(
        None,
        "start",
        "kind of noise for --init=noise; uniform by default",
        choices=("uniform", "gaussian"),
    )
    noise_ratio: float | None = _option(
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
    learning_rate: float | None = _option(
        None, "optimiser", "length of a step (adam, adagrad, sgd)", 0, math.inf
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
    epsilon: float | None = _option(
        None, "optimiser", "added to the divisor (adam, adagrad)", 0, math.inf
    )
    initial_accumulator: float | None = _option(
        None, "optimiser", "start of the sum of squares (adagrad)", 0, math.inf
    )
    momentum: float | None = _option(
        None, "optimiser", "share of the last step kept (sgd)", 0, 1
    )
    history: str | int | None = _option(
        None,
        "optimiser",
        "pairs that model the curvature, 1 to 100; auto: 10, fewer where they "
        "would take too much memory (lbfgs)",
    )
    range_weight: float | None = _option(
        None,
        "optimiser",
        "weight, times alpha + beta, of values outside [0, 1], which no file "
        "holds (lbfgs; the others clip)",
        0,
        math.inf,
    )
    # Size
    steps: int = _option(
        100,
        "size",
        "steps at each of the first two scales, one evaluation each; half as "
        "many at each further one",
        0,
        10**7,
        first=True,
    )
    max_size: int = _option(
        512,
        "size",
        "long side of the result in pixels; 0: the file's",
        0,
        10**6,
        first=True,
    )
    enlarge: bool = _option(
        False, "size", "let --max_size enlarge smaller pictures"
    )
    print: str | None = _option(
        None,
        "size",
        "instead of --max_size: the sheet to fill, as 60x40cm@300dpi or "
        "24x16in@300dpi, turned as the picture is; enlarges",
    )
    scales: str | int | tuple[int, ...] = _option(
        "auto",
        "size",
        "coarse to fine: how many sizes, each twice the last; or the long "
        "sides to pass through, as 256,512; auto: from about 256 px",
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
        "avg", "network", "how the network halves", choices=("max", "avg")
    )
    precision: str = _option(
        "auto",
        "network",
        "what the convolutions compute in; auto: mixed_bfloat16 where the "
        "processor multiplies it, float32 elsewhere and in an export",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    tile: str | int = _option(
        "auto",
        "network",
        "side in pixels of the parts computed one at a time, a multiple of "
        "16; off; auto: what fits into the memory there is",
    )
    jit: str = _option(
        "auto",
        "network",
        "compile with XLA, once for each size; auto: no, it takes longer than "
        "usual runs gain",
        choices=("auto", "on", "off"),
    )

    def __post_init__(self):
        validate(self)
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
        own = NETWORKS[self.network]
        for name, usual in (
            ("content_layers", own.content),
            ("style_layers", own.style),
        ):
            given = getattr(self, name)
            try:
                layers = parse_layers(
                    usual if given is None else given, self.network
                )
            except ValueError as error:
                raise ValueError(f"`{name}`: {error}") from None
            object.__setattr__(self, name, layers)
        if self.style_statistic not in own.statistics:
            known = [
                name
                for name, other in NETWORKS.items()
                if self.style_statistic in other.statistics
            ]
            raise ValueError(
                f"`style_statistic` {self.style_statistic} needs to know how "
                "large features usually are, as it is known of "
                f'{", ".join(known)}; received network "{self.network}". '
                "Leave one of them out."
            )
        if own.tiled:
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
            largest = min(MOST_SCALES, 1 + halvings)
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

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` gives the same options back."""
        values = dataclasses.asdict(self)
        for name in ("content_layers", "style_layers"):
            values[name] = dict(values[name])
        for name, value in values.items():
            if isinstance(value, tuple):
                values[name] = list(value)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Options":
        """Options from a mapping; ValueError names an unknown key."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(
                    f"`{name}` is not an option." + suggest(name, known)
                )
        return cls(**values)

    def replace(self, **changes) -> "Options":
        """A copy with some options changed, validated anew.

        Another network looks with layers of its own, unless others than its
        usual ones had been chosen.
        """
        kept, own = self.to_dict(), NETWORKS[self.network]
        if "network" in changes:
            usual = {"content_layers": own.content, "style_layers": own.style}
            kept = {k: v for k, v in kept.items() if v != usual.get(k)}
        return Options.from_dict({**kept, **changes})

    def fingerprint(self) -> str:
        """Hexadecimal sha256 of the options: equal if and only if they are."""
        text = json.dumps(self.to_dict())
        return hashlib.sha256(text.encode()).hexdigest()


def validate(options: Any) -> None:
    """Brings each field of a table like this one into its own type.

    Raises:
      ValueError: with the option in backticks, what was expected and what
        was received.
    """
    for field in dataclasses.fields(options):
        try:
            value = _validated(field, getattr(options, field.name))
        except ValueError as error:
            raise ValueError(f"`{field.name}`: {error}") from None
        object.__setattr__(options, field.name, value)


def _validated(field: dataclasses.Field, value: Any) -> Any:
    """One option's value in its own type, or ValueError."""
    if field.name.endswith("_layers"):
        return value  # what there is depends on the network
    if field.name == "style_blend":
        return _blend(value)
    if field.name == "style_scales":
        return _style_scales(value)
    if field.name in ("content_mask", "style_mask"):
        return _paths(value)
    if field.name == "scales":
        return _scales(value)
    if field.name == "tile":
        return _tile(value)
    if field.name == "history":
        return _history(value)
    if field.name == "print":
        return None if value is None else str(Paper.parse(value))
    value = _unpathed(value)
    choices = field.metadata["choices"]
    optional = field.default is None
    if optional and value is None:
        return None
    if choices:
        if value not in choices:
            raise ValueError(
                f"expected one of {', '.join(choices)}; "
                f'received "{value}".' + suggest(value, choices)
            )
        return value
    if isinstance(field.default, bool):
        if not isinstance(value, bool):
            raise ValueError(f'expected true or false; received "{value}".')
        return value
    if "str" in str(field.type):
        if not isinstance(value, str) or not value:
            raise ValueError(f'expected a word or a path; received "{value}".')
        return value
    number = _number(value, "it")
    if "int" in str(field.type):
        if number != int(number):
            raise ValueError(f"expected a whole number; received {value}.")
        number = int(number)
    low, high = field.metadata["low"], field.metadata["high"]
    _check_range("it", number, low, high)
    return number


def _numbers(value: str | Iterable[float], what: str) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable):
        raise ValueError(f'expected numbers as in 2,1; received "{value}".')
    return tuple(_number(part, what) for part in parts)


def _style_scales(value: str | Iterable[float]) -> tuple[float, ...]:
    scales = _numbers(value, "a scale")
    for scale in scales:
        _check_range("a scale", scale, 0.01, 16)
    return scales


def _blend(value: str | Iterable[float]) -> tuple[float, ...]:
    blend = _numbers(value, "a blend weight")
    for weight in blend:
        _check_range("a blend weight", weight, 0, math.inf)
    if blend and not sum(blend):
        raise ValueError("expected a positive sum; received only zeros.")
    return blend


def _unpathed(value: Any) -> Any:
    """A path as text; anything else as it is."""
    return value.__fspath__() if hasattr(value, "__fspath__") else value


def _paths(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, Iterable):
        paths = tuple(map(_unpathed, parts))
        if all(isinstance(path, str) and path for path in paths):
            return paths
    raise ValueError(f'expected paths, one for each style; received "{value}".')


def _scales(value: Any) -> str | int | tuple[int, ...]:
    """`auto`, a count, or ascending long sides; no side is under 16."""
    if value == "auto":
        return value
    many = isinstance(value, str | Iterable)
    parts = str(value).split(",") if isinstance(value, str) else value
    try:
        numbers = [int(part) for part in (parts if many else [value])]
        exact = numbers == [float(p) for p in (parts if many else [value])]
    except (TypeError, ValueError, OverflowError):
        numbers, exact = [], False
    if exact and len(numbers) == 1 and 1 <= numbers[0] <= MOST_SCALES:
        return numbers[0]
    rising = sorted(set(numbers)) == numbers and len(numbers) < MOST_SCALES
    if exact and rising and numbers and numbers[0] >= SMALLEST:
        return tuple(numbers)
    raise ValueError(
        f"expected auto, a number from 1 to {MOST_SCALES}, or rising long "
        f'sides of at least {SMALLEST} pixels, as 256,512; received "{value}".'
    )


def _history(value: Any) -> str | int | None:
    if value in (None, "auto"):
        return value
    try:
        pairs = int(value)
        if pairs == float(value) and 1 <= pairs <= 100:
            return pairs
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(
        f'expected auto, or a number from 1 to 100; received "{value}".'
    )


def _tile(value: Any) -> str | int:
    if value in ("auto", "off"):
        return value
    try:
        side = int(value)
        if side == float(value) and side >= 64 and side % 16 == 0:
            return side
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(
        f'expected auto, off, or a multiple of 16 from 64; received "{value}".'
    )
