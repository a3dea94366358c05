"""The costs of neural style transfer, as bare formulas.

Features are `[n, h, w, c]` (or one image's `[h, w, c]`), non-negative after
the ReLU, without unit. Half-precision features are summed in float32.

Sources: Gatys, Ecker, Bethge, "A Neural Algorithm of Artistic Style"
(arXiv:1508.06576) and "Image Style Transfer Using Convolutional Neural
Networks" (CVPR 2016), in the normalisation of the deep-learning course
(content 1 / (4 nH nW nC), style 1 / (2 nH nW nC)^2).
"""

import math
from collections.abc import Mapping

import tensorflow as tf

HALF = tf.float16, tf.bfloat16
PART = 2**20  # numbers of half precision made float32 at a time


def gram_matrix(
    features: tf.Tensor, mask: tf.Tensor | None = None, at_once: bool = False
) -> tf.Tensor:
    """Sum over positions of the products of every two channels.

    G_kk' = sum_ij a_ijk a_ijk'  (Gatys et al. 2016, equation 3).

    Args:
      features: `[n, h, w, c]` or `[h, w, c]`; a matrix `[c, positions]`
        is the course's A, and gives A A^T.
      mask: `[h, w]` or `[n, h, w]`, the weight of each position.
      at_once: whether features of half precision are made float32 as a whole,
        in fewer operations and more memory.

    Returns:
      `[n, c, c]` (`[c, c]` for a single image or a matrix), at least float32.
    """
    features = tf.convert_to_tensor(features)
    if features.shape.rank == 2:
        features = _at_least_float32(features)
        return tf.matmul(features, features, transpose_b=True)
    if features.shape.rank not in (3, 4):
        raise ValueError(
            "`features` should be [n, h, w, c], [h, w, c] or [c, positions]; "
            f"received shape {features.shape}."
        )
    return _products(*_rows(features, mask), at_once=at_once)


def _rows(features: tf.Tensor, mask: tf.Tensor | None) -> list[tf.Tensor]:
    """`[..., positions, c]` and, of a mask, its roots `[..., positions, 1]`."""
    *outer, _, _, channels = sides(features)
    rows = tf.reshape(features, [*outer, -1, channels])
    if mask is None:
        return [rows]
    kind = tf.float32 if rows.dtype in HALF else rows.dtype
    roots = tf.sqrt(tf.cast(mask, kind))
    return [rows, tf.reshape(roots, [*sides(roots)[:-2], -1, 1])]


def sides(tensor: tf.Tensor) -> list:
    """The shape: numbers where they are known, scalar tensors where not."""
    tensor = tf.convert_to_tensor(tensor)
    found = tensor.shape.as_list()
    if None in found:
        unknown = tf.unstack(tf.shape(tensor))
        found = [
            one if side is None else side
            for one, side in zip(unknown, found, strict=True)
        ]
    return found


def _products(
    rows: tf.Tensor, *roots: tf.Tensor, ones: int = 0, at_once: bool = False
) -> tf.Tensor:
    """A^T M A of `[..., positions, c]`, at least float32.

    M is the identity, or diagonal; `roots` are those of its entries. `ones` is
    how many channels of ones are added to A.
    """

    @tf.custom_gradient
    def products(rows, *roots):
        def gradient(slope):
            back = _products_gradient(slope, rows, roots, ones)
            return back, *[None for _ in roots]

        if rows.dtype not in HALF:
            return _products_of(rows, roots, ones), gradient
        if at_once:
            wide = tf.cast(rows, tf.float32)
            return _products_of(wide, roots, ones), gradient
        return _products_in_parts(rows, roots, ones), gradient

    return products(rows, *roots)


def _products_of(rows: tf.Tensor, roots, ones: int) -> tf.Tensor:
    """[A, 1]^T M [A, 1], or without the ones."""
    if roots:
        beside = [[0, 0]] * (rows.shape.rank - 1) + [[0, ones]]
        rows = tf.pad(rows, beside, constant_values=1.0) if ones else rows
        rows *= roots[0]
    gram = tf.matmul(rows, rows, transpose_a=True)
    if roots or not ones:
        return gram
    sums = tf.reduce_sum(rows, -2, keepdims=True)
    count = tf.ones_like(sums[..., :1]) * tf.cast(
        tf.shape(rows)[-2], rows.dtype
    )
    below = tf.concat([sums, count], -1)
    beside = tf.concat([gram, tf.linalg.matrix_transpose(sums)], -1)
    return tf.concat([beside, below], -2)


def _products_gradient(slope, rows: tf.Tensor, roots, ones: int) -> tf.Tensor:
    """One product, M A (S + S^T), and what goes along the ones.

    Of bfloat16, which has float32's range, it is bfloat16, too: it goes back
    to where it would be rounded to that in any case.
    """
    kind = tf.float32 if rows.dtype == tf.float16 else rows.dtype
    both = tf.cast(slope + tf.linalg.matrix_transpose(slope), kind)
    if ones:
        both, along = both[..., :-1, :-1], both[..., :-1, -1]
    back = tf.matmul(tf.cast(rows, kind), both)
    if ones:
        back += along[..., None, :]
    if roots:
        back *= tf.cast(tf.square(roots[0]), kind)
    return tf.cast(back, rows.dtype)


def _products_in_parts(rows: tf.Tensor, roots, ones: int) -> tf.Tensor:
    """The same in float32 of half-precision rows, part by part.

    All of them in float32 are the largest array of an evaluation.
    """
    *outer, positions, channels = sides(rows)
    each = PART // channels
    if roots:
        roots = [tf.broadcast_to(roots[0], [*outer, positions, 1])]
    whole = positions // each * each

    def products(begin, length):
        start, size = [0] * len(outer), [*outer, length, channels]
        part = tf.cast(tf.slice(rows, [*start, begin, 0], size), tf.float32)
        beside = [[0, 0]] * (len(outer) + 1) + [[0, ones]]
        part = tf.pad(part, beside, constant_values=1.0) if ones else part
        if roots:
            part *= tf.slice(roots[0], [*start, begin, 0], [*outer, length, 1])
        gram = tf.matmul(part, part, transpose_a=True)
        wide = None if rows.shape[-1] is None else rows.shape[-1] + ones
        return tf.ensure_shape(gram, [*rows.shape[:-2], wide, wide])

    # XLA checks the loop's body also where it is never run.
    length = tf.minimum(each, positions)
    return tf.while_loop(
        lambda begin, _: begin < whole,
        lambda begin, total: (begin + each, total + products(begin, length)),
        (tf.constant(0), products(whole, positions - whole)),
        parallel_iterations=1,
    )[1]


def mean_gram(
    features: tf.Tensor, mask: tf.Tensor | None = None, at_once: bool = False
) -> tf.Tensor:
    """The Gram matrix divided by the number of positions, `[n, c, c]`.

    With a mask m it is sum m f f' / sum m, so that neither a mask of ones nor
    one of halves changes anything; a mask of zeros gives zeros. Independent of
    the image's size: this is what is compared.
    """
    gram = gram_matrix(features, mask, at_once)
    if mask is None:
        return gram / positions(features, gram.dtype)
    weight = tf.reduce_sum(tf.cast(mask, gram.dtype), axis=[-2, -1])
    return tf.math.divide_no_nan(gram, weight[..., None, None])


def positions(features: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """How many there are in `[..., h, w, c]`, a scalar."""
    *outer, _, _, channels = sides(features)
    each = math.prod(outer) * channels
    return tf.cast(tf.size(features, tf.int64), dtype) / tf.cast(each, dtype)


def mean_moments(
    features: tf.Tensor, mask: tf.Tensor | None = None, at_once: bool = False
) -> tf.Tensor:
    """The mean Gram matrix with a channel of ones added, `[n, c + 1, c + 1]`.

    [f f', f; f', 1] on average over positions: second moments and means of
    features `[n, h, w, c]`, at least float32. `mask` and `at_once` are those of
    `mean_gram`.
    """
    sums = _products(*_rows(features, mask), ones=1, at_once=at_once)
    if mask is not None:
        return tf.math.divide_no_nan(sums, sums[..., -1:, -1:])
    return sums / positions(features, sums.dtype)


def content_cost(
    content: tf.Tensor, generated: tf.Tensor, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """1 / (4 nH nW nC) * sum m (a_C - a_G)^2, for features of equal shape.

    The mask m is `[n, h, w]`, or all ones.
    """
    pair = tf.convert_to_tensor(content), tf.convert_to_tensor(generated)
    if mask is None:
        return _mean_square_apart(*pair) / 4
    kind = tf.float32 if pair[1].dtype in HALF else pair[1].dtype
    return _mean_square_apart(*pair, tf.cast(mask, kind)[..., None]) / 4


@tf.custom_gradient
def _mean_square_apart(
    one: tf.Tensor, other: tf.Tensor, *weight: tf.Tensor
) -> tf.Tensor:
    """Mean squared difference, weighted if it is, at least float32.

    Nothing is kept for the gradient but the two; that of bfloat16 is computed
    in bfloat16, to which it would be rounded in any case.
    """
    kind = tf.float32 if other.dtype == tf.float16 else other.dtype
    with tf.control_dependencies([other]):  # no sooner: it takes memory
        one = tf.identity(one)

    def gradient(slope):
        each = tf.cast(2 * slope / tf.cast(tf.size(one), slope.dtype), kind)
        back = each * (tf.cast(one, kind) - tf.cast(other, kind))
        back = back * tf.cast(weight[0], kind) if weight else back
        both = tf.cast(back, one.dtype), tf.cast(-back, other.dtype)
        return *both, *[None for _ in weight]

    wide = _at_least_float32(one), _at_least_float32(other)
    squares = tf.math.squared_difference(*wide)
    squares = squares * weight[0] if weight else squares
    return tf.reduce_mean(squares), gradient


def gram_cost(style: tf.Tensor, generated: tf.Tensor) -> tf.Tensor:
    """1 / (4 nC^2) * sum (A - B)^2 of two position-mean Gram matrices."""
    return tf.reduce_mean(tf.math.squared_difference(style, generated)) / 4


def layer_style_cost(style: tf.Tensor, generated: tf.Tensor) -> tf.Tensor:
    """1 / (2 nH nW nC)^2 * sum (G_S - G_G)^2, for features of one layer.

    Each Gram matrix is divided by its own number of positions, so the style
    image may have another size; with equal sizes it is the course's cost.
    """
    return gram_cost(mean_gram(style), mean_gram(generated))


def style_cost(
    style: Mapping[str, tf.Tensor],
    generated: Mapping[str, tf.Tensor],
    weights: Mapping[str, float],
) -> tf.Tensor:
    """sum_l lambda_l J_style_l over the layers that `weights` names."""
    return tf.add_n(
        [
            weight * layer_style_cost(style[layer], generated[layer])
            for layer, weight in weights.items()
        ]
    )


def total_variation(image: tf.Tensor) -> tf.Tensor:
    """Mean squared difference of neighbouring pixels, down plus across.

    Squared rather than absolute (Mahendran and Vedaldi 2015, beta = 2): its
    gradient is smooth, which L-BFGS needs.
    """
    image = tf.convert_to_tensor(image)
    down, across = (squared_steps(image, axis, mean=True) for axis in (-3, -2))
    return down + across


@tf.custom_gradient
def out_of_range(image: tf.Tensor) -> tf.Tensor:
    """Mean squared distance of the values from [0, 1], a scalar.

    Zero for every picture that a file can hold.
    """
    outside = image - tf.clip_by_value(image, 0.0, 1.0)
    size = tf.cast(tf.size(image), image.dtype)

    def gradient(slope):
        return 2.0 * slope / size * outside

    return tf.reduce_sum(tf.square(outside)) / size, gradient


@tf.custom_gradient
def temporal_cost(
    image: tf.Tensor, earlier: tf.Tensor, confidence: tf.Tensor
) -> tf.Tensor:
    """1 / (h w 3) * sum c (255 (x - w))^2, of a frame and what it came of.

    Ruder, Dosovitskiy and Brox, "Artistic style transfer for videos"
    (arXiv:1604.08610), equation 7; of values from 0 to 255, as the network
    sees them, so that weights compare with theirs.

    Args:
      image: x, `[n, h, w, 3]`.
      earlier: w, the earlier frame's picture, warped to this one's place.
      confidence: c, `[n, h, w, 1]`, from 0, nothing is known there, to 1.
    """
    apart = confidence * (image - earlier)
    scale = 255.0**2 / tf.cast(tf.size(image), image.dtype)

    def gradient(slope):
        return 2.0 * slope * scale * apart, None, None

    return scale * tf.reduce_sum(apart * (image - earlier)), gradient


def detail(image: tf.Tensor) -> tf.Tensor:
    """The Laplacian of the means over 4 x 4 pixels, `[n, h // 4, w // 4, c]`.

    Zero at the border. It holds edges and small things, whatever their colour
    (Li, Xu, Nie, Liu, "Laplacian-Steered Neural Style Transfer",
    arXiv:1707.01253).
    """
    means = tf.nn.avg_pool2d(image, 4, 4, "VALID")
    inner = -4.0 * means[:, 1:-1, 1:-1]
    inner += means[:, :-2, 1:-1] + means[:, 2:, 1:-1]
    inner += means[:, 1:-1, :-2] + means[:, 1:-1, 2:]
    return tf.pad(inner, [[0, 0], [1, 1], [1, 1], [0, 0]])


def detail_cost(
    content: tf.Tensor, image: tf.Tensor, weight: tf.Tensor | float = 1.0
) -> tf.Tensor:
    """Mean of m (L_C - L_G)^2, L the `detail` of values from 0 to 255.

    Args:
      content: L_C, `[n, h // 4, w // 4, c]`, of values from 0 to 1.
      image: `[n, h, w, c]`.
      weight: m, `[n, h // 4, w // 4, 1]`.
    """
    apart = tf.math.squared_difference(content, detail(image))
    return 255.0**2 * tf.reduce_mean(weight * apart)


def squared_steps(image: tf.Tensor, axis: int, mean: bool = False) -> tf.Tensor:
    """Sum, or mean, of the squared steps between neighbours along an axis."""
    axis %= image.shape.rank

    @tf.custom_gradient
    def summed(image):
        ahead, behind = (
            tuple(part if k == axis else slice(None) for k in range(axis + 1))
            for part in (slice(1, None), slice(-1))
        )
        step = image[ahead] - image[behind]

        def gradient(slope):
            # Two pads and one difference: what TensorFlow makes of the slices
            # takes more memory and time.
            before, after = (
                tf.pad(step, [ends if k == axis else [0, 0] for k in ranks])
                for ends in ([1, 0], [0, 1])
            )
            return 2 * share * slope * (before - after)

        ranks, share = range(step.shape.rank), 1.0
        if mean:
            count = tf.size(step, out_type=tf.int64)
            share = 1 / tf.cast(count, image.dtype)
        return share * tf.reduce_sum(tf.square(step)), gradient

    return summed(image)


def total_cost(
    content: tf.Tensor, style: tf.Tensor, alpha: float = 10, beta: float = 40
) -> tf.Tensor:
    """J = alpha * J_content + beta * J_style."""
    return alpha * content + beta * style


def _at_least_float32(features: tf.Tensor) -> tf.Tensor:
    features = tf.convert_to_tensor(features)
    if features.dtype in HALF:
        return tf.cast(features, tf.float32)
    return features
