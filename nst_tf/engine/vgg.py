"""VGG up to the deepest layer asked for, as a Keras model of features.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for
Large-Scale Image Recognition" (arXiv:1409.1556), configurations D (VGG-16)
and E (VGG-19).
"""

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from nst_tf.backend import keras, no_remat
from nst_tf.request.networks import LAYERS, NETWORKS
from nst_tf.request.values import layer_name

WIDTHS = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}
MEAN_BGR = (103.939, 116.779, 123.68)  # of ImageNet, as caffe subtracts it
# Root mean square of what goes in and of each layer's features, of the network
# trained on ImageNet with average pooling, over seven pictures at 192 px.
INPUT_SIZE = 60.0
FEATURE_SIZES = (
    *(47, 201, 184, 253, 165, 172, 301, 537),
    *(375, 301, 181, 70, 25, 11, 4.8, 1.4),
)
# Scaled, features stay far from the largest float16, 65504.
HALF_SCALE = 2.0**-6
TURNED = "turned"  # name of the weight that is made of the kernel
POOLINGS = {
    "max": keras.layers.MaxPooling2D,
    "avg": keras.layers.AveragePooling2D,
}

Kernels = Mapping[str, tuple[np.ndarray, np.ndarray]]


def preprocess(image):
    """RGB in [0, 1] -> BGR times 255 minus the ImageNet mean ("caffe")."""
    mean = np.asarray(MEAN_BGR, "float32")
    return keras.ops.flip(image, axis=-1) * 255.0 - mean


class Convolution(keras.layers.Conv2D):
    """3 x 3, zeros around, then ReLU; only the image gets a gradient.

    That gradient is a convolution too, by the turned kernel, and the
    convolution is the gradient of that one: TensorFlow has two operations
    for either. Which one is faster depends on the machine, by as much as 2
    (`devices.transposed`, docs/lab.md). A turned kernel is a weight,
    the layer's third: to turn it in every step takes longer than small
    pictures can spare.

    Args:
      kept: whether others keep the features until the way back, too.
      transposed: whether the convolution, and whether its gradient, is
        computed as the gradient of the opposite one.
      **others: of `keras.layers.Conv2D`.
    """

    def __init__(
        self,
        *arguments,
        kept: bool = False,
        transposed: tuple[bool, bool] = (False, False),
        **others,
    ):
        super().__init__(*arguments, **others)
        self.kept = kept
        self.transposed = transposed
        self.turned = None

    def build(self, input_shape):
        """Makes room for the weights of `[n, h, w, c]`."""
        super().build(input_shape)
        if self.transposed != (False, True):  # all else needs it
            shape = (*self.kernel_size, self.filters, input_shape[-1])
            self.turned = self.add_weight(
                shape=shape, initializer="zeros", name=TURNED
            )

    def call(self, inputs):
        """Features `[n, h, w, filters]` of `[n, h, w, c]`."""
        weights = self.kernel, self.bias, self.turned
        kernel, bias, back = (
            None if weight is None else tf.convert_to_tensor(weight)
            for weight in weights
        )
        ahead, behind = self.transposed

        @tf.custom_gradient
        def convolved(image):
            seen = _convolved(image, kernel, back, ahead)
            seen = tf.nn.relu(tf.nn.bias_add(seen, bias))
            mask = None
            if not self.kept:
                # One byte a feature is what is kept until the way back; now,
                # so that all the rest is free before the next layer's turn.
                # What is not zero is positive, after a ReLU.
                mask = tf.cast(seen, tf.bool)
                with tf.control_dependencies([mask]):
                    seen = tf.identity(seen)

            def gradient(slope):
                if self.kept:
                    slope = tf.raw_ops.ReluGrad(gradients=slope, features=seen)
                else:
                    slope = tf.where(mask, slope, tf.zeros([], slope.dtype))
                return _convolved(slope, back, kernel, behind)

            return seen, gradient

        return convolved(inputs)


def _convolved(images, kernel, opposite, transposed: bool) -> tf.Tensor:
    """A convolution, or the gradient of the one by the kernel turned."""
    if not transposed:
        return tf.nn.conv2d(images, kernel, 1, "SAME")
    shape = tf.concat([tf.shape(images)[:3], [opposite.shape[2]]], 0)
    return tf.nn.conv2d_transpose(images, opposite, shape, 1, "SAME")


def turned(kernel):
    """By half a circle, channels in and out exchanged."""
    return tf.transpose(tf.reverse(kernel, (0, 1)), (0, 1, 3, 2))


@no_remat()
def features_model(
    kernels: Kernels,
    layers: Iterable[str],
    pooling: str = "max",
    precision: str = "float32",
    transposed: tuple[bool, bool] = (False, False),
    network: str = "vgg19",
    at_once: bool = False,
) -> keras.Model:
    """Builds the network from image to the features asked for.

    Args:
      kernels: `{layer: (kernel [3, 3, in, out], bias [out])}` for every
        convolution up to the deepest layer asked for.
      layers: names such as `block4_conv2`, `conv4_2` or `relu4_2`.
      pooling: `"max"`, as trained, or `"avg"`, as Gatys et al. prefer.
      precision: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`: what
        the convolutions compute in.
      transposed: how they compute, see `Convolution`; to the same result.
      network: whose convolutions they are: `vgg19`, `vgg19_slim` or `vgg16`.
      at_once: whether all features are kept until the way back: fewer
        operations, and more memory.

    Returns:
      A model from `[n, h, w, 3]` RGB in [0, 1] to `{layer: [n, h', w', c]}`,
      features after the ReLU, of the precision's type, times `scale` of it.
      Nothing deeper than asked for is computed.
    """
    wanted = {layer_name(layer, network) for layer in layers}
    every = NETWORKS[network].layers
    built = every[: 1 + max(every.index(layer) for layer in wanted)]
    dtype = keras.dtype_policies.get(precision).compute_dtype
    # A network of ReLUs is homogeneous: input and biases scaled, so is every
    # feature.
    smaller = scale(precision)
    image = keras.Input((None, None, 3), name="image", dtype="float32")
    x, outputs = preprocess(image) * smaller, {}
    for layer in built:
        block = int(layer[5])
        if layer.endswith("conv1") and block > 1:
            x = POOLINGS[pooling](
                2,
                name=f"block{block - 1}_pool",
                dtype=dtype,
                data_format="channels_last",
            )(x)
        width = kernels[layer][1].size
        x = Convolution(
            width,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="zeros",  # random ones take time and memory
            trainable=False,
            name=layer,
            dtype=dtype,
            data_format="channels_last",
            kept=at_once or layer in wanted,
            transposed=transposed,
        )(x)
        if layer in wanted:
            outputs[layer] = x
    model = keras.Model(image, outputs, name=network, trainable=False)
    model.dtype_policy = "float32"  # that of its layers is their own
    for layer in built:
        (kernel, bias), own = kernels[layer], model.get_layer(layer)
        back = [] if own.turned is None else [turned(kernel)]
        own.set_weights([kernel, bias * smaller, *back])
    return model


def scale(precision: str) -> float:
    """How many times as large the features are that a model gives."""
    return HALF_SCALE if precision == "mixed_float16" else 1.0


def random_kernels(seed: int = 0, network: str = "vgg19") -> Kernels:
    """Untrained: seeded orthogonal kernels, zero biases.

    The features are as large as the trained VGG-19's, layer by layer, so
    that the same weights of the costs serve both.

    Style transfer works with random weights too, at lower fidelity (He,
    Wang, Hopcroft, "A Powerful Generative Model Using Random Weights for
    the Deep Image Representation", NIPS 2016).
    """
    sizes = dict(zip(LAYERS, FEATURE_SIZES, strict=True))
    kernels, channels, before = {}, 3, INPUT_SIZE
    for index, layer in enumerate(NETWORKS[network].layers):
        width, size = WIDTHS[int(layer[5])], sizes[layer]
        # He et al. 2015: columns of norm sqrt(2) keep the features' size
        # after a ReLU, also where there are more columns than rows.
        gain = np.sqrt(2 * max(1, width / (9 * channels))) * size / before
        orthogonal = keras.initializers.Orthogonal(gain, seed=seed + index)
        kernel = np.asarray(
            orthogonal((3, 3, channels, width), "float32"), "float32"
        )
        kernels[layer] = kernel, np.zeros(width, "float32")
        channels, before = width, size
    return kernels
