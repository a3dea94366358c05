"""What is typed, read: numbers, layers, paths, each in its own type or refused.

Standard library only.
"""

import dataclasses
import difflib
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nst_tf.request.networks import NETWORKS
from nst_tf.request.paper import Paper

Layers = tuple[tuple[str, float], ...]
SMALLEST = 16  # pixels, the side of what any network takes
MOST_SCALES = 8


def later(value: Any) -> Any:
    """As it is; of layers, which there are depends on the network."""
    return value


def present(weight: float) -> float:
    """1 for any weight but 0."""
    return float(weight > 0)


def option(
    group: str,
    default: Any,
    help_text: str,
    low: float | None = None,
    high: float = math.inf,
    *,
    choices: Iterable[str] = (),
    first: bool = False,
    read: Callable[[Any], Any] | None = None,
    engine: Callable[[Any], Any] | None = later,
) -> Any:
    """A field of a table of options.

    `first` are those that a short help shows; `read` brings what is typed into
    its own type, where default and annotation do not tell it; `engine` is what
    of the value an engine is built for, None if nothing.
    """
    about = dict(group=group, help=help_text, low=low, high=high, first=first)
    kinds = dict(choices=tuple(choices), read=read, engine=engine)
    return dataclasses.field(default=default, metadata={**about, **kinds})


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
    if field.metadata["read"]:
        return field.metadata["read"](value)
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


def suggest(word: str, known: Iterable[str]) -> str:
    """' Did you mean "x"?' with the nearest known word, or ''."""
    close = difflib.get_close_matches(str(word), list(known), 1, 0.6)
    return f' Did you mean "{close[0]}"?' if close else ""


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


def _numbers(value: str | Iterable[float], what: str) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable):
        raise ValueError(f'expected numbers as in 2,1; received "{value}".')
    return tuple(_number(part, what) for part in parts)


def style_scales(value: str | Iterable[float]) -> tuple[float, ...]:
    """Scales of several styles, 0.01 to 16."""
    own = _numbers(value, "a scale")
    for scale in own:
        _check_range("a scale", scale, 0.01, 16)
    return own


def blend(value: str | Iterable[float]) -> tuple[float, ...]:
    """Weights of several styles, not all 0."""
    weights = _numbers(value, "a blend weight")
    for weight in weights:
        _check_range("a blend weight", weight, 0, math.inf)
    if weights and not sum(weights):
        raise ValueError("expected a positive sum; received only zeros.")
    return weights


def _unpathed(value: Any) -> Any:
    """A path as text; anything else as it is."""
    return value.__fspath__() if hasattr(value, "__fspath__") else value


def paths(value: Any) -> tuple[str, ...]:
    """Paths, one for each style."""
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, Iterable):
        found = tuple(map(_unpathed, parts))
        if all(isinstance(path, str) and path for path in found):
            return found
    raise ValueError(f'expected paths, one for each style; received "{value}".')


def scales(value: Any) -> str | int | tuple[int, ...]:
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


def history(value: Any) -> str | int | None:
    """`auto`, or how many pairs."""
    if value is None:
        return None
    wanted = "auto, or a number from 1 to 100"
    return _word_or_whole(value, ("auto",), range(1, 101), wanted)


def tile(value: Any) -> str | int:
    """`auto`, `off`, or a side in pixels."""
    wanted = "auto, off, or a multiple of 16 from 64"
    sides = range(64, sys.maxsize, 16)
    return _word_or_whole(value, ("auto", "off"), sides, wanted)


def _word_or_whole(
    value: Any, words: tuple[str, ...], known: range, wanted: str
) -> str | int:
    if value in words:
        return value
    try:
        number = int(value)
        if number == float(value) and number in known:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f'expected {wanted}; received "{value}".')


def paper(value: Any) -> str | None:
    """A sheet as `Paper` writes it."""
    return None if value is None else str(Paper.parse(value))
