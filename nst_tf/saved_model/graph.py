"""What a call to the SavedModel computes, traced into it.

Pictures and numbers are checked inside the graph, where an error reaches
whoever calls, through whatever door. The optimisation itself is
`Transfer.snapshots`, the generator that the command line runs. Pure
TensorFlow: no I/O.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nst_tf.engine import coloring, transfer
from nst_tf.request.options import Options, steps_at

LONGEST = 10**7  # steps, where --max_steps does not say
WEIGHTS = "content_weight", "style_weight", "tv_weight", "detail_weight"
RGB = tf.TensorSpec([None, None, 3], tf.uint8)
Tensors = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
    """What is fixed at export.

    Attributes:
      options: of the stylisation; those in `numbers` are mere defaults.
      styles: how many styles a call takes.
      reports: rows of costs for each scale, the first at step 0.
      weights_dtype: how the kernels are stored, float32 or float16.
      max_pixels: a picture with more is refused; 0: any number.
      max_steps: a call for more is refused.

    Raises:
      ValueError: what cannot be exported.
    """

    options: Options
    styles: int = 1
    reports: int = 11
    weights_dtype: str = "float32"
    max_pixels: int = 0
    max_steps: int = LONGEST

    def __post_init__(self):
        for name, low, high in (
            ("styles", 1, 16),
            ("reports", 2, 101),
            ("max_pixels", 0, 2**31 - 1),
            ("max_steps", 0, LONGEST),
        ):
            value = _whole(name, getattr(self, name), low, high)
            object.__setattr__(self, name, value)
        if self.weights_dtype not in ("float32", "float16"):
            raise ValueError(
                "`weights_dtype` should be float32 or float16; received "
                f'"{self.weights_dtype}".'
            )
        _check_options(self.options, self.styles, self.max_steps)

    @property
    def names(self) -> list[str]:
        """The inputs that are pictures: the content, then the styles."""
        many = [f"style_{k + 1}" for k in range(self.styles)]
        return ["content", *(many if self.styles > 1 else ["style"])]

    def numbers(self) -> Tensors:
        """The inputs that are numbers, those with an effect: their defaults."""
        options = self.options
        numbers = {"steps": tf.constant(options.steps)}
        for name in WEIGHTS:
            set_by_strength = name == "content_weight" and options.strength
            if getattr(options, name) and not set_by_strength:
                numbers[name] = tf.constant(getattr(options, name), tf.float32)
        rate = options.optimizer_arguments().get("learning_rate")
        if rate is not None:
            numbers["learning_rate"] = tf.constant(rate, tf.float32)
        if self.styles > 1:
            blend = options.style_blend or (1.0,) * self.styles
            numbers["style_blend"] = tf.constant(blend, tf.float32)
        if options.init == "noise":
            numbers["seed"] = tf.constant(options.seed)
        return numbers


def stylize(
    design: Design, engine: transfer.Transfer, given: Tensors
) -> Tensors:
    """Pictures and numbers in; the image and k rows of reports out."""
    given = _checked(design, given)
    photograph, styles = _pictures(design, given)
    content, styles = coloring.seen(photograph, styles, design.options)
    steps, image = given["steps"], content
    costs: list[tf.Tensor] = []
    counts: list[tf.Tensor] = []
    for snapshot in engine.snapshots(
        content,
        styles,
        given.get("style_blend", [1.0]),
        _first_image(design.options, content, styles, given.get("seed")),
        _weights(given),
        lambda scale: [steps_at(scale, steps)],
        design.options.factors(),
        advance=_in_parts(engine.advance, design.reports - 1, costs, counts),
        strength=design.options.strength,
    ):
        image = snapshot.image
        if len(costs) == 2 * snapshot.scale:  # step 0
            costs.append(_row(snapshot.costs)[None])
            counts.append(snapshot.step[None])
    image = coloring.shown(image, photograph, design.options)
    before = tf.zeros([], tf.int32)
    for scale in range(len(counts) // 2):
        for k in (2 * scale, 2 * scale + 1):
            counts[k] += before
        before += steps_at(scale, steps)
    return {
        "image": tf.cast(tf.round(image[0] * 255.0), tf.uint8),
        "costs": tf.concat(costs, 0),
        "step": tf.concat(counts, 0),
    }


def _in_parts(advance: Callable, parts: int, costs: list, counts: list):
    """The same `advance` with reports on the way, appended to the lists.

    A loop in the graph: as many calls in a row would be as many copies of
    the optimiser there, and cost TensorFlow seconds each on the first call.
    """

    def reported(state, targets, numbers, until):
        def one(part, state, rows, steps):
            goal = until * (part + 1) // parts
            state = advance(state, targets, numbers, goal)
            rows = rows.write(part, _row(state.best_costs))
            return part + 1, state, rows, steps.write(part, state.step)

        rows = tf.TensorArray(tf.float32, parts, element_shape=[3])
        steps = tf.TensorArray(tf.int32, parts, element_shape=[])
        _, state, rows, steps = tf.while_loop(
            lambda part, *_: part < parts,
            one,
            (0, state, rows, steps),
            parallel_iterations=1,
        )
        costs.append(rows.stack())
        counts.append(steps.stack())
        return state

    return reported


def _row(costs: transfer.Costs) -> tf.Tensor:
    return tf.stack([costs.total, costs.content, costs.style])


def costs(design: Design, engine: transfer.Transfer, given: Tensors) -> Tensors:
    """The cost terms of `image`: unweighted scalars but for `total`."""
    given = _checked(design, given)
    content, styles = _pictures(design, given)
    image = picture(design, "image", given["image"])
    same = tf.reduce_all(tf.equal(tf.shape(image), tf.shape(content)))
    message = "`image` should have the height and width of `content`"
    with _required((same, message, tf.shape(image)[1:3])):
        image = coloring.paled(tf.identity(image), design.options)
    content, styles = coloring.seen(content, styles, design.options)
    targets = engine.objective.targets(
        content, styles, given.get("style_blend", [1.0])
    )
    costs = engine.objective.costs(image, targets, _weights(given))
    terms = costs._asdict()
    for layer, cost in terms.pop("style_layers").items():
        terms[f"style_{layer}"] = cost
    return terms


def _weights(given: Tensors) -> transfer.Numbers:
    fields = transfer.Numbers._fields
    return transfer.Numbers(*[given.get(name, 0.0) for name in fields])


def _required(*conditions: tuple[tf.Tensor, str, tf.Tensor]):
    """A context: nothing in it is computed unless all conditions hold."""
    return tf.control_dependencies(
        [
            tf.debugging.Assert(met, [f"{message}; received", value], 16)
            for met, message, value in conditions
        ]
    )


def _checked(design: Design, given: Tensors) -> Tensors:
    """The same inputs, computed only if their numbers make sense."""
    conditions = []
    for name in given.keys() & design.numbers().keys() - {"seed"}:
        value = given[name]
        if name == "steps":
            met = (value >= 0) & (value <= design.max_steps)
            message = f"`steps` should be 0 to {design.max_steps}"
        else:
            met = tf.reduce_all(tf.math.is_finite(value) & (value >= 0))
            message = f"`{name}` should be finite and at least 0"
        conditions.append((met, message, value))
    if "style_blend" in given:
        blend = given["style_blend"]
        met = tf.equal(tf.size(blend), design.styles) & (
            tf.reduce_sum(blend) > 0
        )
        message = (
            "`style_blend` should have a weight for each of the "
            f"{design.styles} styles exported, not all 0"
        )
        conditions.append((met, message, blend))
    with _required(*conditions):
        return {name: tf.identity(value) for name, value in given.items()}


def picture(design: Design, name: str, image: tf.Tensor) -> tf.Tensor:
    """uint8 [h, w, 3], checked -> float32 [1, h, w, 3] in [0, 1]."""
    # Grappler would believe the signature and fold an Assert of the shape.
    image = tf.ensure_shape(image, RGB.shape, name=name)
    size = tf.shape(image)[:2]
    pixels = tf.reduce_prod(tf.cast(size, tf.int64))
    conditions = [(pixels > 0, f"`{name}` should not be empty", size)]
    if design.max_pixels:
        message = f"`{name}` should have at most {design.max_pixels} pixels"
        conditions.append((pixels <= design.max_pixels, message, size))
    with _required(*conditions):
        return tf.cast(image, tf.float32)[None] / 255.0


def _pictures(
    design: Design, given: Tensors
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The content and the styles, each of the size to be used."""
    factors = design.options.factors()
    smallest = int(design.options.smallest * factors[0])
    pictures = {n: picture(design, n, given[n]) for n in design.names}
    size = tf.shape(pictures["content"])[1:3]
    for k, name in enumerate(design.names[1:]):
        pictures[name] = _fitted(pictures[name], size, design.options, k)
    for name in design.names:
        size = tf.shape(pictures[name])[1:3]
        message = (
            f"`{name}` should be at least {smallest} x {smallest} pixels "
            f"(height and width as used, at {len(factors)} scales)"
        )
        with _required((tf.reduce_min(size) >= smallest, message, size)):
            pictures[name] = tf.identity(pictures[name])
    content, *styles = pictures.values()
    return content, styles


def _fitted(style: tf.Tensor, content, options: Options, which: int):
    """The style as it is used beside a content of [h, w] `content`."""
    size = tf.shape(style)[1:3]
    fitted = _fitted_size(size, content, options, which)
    return tf.cond(
        tf.reduce_all(tf.equal(size, fitted)),
        lambda: style,
        lambda: transfer.resize(style, fitted),
    )


def _fitted_size(style: tf.Tensor, content, options: Options, which: int = 0):
    """`sources.style_size` of tensors."""
    size = tf.cast(style, tf.int64)
    long, usual = tf.reduce_max(size), tf.reduce_max(tf.cast(content, tf.int64))
    if not options.enlarge:
        usual = tf.minimum(usual, long)
    wanted = tf.cast(usual, tf.float64) * options.style_scale_of(which)
    wanted = tf.cast(tf.round(wanted), tf.int64)
    wanted = tf.maximum(wanted, tf.minimum(usual, options.smallest))
    fitted = tf.maximum((2 * size * wanted + long) // (2 * long), 1)
    return tf.cast(fitted, tf.int32)


def _first_image(options: Options, content, styles, seed) -> tf.Tensor:
    """Where the coarsest scale starts, [1, h, w, 3] of its size."""
    small = transfer.shrink(content, options.factors()[0])
    if options.init == "content":
        return small
    if options.init == "style":
        cover = _cover(styles[0], tf.shape(content)[1:3])
        return transfer.resize(cover, tf.shape(small)[1:3])
    seeds = tf.stack([seed, 0])
    if options.noise == "gaussian":
        noise = tf.random.stateless_normal(tf.shape(small), seeds, 0.5, 0.25)
        noise = tf.clip_by_value(noise, 0.0, 1.0)
    else:
        noise = tf.random.stateless_uniform(tf.shape(small), seeds)
    noise = coloring.paled(noise, options)
    ratio = 1.0 if options.noise_ratio is None else options.noise_ratio
    return ratio * noise + (1 - ratio) * small


def _cover(image: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The largest centred part of the image with the aspect of `size`."""
    whole = tf.shape(image)[1:3]
    scale = tf.reduce_min(whole / size)
    part = tf.cast(tf.round(tf.cast(size, tf.float64) * scale), tf.int32)
    begin = (whole - part) // 2
    return tf.slice(
        image,
        tf.concat([[0], begin, [0]], 0),
        tf.concat([[1], part, [3]], 0),
    )


def decoded(name: str, data: tf.Tensor) -> tf.Tensor:
    """Bytes of a picture file -> uint8 [h, w, 3], over white."""
    with tf.name_scope(f"{name}_bytes"):  # what an error names
        image = tf.io.decode_image(data, expand_animations=False)
    channels = tf.shape(image)[2]
    colours = 3 * (channels // 3) + (1 - channels // 3)  # 1 1 3 3 of 1 2 3 4
    # The fourth channel of a BMP is padding as a rule.
    bmp = tf.strings.substr(data, 0, 2) == b"BM"
    opaque = bmp | tf.equal(channels, colours)

    def over_white():
        rgb, alpha = tf.split(tf.cast(image, tf.float32), [colours, 1], 2)
        rgb = 255.0 + (rgb - 255.0) * alpha / 255.0
        return tf.cast(tf.round(rgb), tf.uint8)

    rgb = tf.cond(opaque, lambda: image[..., :colours], over_white)
    shape = tf.concat([tf.shape(image)[:2], [3]], 0)
    return tf.ensure_shape(tf.broadcast_to(rgb, shape), RGB.shape)


def _whole(name: str, value: Any, low: int, high: int) -> int:
    try:
        if int(value) == float(value) and low <= int(value) <= high:
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(
        f"`{name}` should be a whole number, {low} to {high}; received "
        f'"{value}".'
    )


def _check_options(options: Options, styles: int, max_steps: int) -> None:
    if "init" in options.pictures():
        raise ValueError(
            "`init` should be content, noise or style in an export, as a "
            f'SavedModel reads no files; received "{options.init}".'
        )
    for name in ("mask", "content_mask", "style_mask", "detail_mask"):
        if getattr(options, name):
            raise ValueError(
                f"`{name}` should be left out in an export, which takes no "
                f'masks; received "{getattr(options, name)}". Paint the whole '
                "picture, and put the result over the photograph."
            )
    if options.color_image is not None:
        raise ValueError(
            "`color_image` should be left out in an export, as a SavedModel "
            f'reads no files; received "{options.color_image}". Give it '
            "styles that have these colours."
        )
    if options.print is not None:
        raise ValueError(
            "`print` should be left out in an export, which takes pictures of "
            f'any size; received "{options.print}".'
        )
    if isinstance(options.scales, tuple):
        raise ValueError(
            "`scales` should be a number in an export, which takes pictures "
            f"of any size; received {','.join(map(str, options.scales))}."
        )
    if not options.style_weight:
        raise ValueError(
            "`style_weight` should not be 0 in an export; leave it out, and "
            "give 0 in the call."
        )
    for option, what in (("style_blend", "weight"), ("style_scales", "scale")):
        given = getattr(options, option)
        if given and len(given) != styles:
            raise ValueError(
                f"`{option}` should have a {what} for each style: expected "
                f"{styles}, received {len(given)}. Give --styles."
            )
    if options.steps > max_steps:
        raise ValueError(
            f"`steps` should be at most `max_steps`, {max_steps}; received "
            f"{options.steps}, which a call would get by default."
        )
