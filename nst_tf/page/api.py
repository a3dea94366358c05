"""The same runs for a program: `/draft`, `/paint` and `/stop`.

    client = gradio_client.Client("http://127.0.0.1:7860")
    client.predict(
        content=gradio_client.handle_file("photo.jpg"),
        style=gradio_client.handle_file("painting.jpg"),
        steps=50,
        api_name="/paint",
    )

gives the path of the picture's file. Every option of the page goes by name.
"""

import inspect
from typing import Any

import gradio as gr

from nst_tf.files import encoding
from nst_tf.page import events, folder, form, painting
from nst_tf.page.line import Job, Line
from nst_tf.page.visits import Visits

PROGRAMS = 16  # that wait for a picture, each in a thread
Picture = gr.FileData | None


def offer(visits: Visits, line: Line, limits: painting.Limits) -> None:
    """Adds the endpoints, inside of a `gr.Blocks`."""
    for name, draft in (("draft", True), ("paint", False)):
        gr.api(
            _endpoint(visits, line, limits, draft),
            api_name=name,
            api_description=_about(draft),
            concurrency_id="programs",
            concurrency_limit=PROGRAMS,
        )

    def stop(request: gr.Request) -> int:
        visitor = visits.come(request.session_hash, request.session_hash)
        return visitor.stop() if visitor else 0

    gr.api(
        stop,
        api_name="stop",
        api_description="Stops this client's runs; how many that were.",
        queue=False,
    )


def _about(draft: bool) -> str:
    what = "vgg19_slim, in seconds" if draft else "as the options say"
    return f"Paints {what}; returns the picture's file, its recipe inside."


def _parameters() -> dict[str, Any]:
    """Names and types of what an endpoint takes; all default to None."""
    found: dict[str, Any] = {"content": Picture, "style": Picture}
    for number in range(2, form.STYLES + 1):
        found[f"style_{number}"] = Picture
    found |= {"mask": Picture, "preset": str | None, "format": str | None}
    for field in form.fields():
        kind: Any = str
        if isinstance(field.default, bool):
            kind = bool
        elif form.is_number(field):
            kind = float
        found[field.name] = kind | None
    return found


def _endpoint(visits: Visits, line: Line, limits: painting.Limits, draft: bool):
    kinds = _parameters()

    def paint(*values: Any) -> dict[str, Any]:
        *given, request = values
        named = dict(zip(kinds, given, strict=True))
        session = request.session_hash
        visitor = visits.welcome(session, session)
        try:
            return _painted(named, draft, limits, line, visitor)
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from None
        finally:
            visits.end(session)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter(name, kind, default=None, annotation=annotation)
        for name, annotation in kinds.items()
    ]
    parameters.append(
        inspect.Parameter(
            "request", kind, default=None, annotation=gr.Request | None
        )
    )
    returned: Any = gr.FileData
    paint.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        parameters, return_annotation=returned
    )
    paint.__annotations__ = {
        **kinds,
        "request": gr.Request | None,
        "return": returned,
    }
    return paint


def _painted(named, draft, limits, line: Line, visitor) -> dict[str, Any]:
    styles = ["style", *(f"style_{n}" for n in range(2, form.STYLES + 1))]
    content = folder.original(named.pop("content"), "content")
    sources = [folder.original(named.pop(name), name) for name in styles]
    mask = folder.sent(named.pop("mask"), "mask")
    preset, kind = named.pop("preset"), named.pop("format") or "png"
    encoding.check_suffix(f"painted.{kind}", "format")
    values = {name: v for name, v in named.items() if v is not None}
    options = events.options_from(values, preset, draft)
    known = [style for style in sources if style is not None]
    masks = {} if mask is None else {painting.MASK: mask}
    wish = painting.Wish(content, known, options, masks)
    wish.check(limits)
    job = Job(visitor, wish, kinds={kind: (f"painted.{kind}", 8)})
    line.join(job)
    progress = gr.Progress()
    for now in job.moments():
        progress(now.done, desc=now.words)
    if job.painted is None:
        raise ValueError(job.problem or "stopped before it began.")
    return gr.FileData(path=job.painted.files[kind]).model_dump()
