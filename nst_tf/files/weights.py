"""Which weights: a given file, Keras' cache, the download, or none at all.

The only module that downloads.
"""

import gc
import hashlib
import os
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nst_tf.backend import defaults, keras
from nst_tf.engine import vgg
from nst_tf.options import LAYERS, suggest

# Where keras.applications fetches the convolutional part, and its MD5.
FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/" + FILE
)
MD5 = "253f8cb515780f3b799900260a226db6"
SLIM = Path(__file__).parents[1] / "data" / "vgg19_slim.npz"  # embedded
VARIABLE = "NST_TF_WEIGHTS"
NAMES = ("auto", "imagenet", "random")
PATIENCE = 15.0  # seconds without a byte before a download is given up
LONGEST = 900.0  # seconds for a whole download


class Weights(NamedTuple):
    """The network's kernels, what they are, and what to know of them."""

    name: str  # "imagenet", "random", or the file's path
    sha256: str  # of the file; of the kernels where there is none
    kernels: vgg.Kernels
    warning: str  # '' or what they cost in fidelity and how to mend it
    network: str = "vgg19"  # or "vgg19_slim"
    projections: Mapping[str, np.ndarray] | None = None


def load(
    spec: str = "auto",
    seed: int = 0,
    network: str = "vgg19",
    layers: Iterable[str] = (),
) -> Weights:
    """The weights that `--weights` and `--network` ask for.

    Args:
      spec: "auto", "imagenet", "random" or a path. "auto" takes the file
        that NST_TF_WEIGHTS names, else Keras' cached file, else the
        download, else the embedded network's, with a warning. For
        "vgg19_slim" it takes the embedded ones.
      seed: of the random weights.
      network: "vgg19" or "vgg19_slim".
      layers: what the network will be asked for.

    Raises:
      ValueError: a file that is missing, unreadable, or of another network;
        no ImageNet weights when they were asked for by name; or a layer
        that the network does not have.
    """
    if network == "vgg19_slim":
        return _slim(SLIM if spec == "auto" else Path(spec), layers)
    if spec == "random":
        return _random(seed, "")
    if spec not in NAMES:
        return _from_file(Path(spec), spec)
    named = os.environ.get(VARIABLE)
    if spec == "auto" and named:
        return _from_file(Path(named), named)
    try:
        return _from_file(imagenet_file(), "imagenet")
    except OSError as error:
        if spec == "imagenet":
            raise ValueError(
                f"`weights`: the ImageNet weights are neither cached nor to "
                f"be downloaded ({error}). {_how_to_get_them()}"
            ) from None
        lost = f"The download failed ({error}). {_how_to_get_them()}"
        try:
            return _slim(SLIM, layers)._replace(
                warning="NO IMAGENET WEIGHTS: painting with vgg19_slim, the "
                "small network that comes with nst_tf. Colours and strokes "
                f"follow the style, small details blur. {lost}"
            )
        except ValueError:  # it does not have these layers
            return _random(
                seed,
                "NO IMAGENET WEIGHTS: painting with an untrained, random "
                "VGG-19. Colours and grain will follow the style, shapes and "
                f"strokes hardly. {lost}",
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
    named = os.environ.get(VARIABLE) if spec == "auto" else None
    path = Path(named or spec)
    if (spec in NAMES and not named) or path.is_file():
        return
    source = f"{VARIABLE} names" if named else "received"
    raise ValueError(
        f"`weights` should be {', '.join(NAMES)} or a file that "
        f'keras.applications.VGG19 reads; {source} "{path}", which is not a '
        f"file." + suggest(spec, NAMES)
    )


def imagenet_file() -> Path:
    """Keras' cached file, downloaded first if need be; OSError if it can't."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    path = Path(home) / "models" / FILE
    if path.is_file() and _digest(path, "md5") == MD5:
        return path
    download(URL, path, MD5)
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
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`weights` should be a file that scripts/distill wrote; "
            f'"{path}" is not one ({error}).'
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


def _from_file(path: Path, name: str) -> Weights:
    kernels = read_kernels(path)
    return Weights(name, _digest(path, "sha256"), kernels, "")


def read_kernels(path: Path) -> vgg.Kernels:
    """Kernels out of any file that keras.applications.VGG19 reads.

    Raises:
      ValueError: missing, unreadable, or weights of another network.
    """
    check(str(path))
    kernels = _named_kernels(path)
    if kernels:
        return kernels
    with defaults():
        return _kernels_by_keras(path)


def _named_kernels(path: Path) -> vgg.Kernels | None:
    """Out of the layout of the file that Keras downloads; None of another."""
    import h5py

    kernels, channels = {}, 3
    try:
        with h5py.File(path) as file:
            groups = file.get("model_weights", file)
            for layer in LAYERS:
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


def _kernels_by_keras(path: Path) -> vgg.Kernels:
    for top in (False, True):
        model = keras.applications.VGG19(weights=None, include_top=top)
        try:
            model.load_weights(path)
        except Exception as error:  # h5py, zipfile and Keras each have theirs
            reason = str(error).splitlines()[0][:200] if str(error) else error
            continue
        kernels = {
            layer: tuple(model.get_layer(layer).get_weights())
            for layer in LAYERS
        }
        del model
        gc.collect()  # Keras models have cycles, and this one holds 80 MB
        return kernels
    raise ValueError(
        f"`weights` should be a file that keras.applications.VGG19 reads, "
        f'with or without the top; "{path}" is not one ({reason}). '
        + _how_to_get_them()
    )


def _random(seed: int, warning: str) -> Weights:
    kernels = vgg.random_kernels(seed)
    digest = hashlib.sha256()
    for kernel, bias in kernels.values():
        digest.update(kernel.tobytes() + bias.tobytes())
    return Weights("random", digest.hexdigest(), kernels, warning)


def _how_to_get_them() -> str:
    return (
        f"To have the real ones, fetch {FILE} where there is a network "
        f"({URL}) and give it with --weights=PATH or {VARIABLE}=PATH."
    )


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
