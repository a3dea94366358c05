"""What each command takes: the flags that are no options, in tables.

Standard library and the tables of options only.
"""

import dataclasses
from typing import Any, NamedTuple

from nst_tf.request.options import Options
from nst_tf.study.figures import FIGURES
from nst_tf.video.settings import Settings


class Flag(NamedTuple):
    """A flag that is no option: it does not decide the result.

    `many` may be given again; `first` are those that a short help shows.
    """

    name: str
    group: str
    help: str
    default: Any = None
    many: bool = False
    first: bool = False


def _main(name: str, about: str, default: Any = None, many=False) -> Flag:
    """A flag that a short help shows, among the pictures."""
    return Flag(name, "pictures", about, default, many, first=True)


GROUPS = {
    "pictures": "Pictures",
    "costs": "What is aimed at",
    "styles": "Styles",
    "colours": "Colours",
    "places": "Places",
    "start": "Where it starts",
    "optimiser": "Optimiser",
    "size": "Size and length",
    "network": "Network",
    "clip": "Clip",
    "files": "Further files",
    "page": "Page",
    "machine": "Machine",
}
# What several commands have.
PRESET = _main("preset", "a set of options; nst-tf presets lists them")
DEVICE = Flag("device", "machine", "auto, cpu, gpu or gpu:N", "auto")
QUIET = Flag("quiet", "machine", "print errors and warnings only", False)
STYLIZE = (
    _main("content", "the photograph"),
    _main("style", "the painting; may be given again", many=True),
    _main("output", "the result: .png .jpg .webp .tif .avif", "stylized.png"),
    PRESET,
    _main("from", "a result to run again; what is typed wins"),
    Flag(
        "depth",
        "files",
        "bits a channel of the result: 8, or 16 of a .png or .tif",
        8,
    ),
    Flag("every", "files", "also save a picture each so many steps"),
    Flag("record", "files", "the recipe, as .json"),
    Flag("costs", "files", "the cost terms of each step, as .csv or .json"),
    Flag("plot", "files", "the cost terms drawn, as .png .svg or .pdf"),
    Flag("animation", "files", "the run, as .gif .webp or .png"),
    Flag("animation_width", "files", "its width in pixels", 480),
    Flag("frame_rate", "files", "its frames per second", 12),
    Flag("progression", "files", "one sheet of the pictures in order"),
    Flag("checkpoint", "files", "the state to resume from, as .npz"),
    Flag("checkpoint_every", "files", "steps, or seconds as 60s", "60s"),
    Flag("resume", "files", "a checkpoint to go on from"),
    DEVICE,
    QUIET,
)
EXPORT = (
    Flag("output", "files", "the folder to make, as models/nst/1", first=True),
    PRESET._replace(group="files"),
    Flag("styles", "styles", "how many styles a call takes", 1, first=True),
    Flag("reports", "size", "rows of costs at each scale, first and last", 11),
    Flag("max_pixels", "size", "refuse pictures of more; 0: any", 0),
    Flag("max_steps", "size", "refuse calls for more at a scale", 10**7),
    Flag(
        "weights_dtype",
        "network",
        "how the kernels are stored: float32, or float16 for half the size",
        "float32",
    ),
)
PLAN = (
    Flag("size", "size", "of the result, as 8000x6000", first=True),
    PRESET._replace(group="size"),
    DEVICE._replace(first=True),
)
BATCH = (
    _main(
        "content",
        "photographs: a pattern, a folder or a file; may be given again",
        many=True,
    ),
    _main("style", "paintings: the same", many=True),
    Flag(
        "pair",
        "pictures",
        "product: each photograph with each painting; zip: with its own",
        "product",
    ),
    _main(
        "manifest",
        "instead, a .csv or .jsonl file: a job a row; columns content, style "
        "and any option",
    ),
    _main("output", "the folder of the results", "painted"),
    _main(
        "name",
        "their names, of {content}, {style}, {number} and any {option}",
        "{content}_{style}.png",
    ),
    PRESET,
    Flag("index", "files", "make index.html, the pictures small", True),
    Flag(
        "workers",
        "machine",
        "how many processes; auto: one per GPU, or by cores and memory",
        "auto",
        first=True,
    ),
    Flag(
        "scheduler",
        "machine",
        "a Dask cluster instead, as tcp://host:8786",
    ),
    Flag("device", "machine", "auto or cpu", "auto"),
    QUIET,
)
RECOLOR = (
    _main("picture", "what is to be recoloured"),
    _main("content", "the photograph whose colours it gets"),
    _main("output", "the result", "recolored.png"),
    Flag(
        "color",
        "colours",
        "luminance: chroma of the content, which shows the same; content: the "
        "mean and the covariance of the content's colours",
        "luminance",
        first=True,
    ),
    Flag(
        "color_strength", "colours", "share of the way there", 1.0, first=True
    ),
    Flag(
        "color_image", "colours", "a palette in the content's stead", first=True
    ),
)
VIDEO = (
    _main("content", "the clip: any that FFmpeg reads"),
    STYLIZE[1],
    _main(
        "output",
        "the result, as .mp4; its frames are kept in .frames/ beside it",
        "stylized.mp4",
    ),
    Flag(
        "contact",
        "pictures",
        "also a sheet of frames, photograph above painting, as a picture",
        first=True,
    ),
    PRESET,
    DEVICE,
    QUIET,
)
PATCHES: tuple[Flag, ...] = (
    Flag("images", "pictures", "the folder of pictures to look through"),
    Flag(
        "output",
        "pictures",
        "the sheets, one a layer: .png .jpg .webp .tif .avif",
        "patches.png",
    ),
    Flag("per_image", "pictures", "patches of a unit out of one picture", 1),
    Flag("max_size", "size", "long side of a picture; 0: its own", 0),
    Flag(
        "layers",
        "network",
        "whose units",
        "conv1_1,conv2_1,conv3_1,conv4_1,conv5_1",
    ),
    Flag(
        "units",
        "network",
        "how many of each layer, those of the widest spread; or which, as "
        "7,100",
        9,
    ),
    Flag(
        "by",
        "network",
        "activation: the patches; gradient: what in them excites the unit",
        "activation",
    ),
    Flag("record", "files", "every patch and where it is, as .json"),
    DEVICE,
    QUIET,
)
FIGURE: tuple[Flag, ...] = (
    Flag("content", "pictures", "the photograph"),
    Flag("style", "pictures", "the painting; may be given again", many=True),
    Flag(
        "output",
        "pictures",
        "the sheet: .png .jpg .webp .tif .avif; by default named after the "
        "command",
    ),
    PRESET,
    Flag("cells", "files", "folder of the pictures; by default the output's"),
    Flag("costs", "files", "costs and seconds; by default the output's .csv"),
    Flag("pdf", "files", "the sheet once more, for print"),
    Flag(
        "workers",
        "machine",
        "paint on so many processes, or auto, as batch does; by default on "
        "none but this",
    ),
    DEVICE,
    QUIET,
)
SWEEP: tuple[Flag, ...] = (
    Flag(
        "over",
        "pictures",
        "what to vary, as style_weight=4,40,400; may be given again",
        many=True,
    ),
    *FIGURE,
)
PAGE: tuple[Flag, ...] = (
    Flag("host", "page", "the address to listen on", "127.0.0.1"),
    Flag("port", "page", "where; the first free one from 7860 by default"),
    Flag("open", "page", "also open the browser", False),
    Flag("auth_file", "page", "who may enter: a line NAME:PASSWORD each"),
    Flag("max_pixels", "page", "of a result, at most; 25 million by default"),
    Flag("max_steps", "page", "at a scale, at most; 5000 by default"),
    Flag("queue", "page", "how many may wait; 8 by default"),
    Flag("root_path", "page", "where a proxy has the page, as /paint"),
    Flag("share", "page", "let the world in, by Gradio's servers", False),
    DEVICE,
)
LATER = "cells", "device", "quiet", "root_path"  # by --helpfull alone
PATCHES, FIGURE, SWEEP, PAGE = (
    tuple(flag._replace(first=flag.name not in LATER) for flag in own)
    for own in (PATCHES, FIGURE, SWEEP, PAGE)
)
FLAGS = {
    "stylize": STYLIZE,
    "batch": BATCH,
    "export": EXPORT,
    "plan": PLAN,
    "recolor": RECOLOR,
    "video": VIDEO,
    "patches": PATCHES,
    "sweep": SWEEP,
    "figure": FIGURE,
    "page": PAGE,
}
# Tables of options beside that of the pictures.
TABLES: dict[str, tuple[Any, ...]] = {"video": (Settings,)}
PLACES = "mask", "content_mask", "style_mask", "detail_mask"
# The commands that take options, and the options without a meaning.
VOID = {
    "stylize": (),
    "batch": (),
    "video": (),
    "export": ("max_size", "print", *PLACES),
    "plan": ("max_size", "enlarge", *PLACES),
    "sweep": (),
    "figure": (),
    "patches": tuple(
        field.name
        for field in dataclasses.fields(Options)
        if field.name not in ("network", "weights")
    ),
    "page": tuple(field.name for field in dataclasses.fields(Options)),
}
MANY = "content_mask", "style_mask"  # options that may be given again
# Arguments without a dash, and what they are.
POSITIONAL = {
    "show": "RESULT...",
    "figure": "|".join(FIGURES) + " [--flag=value ...]",
}
