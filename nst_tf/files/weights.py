"""Which weights: a given file, Keras' cache, the download, or none at all.

The only module that downloads.
"""

import contextlib
import gc
import hashlib
import os
import re
import tempfile
import time
import urllib.request
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nst_tf.backend import defaults, keras
from nst_tf.engine import network as network_
from nst_tf.engine import vgg
from nst_tf.engine.transfer import Arithmetic
from nst_tf.request.networks import NETWORKS
from nst_tf.request.options import Options
from nst_tf.request.values import suggest


class Published(NamedTuple):
    """The convolutional part of a network of keras.applications."""

    application: str
    url: str
    md5: str

    @property
    def file(self) -> str:
        """Its name in Keras' cache."""
        return self.url.rpartition("/")[2]


_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/"
_FILE = "{0}/{0}_weights_tf_dim_ordering_tf_kernels_notop.h5"
PUBLISHED = {
    name: Published(application, _FOLDER + _FILE.format(name), md5)
    for name, application, md5 in (
        ("vgg19", "VGG19", "253f8cb515780f3b799900260a226db6"),
        ("vgg16", "VGG16", "6d6bbae143d832006294945121d1f1fc"),
        ("inception_v3", "InceptionV3", "bcbd6486424b2319ff4ef7d526e38f63"),
    )
}
SLIM = Path(__file__).parents[1] / "data" / "vgg19_slim.npz"  # embedded
VARIABLE = "NST_TF_WEIGHTS"  # of VGG-19
NAMES = ("auto", "imagenet", "random")
PATIENCE = 15.0  # seconds without a byte before a download is given up
LONGEST = 900.0  # seconds for a whole download


class Weights(NamedTuple):
    """The network's kernels, what they are, and what to know of them."""

    name: str  # "imagenet", "random", or the file's path
    sha256: str  # of the file; of the kernels where there is none
    kernels: vgg.Kernels
    warning: str  # '' or what they cost in fidelity and how to mend it
    network: str = "vgg19"  # one of `NETWORKS`
    projections: Mapping[str, np.ndarray] | None = None


def network(
    options: Options, arithmetic: Arithmetic
) -> tuple[keras.Model, Weights]:
    """The network that the options ask for, and its weights; see `load`."""
    layers = options.layer_names()
    found = load(options.weights, options.seed, options.network, layers)
    if found.warning:
        warnings.warn(found.warning, UserWarning, stacklevel=3)
    built = network_.features_model(
        found.network,
        found.kernels,
        layers,
        options.pooling,
        arithmetic.precision,
        arithmetic.transposed,
        arithmetic.at_once,
    )
    return built, found


def load(
    spec: str = "auto",
    seed: int = 0,
    network: str = "vgg19",
    layers: Iterable[str] = (),
) -> Weights:
    """The weights that `--weights` and `--network` ask for.

    Args:
      spec: "auto", "imagenet", "random" or a path. "auto" takes the file
        that NST_TF_WEIGHTS names, if it is to be VGG-19, else Keras' cached
        file, else the download, else the embedded network's in VGG-19's
        stead or random ones of seed 0, with a warning. For "vgg19_slim" it
        takes the embedded ones.
      seed: of the weights "random".
      network: one of `NETWORKS`.
      layers: what the network will be asked for.

    Raises:
      ValueError: a file that is missing, unreadable, or of another network;
        no ImageNet weights when they were asked for by name; or a layer
        that the network does not have.
    """
    if network == "vgg19_slim":
        return _slim(SLIM if spec == "auto" else Path(spec), layers)
    if spec == "random":
        return _random(seed, "", network)
    if spec not in NAMES:
        return _from_file(Path(spec), spec, network)
    named = _named(spec, network)
    if named:
        return _from_file(Path(named), named, network)
    try:
        return _from_file(imagenet_file(network), "imagenet", network)
    except OSError as error:
        if spec == "imagenet":
            raise ValueError(
                f"`weights`: the ImageNet weights are neither cached nor to "
                f"be downloaded ({_reason(error)}). {_how_to_get_them(network)}"
            ) from None
        lost = f"The download failed ({_reason(error)}). "
        lost += _how_to_get_them(network)
        with contextlib.suppress(ValueError):  # if it has these layers
            if network == "vgg19":
                return _slim(SLIM, layers)._replace(
                    warning="NO IMAGENET WEIGHTS: painting with vgg19_slim, "
                    "the small network that comes with nst_tf. Colours and "
                    f"strokes follow the style, small details blur. {lost}"
                )
        return _random(
            0,  # runs of other seeds share an engine
            "NO IMAGENET WEIGHTS: painting with an untrained, random "
            f"{NETWORKS[network].title}. Colours and grain will follow the "
            f"style, shapes and strokes hardly. {lost}",
            network,
        )


def check(spec: str, network: str = "vgg19") -> None:
    """ValueError for a `--weights` that cannot be: before any heavy work."""
    if network == "vgg19_slim":
        if spec in ("imagenet", "random"):
            raise ValueError(
                f'`weights`: vgg19_slim has no weights "{spec}". Leave '
                "--weights out, or give a file that scripts/distill wrote."
            )
        spec = str(SLIM) if spec == "auto" else spec
    named = _named(spec, network)
    path = Path(named or spec)
    if (spec in NAMES and not named) or path.is_file():
        return
    source = f"{VARIABLE} names" if named else "received"
    reader = "scripts/distill wrote"
    if network in PUBLISHED:
        reader = f"keras.applications.{PUBLISHED[network].application} reads"
    raise ValueError(
        f"`weights` should be {', '.join(NAMES)} or a file that "
        f'{reader}; {source} "{path}", which is not a file.'
        + suggest(spec, NAMES)
    )


def _named(spec: str, network: str) -> str | None:
    """The file that the environment names for these weights, if any."""
    usual = (spec, network) == ("auto", "vgg19")
    return os.environ.get(VARIABLE) if usual else None


def imagenet_file(network: str = "vgg19") -> Path:
    """Keras' cached file, downloaded first if need be; OSError if it can't."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    published = PUBLISHED[network]
    path = Path(home) / "models" / published.file
    if path.is_file() and _digest(path, "md5") == published.md5:
        return path
    download(published.url, path, published.md5)
    return path


def download(
    url: str,
    path: Path,
    md5: str,
    patience: float = PATIENCE,
    longest: float = LONGEST,
) -> None:
    """Fetches a file under a temporary name; renames it once it is whole.

    Raises:
      OSError: no answer within `patience` seconds, not whole within
        `longest`, or another checksum. Nothing is left behind then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + longest
    descriptor, partial = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with (
            os.fdopen(descriptor, "wb") as file,
            urllib.request.urlopen(url, timeout=patience) as answer,
        ):
            while block := answer.read1(1 << 18):  # what there is, at once
                file.write(block)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not done after {longest:.0f} s")
        if _digest(Path(partial), "md5") != md5:
            raise OSError(f"what came from {url} has another checksum")
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _slim(path: Path, layers: Iterable[str]) -> Weights:
    """A file that scripts/distill wrote."""
    try:
        with np.load(path) as file:
            arrays = {
                name: file[name].astype("float32")
                for name in file.files
                if "/" in name
            }
        kernels = {
            name.removesuffix("/kernel"): (
                arrays[name],
                arrays[name.replace("/kernel", "/bias")],
            )
            for name in arrays
            if name.endswith("/kernel")
        }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise ValueError(
            "`weights` should be a file that scripts/distill wrote; "
            f'"{path}" is not one{_kind(path)}. vgg19_slim, the small network '
            "that a draft paints with, has weights of its own: leave --weights "
            "out, or choose --network=vgg19."
        ) from None
    projections = {
        name.removesuffix("/projection"): array
        for name, array in arrays.items()
        if name.endswith("/projection")
    }
    for layer in layers:
        if layer not in projections:
            raise ValueError(
                f'`network`: vgg19_slim has no layer "{layer}"; it was '
                f"trained for {', '.join(projections)}. Choose among these, "
                "or --network=vgg19."
            )
    name = "embedded" if path == SLIM else str(path)
    digest = _digest(path, "sha256")
    return Weights(name, digest, kernels, "", "vgg19_slim", projections)


def _kind(path: Path) -> str:
    """What else a file is, as its first bytes tell."""
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        return f" ({error.strerror})"
    if head == b"\x89HDF\r\n\x1a\n":
        return ", but HDF5, as VGG-19's"
    return ", but a .npz" if head[:4] == b"PK\3\4" else ""


def _from_file(path: Path, name: str, network: str) -> Weights:
    kernels = read_kernels(path, network)
    return Weights(name, _digest(path, "sha256"), kernels, "", network)


def read_kernels(path: Path, network: str = "vgg19") -> vgg.Kernels:
    """Kernels out of any file that the network's keras.applications reads.

    Raises:
      ValueError: missing, unreadable, or weights of another network.
    """
    check(str(path), network)
    kernels = _named_kernels(path, network)
    if kernels:
        return kernels
    with defaults():
        return _kernels_by_keras(path, network)


def _named_kernels(path: Path, network: str) -> vgg.Kernels | None:
    """Out of the layout of VGG's file that Keras downloads; None of another."""
    import h5py

    layers = NETWORKS[network].layers
    kernels, channels = {}, 3
    try:
        with h5py.File(path) as file:
            groups = file.get("model_weights", file)
            if {name for name in groups if "_conv" in name} != set(layers):
                return None
            for layer in layers:
                group, width = groups[layer], vgg.WIDTHS[int(layer[5])]
                kernel, bias = (
                    np.asarray(group[name], "float32")
                    for name in group.attrs["weight_names"]
                )
                if kernel.shape != (3, 3, channels, width):
                    return None
                kernels[layer] = kernel, bias.reshape(width)
                channels = width
    except (KeyError, OSError, TypeError, ValueError):
        return None
    return kernels


def _kernels_by_keras(path: Path, network: str) -> vgg.Kernels:
    import h5py

    application = PUBLISHED[network].application
    known = h5py.is_hdf5(path) or zipfile.is_zipfile(path)
    # With its top, VGG-19 takes half a gigabyte.
    for top in (False, True) if known else ():
        model = getattr(keras.applications, application)(
            weights=None, include_top=top
        )
        try:
            model.load_weights(path)
        except Exception:  # h5py, zipfile and Keras each have theirs
            continue
        kernels = (
            _normalised(model)
            if network == "inception_v3"
            else {
                layer: tuple(model.get_layer(layer).get_weights())
                for layer in NETWORKS[network].layers
            }
        )
        del model
        gc.collect()  # Keras models have cycles, and this one holds 80 MB
        return kernels
    raise ValueError(
        f"`weights` should be a file that keras.applications.{application} "
        f'reads, with or without the top; "{path}" is not one{_kind(path)}. '
        + _how_to_get_them(network)
    )


def _normalised(model: keras.Model) -> vgg.Kernels:
    """Kernels and biases of convolutions with the batch normalisation after.

    In the order in which they were made, which their names tell.
    """
    kinds = keras.layers.Conv2D, keras.layers.BatchNormalization
    convolutions, normalisations = (
        sorted(
            (layer for layer in model.layers if isinstance(layer, kind)),
            key=_number,
        )
        for kind in kinds
    )
    kernels = {}
    pairs = zip(convolutions, normalisations, strict=True)
    for number, (convolution, normalisation) in enumerate(pairs, 1):
        (kernel,) = convolution.get_weights()
        shift, mean, variance = normalisation.get_weights()
        factor = 1 / np.sqrt(variance + normalisation.epsilon)
        kernels[f"conv{number}"] = kernel * factor, shift - mean * factor
    return kernels


def _number(layer: keras.Layer) -> int:
    """Of `conv2d_7`; `conv2d` is the first."""
    found = re.search(r"_(\d+)$", layer.name)
    return int(found[1]) if found else 0


def _random(seed: int, warning: str, network: str = "vgg19") -> Weights:
    kernels = network_.random_kernels(network, seed)
    digest = hashlib.sha256()
    for kernel, bias in kernels.values():
        digest.update(kernel.tobytes() + bias.tobytes())
    return Weights("random", digest.hexdigest(), kernels, warning, network)


def _how_to_get_them(network: str) -> str:
    published = PUBLISHED[network]
    variable = f" or {VARIABLE}=PATH" if network == "vgg19" else ""
    return (
        f"To have the real ones, fetch {published.file} where there is a "
        f"network ({published.url}) and give it with --weights=PATH{variable}."
    )


def _reason(error: OSError) -> str:
    """Why a download failed, without the names of classes around it."""
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner)


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
