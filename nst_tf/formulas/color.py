"""Colours, as bare formulas: palettes, maps between them, luminance.

Images are `[..., h, w, 3]`, RGB in [0, 1], float32 or float64, in the sRGB
values that the network sees. Statistics are summed over each row in the
image's type and over the rows in float64; matrices are float64.
"""

from typing import NamedTuple

import tensorflow as tf

LUMA = 0.299, 0.587, 0.114  # Y of YIQ (ITU-R BT.601)
STEEPEST = 3.0  # how many times a colour map may stretch a direction
RATIOS = 0.5, 2.0  # bounds of the ratio of two luminances' deviations


class Palette(NamedTuple):
    """Mean `[3]` and covariance `[3, 3]` of a picture's colours, float64."""

    mean: tf.Tensor
    covariance: tf.Tensor


def palette(image: tf.Tensor, weight: tf.Tensor | None = None) -> Palette:
    """The mean colour and the covariance of the colours.

    mu = sum m x / sum m;  Sigma = sum m (x - mu) (x - mu)^T / sum m

    Args:
      image: `[..., h, w, 3]`.
      weight: m, `[..., h, w]`, at least 0; how much each pixel counts. A
        weight of ones, or of halves, changes nothing; of zeros gives zeros.
    """
    image = tf.convert_to_tensor(image)
    if weight is None:
        weight = tf.ones_like(image[..., :1])
    else:
        weight = tf.cast(weight, image.dtype)[..., None]
    share = tf.math.reciprocal_no_nan(_added(tf.reduce_sum(weight, -2), 1))
    mean = share * _added(tf.reduce_sum(weight * image, -2), 1)
    apart = image - tf.cast(mean, image.dtype)
    products = tf.matmul(weight * apart, apart, transpose_a=True)
    return Palette(mean, share * _added(products, 2))


def _added(rows: tf.Tensor, kept: int) -> tf.Tensor:
    """The sum of the rows' sums, float64, over all but the last axes."""
    axes = list(range(rows.shape.rank - kept))
    return tf.reduce_sum(tf.cast(rows, tf.float64), axes)


def transport(source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """The matrix that maps one covariance to another and moves least.

    A = S^-1/2 (S^1/2 C S^1/2)^1/2 S^-1/2,  A S A = C

    Of all maps from one Gaussian to the other this one changes colours least
    in the mean square: optimal transport (Olkin and Pukelsheim, Linear
    Algebra and its Applications 48, 1982; for colours Pitié and Kokaram,
    CVMP 2007).

    Args:
      source: S, `[3, 3]` float64, symmetric positive definite.
      target: C, the same, or singular.

    Returns:
      A, `[3, 3]` float64, symmetric, its eigenvalues not negative.
    """
    root = _spectral(source, tf.sqrt)
    inverse = _spectral(source, tf.math.rsqrt)
    middle = _spectral(root @ target @ root, tf.sqrt)
    return _symmetric(inverse @ middle @ inverse)


def color_map(source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """`transport` for any two covariances, singular ones too.

    Each gets a ridge r = 1e-4 + 1e-3 of its mean variance, the target only as
    far as it varies: c + r c / (c + r) for an eigenvalue c. So a grey target
    makes grey, and equal covariances give nearly the identity (for c over
    ten ridges within 0.5 %). No direction is stretched more than `STEEPEST`
    times: the noise of a grey painting is no colour.
    """
    ridge = _ridge(source) * tf.eye(3, dtype=tf.float64)
    r = _ridge(target)
    firm = _spectral(target, lambda c: c + r * c / (c + r))
    free = transport(source + ridge, firm)
    return _spectral(free, lambda stretch: tf.minimum(stretch, STEEPEST))


def recolored(
    image: tf.Tensor,
    source: Palette,
    target: Palette,
    strength: float = 1.0,
) -> tf.Tensor:
    """The image with the target's palette, clipped to [0, 1].

    x' = A (x - mu_S) + mu_C (Gatys, Bethge, Hertzmann, Shechtman, "Preserving
    Color in Neural Artistic Style Transfer", arXiv:1606.05897), A being
    `color_map`.

    Args:
      image: `[..., h, w, 3]`.
      source: the image's palette.
      target: the palette it shall have.
      strength: share of the way there, 0 to 1.
    """
    matrix = color_map(source.covariance, target.covariance)
    matrix = strength * (matrix - tf.eye(3, dtype=tf.float64))
    shift = strength * (target.mean - source.mean)
    # x + s (A - 1) (x - mu_S) + s (mu_C - mu_S): no strength, no change.
    apart = image - tf.cast(source.mean, image.dtype)
    moved = tf.tensordot(apart, tf.cast(matrix, image.dtype), 1)
    moved += tf.cast(shift, image.dtype)
    return tf.clip_by_value(image + moved, 0.0, 1.0)


def luminance(image: tf.Tensor) -> tf.Tensor:
    """Y of YIQ, `[..., h, w, 1]`."""
    return tf.reduce_sum(image * tf.constant(LUMA, image.dtype), -1, True)


def chroma(image: tf.Tensor) -> tf.Tensor:
    """What is not luminance, x - Y, `[..., h, w, 3]`; its luminance is 0."""
    return image - luminance(image)


def colored(luminance: tf.Tensor, chroma: tf.Tensor) -> tf.Tensor:
    """The picture of this luminance and as much of the chroma as it can hold.

    Y + t d, with the largest t in [0, 1] at each pixel for which all channels
    are within [0, 1]: luminance and hue stay, clipped channels keep neither.

    Args:
      luminance: `[..., h, w, 1]`; clipped to [0, 1].
      chroma: d, `[..., h, w, 3]`, of luminance 0.
    """
    luminance = tf.clip_by_value(luminance, 0.0, 1.0)
    room = tf.where(chroma > 0, 1.0 - luminance, luminance)
    # Black and white have no room, and all chroma has channels of both signs.
    share = tf.math.divide_no_nan(room, tf.maximum(room, tf.abs(chroma)))
    share = tf.reduce_min(share, -1, keepdims=True)
    return tf.clip_by_value(luminance + share * chroma, 0.0, 1.0)


def relit(
    luminance: tf.Tensor,
    source: Palette,
    target: Palette,
    strength: float = 1.0,
) -> tf.Tensor:
    """A luminance with the target's mean and deviation (Gatys et al. 2016).

    Y' = sigma_C / sigma_S (Y - mu_S) + mu_C

    Args:
      luminance: `[..., h, w, 1]`, of a picture.
      source: that picture's palette.
      target: the palette whose luminance it shall have; the ratio of the
        deviations is kept within `RATIOS`.
      strength: share of the way there, 0 to 1.
    """
    (mean, variance), (aim, wanted) = map(_light, (source, target))
    ratio = tf.sqrt(tf.math.divide_no_nan(wanted, variance))
    stretch = strength * (tf.clip_by_value(ratio, *RATIOS) - 1)
    apart = luminance - tf.cast(mean, luminance.dtype)
    moved = tf.cast(stretch, luminance.dtype) * apart
    return luminance + moved + tf.cast(strength * (aim - mean), moved.dtype)


def _light(colors: Palette) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of a palette's luminance, scalars."""
    luma = tf.constant(LUMA, tf.float64)[:, None]
    mean = tf.reduce_sum(colors.mean * luma[:, 0])
    return mean, tf.reduce_sum(luma * (colors.covariance @ luma))


def _ridge(covariance: tf.Tensor) -> tf.Tensor:
    return 1e-4 + 1e-3 * tf.linalg.trace(covariance) / 3


def _spectral(matrix: tf.Tensor, function) -> tf.Tensor:
    """A function of a symmetric matrix, by its eigenvalues, at least 0."""
    values, vectors = tf.linalg.eigh(matrix)
    values = function(tf.maximum(values, 0.0))
    return _symmetric(tf.matmul(vectors * values, vectors, transpose_b=True))


def _symmetric(matrix: tf.Tensor) -> tf.Tensor:
    return (matrix + tf.transpose(matrix)) / 2
