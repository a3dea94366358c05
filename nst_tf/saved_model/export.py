"""The same verb as a SavedModel: weights, targets, scales and loop in one.

What is traced is `Transfer.snapshots`, the generator that the command line
runs; where the SavedModel runs neither nst_tf nor Keras is needed.
"""

import dataclasses
import functools
import inspect
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from nst_tf import backend
from nst_tf.backend import keras
from nst_tf.engine import tracing, transfer, vgg
from nst_tf.files import record
from nst_tf.files import weights as weights_
from nst_tf.machine.plan import anywhere
from nst_tf.request.options import Options
from nst_tf.saved_model import graph

ENCODED = tf.TensorSpec([], tf.string)
ATTRIBUTES = {"serving_default": "stylize"}  # of what Python loads
FIXED = {field.name for field in dataclasses.fields(graph.Design)}


def save(
    output: str | os.PathLike, *, options: Options | None = None, **changes
) -> dict[str, Any]:
    """Writes the whole stylisation as one SavedModel.

    Args:
      output: the folder to make, e.g. `models/nst/1`.
      options: an `Options`; defaults otherwise.
      **changes: single options, and what `graph.Design` lists, e.g. `styles=2`.

    Returns:
      The recipe, as in the folder's `assets.extra/nst_tf.json`.

    Raises:
      ValueError: what cannot be exported, or a folder that is not empty.
    """
    backend.check()
    fixed = {name: changes.pop(name) for name in FIXED & changes.keys()}
    options = (options or Options()).replace(**changes)
    design = graph.Design(options=options, **fixed)
    folder = Path(output)
    _check_folder(folder)
    arithmetic = anywhere(options)
    network, weights = weights_.network(options, arithmetic)
    module = tf.Module(name="nst_tf")
    module.kernels = _stored(network, design.weights_dtype)
    features = _stateless(network, module.kernels)
    engine = transfer.build(features, options, arithmetic, weights.projections)
    traced: dict[str, graph.Tensors] = {}
    functions = _functions(design, engine, traced)
    for name, function in functions.items():
        setattr(module, ATTRIBUTES.get(name, name), function)

    def recipe():
        signatures = _signatures(design, functions, traced)
        return _recipe(design, weights, arithmetic.precision, signatures)

    try:
        return _write(folder, module, functions, recipe)
    finally:
        for outputs in traced.values():
            tracing.forget(next(iter(outputs.values())).graph)


def _check_folder(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(
            f'`output` should be a new folder; "{folder}" is there already. '
            "Choose another, such as the next version number beside it."
        )
    record.check_path(folder / record.INSIDE, "output")
    if record.printable(whole := str(folder.absolute())) != whole:
        raise ValueError(
            "`output` should be UTF-8, for TensorFlow writes it; received "
            f'"{record.printable(whole)}". Choose another name.'
        )


def _stored(network: keras.Model, dtype: str) -> list[tf.Variable]:
    """The network's variables, kernels in `dtype`, biases in float32."""
    stored = []
    for variable in network.non_trainable_variables:
        if variable.name == vgg.TURNED:
            continue
        kind = dtype if len(variable.shape) == 4 else "float32"
        value = tf.cast(variable.value, kind)
        name = variable.path.replace("/", "_")
        stored.append(tf.Variable(value, trainable=False, name=name))
    return stored


def _stateless(
    network: keras.Model, stored: list[tf.Variable]
) -> Callable[[tf.Tensor], graph.Tensors]:
    """The network as a function of these variables, not of Keras's."""

    def features(image):
        values, given = [], iter(stored)
        for variable in network.non_trainable_variables:
            if variable.name == vgg.TURNED:  # after kernel and bias
                values.append(vgg.turned(values[-2]))
            else:
                values.append(tf.cast(next(given), variable.dtype))
        return network.stateless_call([], values, image)[0]

    return features


def _functions(
    design: graph.Design,
    engine: transfer.Transfer,
    traced: dict[str, graph.Tensors],
) -> dict[str, Any]:
    """The signatures: name -> tf.function of named inputs.

    `traced` gets the outputs of each when it is traced, which is as it is
    saved: what was traced before would be traced again.
    """
    numbers = design.numbers()
    aims = {
        name: default
        for name, default in numbers.items()
        if name.endswith(("_weight", "_blend"))
    }

    def stylize_bytes(**given):
        for name in design.names:
            given[name] = graph.decoded(name, given.pop(f"{name}_bytes"))
        outputs = dict(stylize(**given))
        png = tf.io.encode_png(outputs.pop("image"))
        return {"image_bytes": png, **outputs}

    def features(image):
        return engine.objective.features(graph.picture(design, "image", image))

    pictures = dict.fromkeys(design.names, graph.RGB)
    encoded = {f"{name}_bytes": ENCODED for name in design.names}
    image = {"image": graph.RGB}
    function = functools.partial(_function, traced)
    stylize = function(
        "serving_default",
        lambda **given: graph.stylize(design, engine, given),
        pictures,
        numbers,
    )
    costs = function(
        "costs",
        lambda **given: graph.costs(design, engine, given),
        {**pictures, **image},
        aims,
    )
    return {
        "serving_default": stylize,
        "stylize_bytes": function(
            "stylize_bytes", stylize_bytes, encoded, numbers
        ),
        "features": function("features", features, image, {}),
        "costs": costs,
    }


def _function(
    traced: dict[str, graph.Tensors],
    name: str,
    body: Callable[..., graph.Tensors],
    required: Mapping[str, tf.TensorSpec],
    defaults: graph.Tensors,
):
    """A tf.function of these inputs; a SavedModel keeps the defaults.

    Its outputs go to `traced`, too, when it is traced.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(each, kind) for each in required]
    specs = [
        tf.TensorSpec(spec.shape, spec.dtype, each)
        for each, spec in required.items()
    ]
    for each, default in defaults.items():
        # A vector may come too long: `_checked` says so better than a door.
        shape = [None] * default.shape.rank
        specs.append(tf.TensorSpec(shape, default.dtype, each))
        parameters.append(inspect.Parameter(each, kind, default=default))
    signature = inspect.Signature(parameters)

    def named(*arguments, **keywords):
        given = signature.bind(*arguments, **keywords).arguments
        traced[name] = body(**given)
        return traced[name]

    named.__signature__ = signature  # type: ignore[attr-defined]
    return tf.function(named, input_signature=specs, autograph=False)


def _signatures(
    design: graph.Design, functions, traced: Mapping[str, graph.Tensors]
) -> dict[str, Any]:
    """Inputs with their defaults, and outputs; JSON types."""
    defaults, signatures = design.numbers(), {}
    for name, function in functions.items():
        inputs = {spec.name: _spec(spec) for spec in function.input_signature}
        for key in inputs.keys() & defaults.keys():
            inputs[key]["default"] = defaults[key].numpy().tolist()
        outputs = {key: _spec(each) for key, each in traced[name].items()}
        signatures[name] = {"inputs": inputs, "outputs": outputs}
    return signatures


def _recipe(
    design: graph.Design, weights, precision, signatures
) -> dict[str, Any]:
    """All that is fixed; JSON types."""
    fixed = dataclasses.asdict(design)
    del fixed["options"]
    return {
        "options": design.options.to_dict(),
        "inputs": {
            "content": None,
            "styles": [],
            "init": None,
            "color_image": None,
        },
        "network": {
            "name": weights.network,
            "weights": weights.name,
            "sha256": weights.sha256,
            "precision": precision,
        },
        "export": {**fixed, "smallest": design.options.smallest},
        "signatures": signatures,
        "versions": record.versions(),
    }


def _spec(spec: tf.TensorSpec | tf.Tensor) -> dict[str, Any]:
    return {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}


def _write(
    folder: Path, module: tf.Module, functions, recipe: Callable[[], Any]
) -> dict[str, Any]:
    """The whole folder or nothing: a server may be watching.

    The recipe is made when all is traced.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.parent / f".{folder.name}.{os.getpid()}.part"
    try:
        tf.saved_model.save(module, str(partial), signatures=functions)
        told = recipe()
        record.write_recipe(partial / record.INSIDE, told)
        os.replace(partial, folder)
        return told
    except tf.errors.OpError as error:  # of TensorFlow's own files
        first = (error.message or "").partition("\n")[0]
        reason = first.rpartition("}} ")[2].removesuffix(" [Op:SaveV2]")
        raise OSError(f'"{folder}" cannot be written ({reason}).') from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
