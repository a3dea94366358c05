"""What of a painting is its style: statistics of features, and their costs.

A layer's features f at all positions are known by their moments: the mean of
f f', the Gram matrix over positions; or, with a channel of ones added to f,
that of [f f', f; f', 1], which holds the mean of f, too. Moments of several
paintings blend, and those of tiles add up, as weighted means.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from nst_tf.formulas import losses

# The painting's principal components that are compared as covariances; of what
# is left, the variance as a whole. 128 of block 4's 512 hold 91 to 95 % of it.
RANK = 128
RIDGE = 1e-3  # of the mean variance: keeps a root's slope finite
# Bring the costs of features in the painting's own size to where the course's
# are, so that their weights mean about the same.
UNIT, CONTENT_UNIT = 2e5, 1e4
_TINY, _LEAST = 1e-12, 1e-6  # variances of features of size 1: none, hardly any


class Statistic(NamedTuple):
    """How the style of a layer is compared.

    Fields:
      moments: features [n, h, w, c], a mask [n, h, w] or None, and whether all
        at once -> moments [n, m, m].
      aim: a painting's moments -> what its cost needs, computed once.
      cost: (aim, moments of a picture) -> [n], 0 where they agree.
      content_unit: a painting's moments at a content layer -> [n], what the
        content's costs are multiplied by; None: they stay what they are.
    """

    moments: Callable[[tf.Tensor, tf.Tensor | None, bool], tf.Tensor]
    aim: Callable[[tf.Tensor], Any]
    cost: Callable[[Any, tf.Tensor], tf.Tensor]
    content_unit: Callable[[tf.Tensor], tf.Tensor] | None


class Gaussian(NamedTuple):
    """A painting's features at a layer, divided by their size, as a Gaussian.

    Fields:
      size: [n], the root mean square of all features.
      mean: [n, c].
      basis: [n, c, r], orthonormal principal directions.
      spread: [n, r], the standard deviations along them.
      rest: [n], variance along all other directions.
    """

    size: tf.Tensor
    mean: tf.Tensor
    basis: tf.Tensor
    spread: tf.Tensor
    rest: tf.Tensor


def gaussian(moments: tf.Tensor) -> Gaussian:
    """What `wasserstein_cost` needs of moments [n, c + 1, c + 1]."""
    size = tf.sqrt(_mean_square(moments))
    mean, covariance = _mean_and_covariance(moments, size)
    variances, basis = tf.linalg.eigh(tf.cast(covariance, tf.float64))
    variances = tf.maximum(variances, 0.0)
    rank = min(RANK, moments.shape[-1] - 1)
    return Gaussian(
        size,
        mean,
        tf.cast(basis[..., -rank:], moments.dtype),
        tf.cast(tf.sqrt(variances[..., -rank:]), moments.dtype),
        tf.cast(tf.reduce_sum(variances[..., :-rank], -1), moments.dtype),
    )


def content_unit(moments: tf.Tensor) -> tf.Tensor:
    """Of costs 1/4 mean (a_C - a_G)^2, in the painting's own size: [n].

    CONTENT_UNIT times the mean squared difference, as a share of the mean
    square that the painting's features have there.
    """
    return 4.0 * CONTENT_UNIT / _mean_square(moments)


def wasserstein_cost(style: Gaussian, moments: tf.Tensor) -> tf.Tensor:
    """Squared 2-Wasserstein distance of two Gaussians, times UNIT / nC: [n].

    |m_G - m_S|^2 + tr(C_G + C_S - 2 (C_S^1/2 C_G C_S^1/2)^1/2)

    of features divided by the root mean square that the painting's have: the
    cost means the same in every layer, network and pooling, for any painting
    (Olkin and Pukelsheim, Linear Algebra and its Applications 48, 1982; for
    style by Crowson, github.com/crowsonkb/style-transfer-pytorch). The trace
    is that of the painting's first RANK principal components; of all others
    it is (s_G - s_S)^2, s^2 being their variance in sum: nothing is left out,
    and an eigenvalue problem of 128 takes a fiftieth of one of 512.
    """
    mean, covariance = _mean_and_covariance(moments, style.size)
    apart = tf.reduce_sum(tf.math.squared_difference(mean, style.mean), -1)
    projected = tf.matmul(style.basis, covariance, transpose_a=True)
    projected = tf.matmul(projected, style.basis)
    rest = tf.linalg.trace(covariance) - tf.linalg.trace(projected)
    ridge = RIDGE * tf.reduce_mean(tf.square(style.spread), -1)
    eye = tf.eye(style.spread.shape[-1], dtype=moments.dtype)
    ridged = projected + (ridge + _TINY)[..., None, None] * eye
    spread = tf.sqrt(tf.square(style.spread) + (ridge + _TINY)[..., None])
    product = spread[..., None] * ridged * spread[..., None, :]
    apart += tf.linalg.trace(ridged) + tf.reduce_sum(tf.square(spread), -1)
    apart -= 2.0 * trace_of_root(product)
    if style.spread.shape[-1] < mean.shape[-1]:
        roots = [tf.sqrt(tf.maximum(v, _LEAST)) for v in (rest, style.rest)]
        apart += tf.math.squared_difference(*roots)
    return UNIT * apart / mean.shape[-1]


@tf.custom_gradient
def trace_of_root(matrices: tf.Tensor) -> tf.Tensor:
    """Tr A^1/2 of symmetric, positive [n, r, r] -> [n], in float64 inside.

    The gradient is A^-1/2 / 2; by eigenvectors value and gradient agree to
    rounding, which a line search needs.
    """
    values, vectors = tf.linalg.eigh(tf.cast(matrices, tf.float64))
    floor = 1e-14 * values[..., -1:] + 1e-300
    roots = tf.sqrt(tf.maximum(values, floor))

    def gradient(slope):
        inverse = tf.matmul(
            vectors / roots[..., None, :], vectors, transpose_b=True
        )
        return slope[..., None, None] * tf.cast(inverse / 2.0, matrices.dtype)

    return tf.cast(tf.reduce_sum(roots, -1), matrices.dtype), gradient


def _mean_square(moments: tf.Tensor) -> tf.Tensor:
    """[n], of all features; 1 of a layer that sees nothing at all."""
    squares = tf.linalg.trace(moments[..., :-1, :-1])
    squares /= tf.cast(tf.shape(moments)[-1] - 1, moments.dtype)
    return tf.where(squares > 0, squares, tf.ones_like(squares))


def _mean_and_covariance(
    moments: tf.Tensor, size: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """[n, c] and [n, c, c] of moments with a channel of ones, sizes [n]."""
    mean = moments[..., :-1, -1] / size[..., None]
    second = moments[..., :-1, :-1] / tf.square(size)[..., None, None]
    return mean, second - mean[..., None] * mean[..., None, :]


@tf.custom_gradient
def _gram_cost(style: tf.Tensor, moments: tf.Tensor) -> tf.Tensor:
    """`losses.gram_cost` of each of n; its gradient in two operations."""
    apart = moments - style
    each = 1 / (4 * moments.shape[-1] ** 2)

    def gradient(slope):
        back = (2 * each * slope)[..., None, None] * apart
        return -back, back

    return each * tf.reduce_sum(tf.square(apart), [-2, -1]), gradient


STATISTICS = {
    "gram": Statistic(
        losses.mean_gram, lambda moments: moments, _gram_cost, None
    ),
    "wasserstein": Statistic(
        losses.mean_moments, gaussian, wasserstein_cost, content_unit
    ),
}
