"""The costs of neural style transfer, as bare formulas.

Features are `[n, h, w, c]` (or one image's `[h, w, c]`), non-negative after
the ReLU, without unit. Half-precision features are summed in float32.

Sources: Gatys, Ecker, Bethge, "A Neural Algorithm of Artistic Style"
(arXiv:1508.06576) and "Image Style Transfer Using Convolutional Neural
Networks" (CVPR 2016), in the normalisation of the deep-learning course
(content 1 / (4 nH nW nC), style 1 / (2 nH nW nC)^2).
"""

from collections.abc import Mapping

import tensorflow as tf


def gram_matrix(
    features: tf.Tensor, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """Sum over positions of the products of every two channels.

    G_kk' = sum_ij a_ijk a_ijk'  (Gatys et al. 2016, equation 3).

    Args:
      features: `[n, h, w, c]` or `[h, w, c]`; a matrix `[c, positions]`
        is the course's A, and gives A A^T.
      mask: `[h, w]` or `[n, h, w]`, multiplies the features.

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
    if mask is not None:
        features = _at_least_float32(features)
        features *= tf.cast(mask, features.dtype)[..., None]
    shape = tf.shape(features)
    channels = features.shape[-1] or shape[-1]
    rows = tf.reshape(features, tf.concat([shape[:-3], [-1, channels]], axis=0))
    return _products(rows)


@tf.custom_gradient
def _products(rows: tf.Tensor) -> tf.Tensor:
    """A^T A, at least float32; the gradient is one product, A (S + S^T).

    Of bfloat16, which has float32's range, that product is bfloat16, too: it
    goes back to where it would be rounded to that in any case.
    """
    wide = _at_least_float32(rows)
    kind = wide.dtype if rows.dtype == tf.float16 else rows.dtype

    def gradient(slope):
        both = tf.cast(slope + tf.linalg.matrix_transpose(slope), kind)
        return tf.cast(tf.matmul(tf.cast(rows, kind), both), rows.dtype)

    return tf.matmul(wide, wide, transpose_a=True), gradient


def mean_gram(features: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
    """The Gram matrix divided by the number of positions, `[n, c, c]`.

    With a mask the divisor is the mask's sum, so that a mask of ones changes
    nothing; a mask of zeros gives zeros. Independent of the image's size:
    this is what is compared.
    """
    gram = gram_matrix(features, mask)
    if mask is None:
        shape = tf.shape(features)
        return gram / tf.cast(shape[-3] * shape[-2], gram.dtype)
    positions = tf.reduce_sum(tf.cast(mask, gram.dtype), axis=[-2, -1])
    return tf.math.divide_no_nan(gram, positions[..., None, None])


def content_cost(content: tf.Tensor, generated: tf.Tensor) -> tf.Tensor:
    """1 / (4 nH nW nC) * sum (a_C - a_G)^2, for features of equal shape."""
    content = _at_least_float32(content)
    generated = _at_least_float32(generated)
    return tf.reduce_mean(tf.math.squared_difference(content, generated)) / 4


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
    height, width = tf.unstack(tf.cast(tf.shape(image), image.dtype)[-3:-1])
    each = tf.cast(tf.size(image), image.dtype) / height / width
    down = squared_steps(image, -3) / (height - 1) / width / each
    return down + squared_steps(image, -2) / height / (width - 1) / each


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


def squared_steps(image: tf.Tensor, axis: int) -> tf.Tensor:
    """Sum of the squared differences of neighbours along an axis, a scalar."""
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
            return 2 * slope * (before - after)

        ranks = range(step.shape.rank)
        return tf.reduce_sum(tf.square(step)), gradient

    return summed(image)


def total_cost(
    content: tf.Tensor, style: tf.Tensor, alpha: float = 10, beta: float = 40
) -> tf.Tensor:
    """J = alpha * J_content + beta * J_style."""
    return alpha * content + beta * style


def _at_least_float32(features: tf.Tensor) -> tf.Tensor:
    features = tf.convert_to_tensor(features)
    if features.dtype in (tf.float16, tf.bfloat16):
        return tf.cast(features, tf.float32)
    return features
