"""What happens on the page: each event, and whom it concerns."""

import contextlib
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from nst_tf import presets
from nst_tf.files import record
from nst_tf.inputs import identity
from nst_tf.options import Options
from nst_tf.page import folder, form, painting, stage
from nst_tf.page.layout import Parts
from nst_tf.page.visits import Visits

DEVICE = "device"  # what runs queue for: one at a time
KEPT = 24  # pictures of a visit


def wire(
    parts: Parts,
    visits: Visits,
    limits: painting.Limits,
    samples: Mapping[str, Sequence[Path]],
) -> None:
    """Tells the components what to do."""
    quick = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    _wire_painting(parts, visits, limits)
    parts.stop.click(_stopper(visits), None, parts.stop, **quick)
    options = [parts.options[name] for name in form.names()]
    parts.preset.input(_preset, parts.preset, options, preprocess=False, **quick)
    for gallery, target, kind in (
        (parts.content_samples, parts.content, "content"),
        (parts.style_samples, parts.styles[0], "style"),
    ):
        gallery.select(_sample(samples[kind]), None, target, **quick)
    parts.gallery.select(
        _show_again(parts), parts.pictures, _shown_outputs(parts), **quick
    )
    sources = [parts.content, *parts.styles, *parts.shares]
    parts.reuse.click(
        _reuse(samples),
        [parts.shown, parts.content, *parts.styles],
        [*options, *sources, parts.told],
        preprocess=False,
        **quick,
    )
    parts.dropped.upload(
        _dropped(samples),
        [parts.dropped, parts.content, *parts.styles],
        [*options, *sources, parts.told],
        preprocess=False,
        **quick,
    )


def source(payload: Any, name: str) -> bytes | None:
    """The bytes of a picture that was sent; None where there is none.

    Raises:
      ValueError: it is not in the page's folder.
    """
    if payload is None:
        return None
    path = payload.get("path") if isinstance(payload, Mapping) else None
    if not isinstance(path, str) or not folder.holds(path):
        raise ValueError(
            f"`{name}` should be a picture that was sent to this page; "
            "received something else, or its time here is over. Send it anew."
        )
    return Path(path).read_bytes()


def options_from(
    values: Mapping[str, Any], preset: str | None, draft: bool
) -> Options:
    """What was filled in, over a preset, the draft's preset over both."""
    given = form.read(values)
    if preset:
        given = presets.merge(presets.read(preset), given)
    if draft:
        given = presets.merge(given, presets.read("draft"))
    return Options.from_dict(given)


def _wire_painting(parts: Parts, visits: Visits, limits) -> None:
    names = form.names()
    inputs = [
        parts.pictures,
        parts.animation,
        parts.content,
        *parts.styles,
        *parts.shares,
        *(parts.options[name] for name in names),
    ]
    outputs = [
        parts.banner,
        parts.stage,
        parts.draft,
        parts.paint,
        parts.stop,
        parts.gallery,
        parts.pictures,
        *_shown_outputs(parts),
    ]
    for button, draft in ((parts.draft, True), (parts.paint, False)):
        button.click(
            _painter(parts, visits, limits, draft),
            inputs,
            outputs,
            preprocess=False,
            show_progress="minimal",
            show_progress_on=parts.stage,
            concurrency_id=DEVICE,
            concurrency_limit=1,
            api_visibility="private",
        )


def _painter(parts: Parts, visits: Visits, limits, draft: bool):
    count = form.STYLES

    def paint(request: gr.Request, pictures, animated, content, *rest):
        styles, shares = rest[:count], rest[count : 2 * count]
        values = dict(zip(form.names(), rest[2 * count :], strict=True))
        yield _begun(parts)
        try:
            ready = _prepared(content, styles, shares, values, draft, limits)
            frames: list | None = [] if animated else None
            with visits.run(request.session_hash) as stopped:
                yield from _painted(parts, ready, stopped, frames, pictures)
        except (ValueError, OSError) as error:
            yield _ended(parts, stage.problem(str(error)))
        except Exception as error:  # nobody's fault but ours: the page lives on
            traceback.print_exc(file=sys.stderr)
            words = f"This should not happen: {type(error).__name__}. {error}"
            yield _ended(parts, stage.problem(words))

    return paint


def _prepared(content, styles, shares, values, draft, limits):
    given = [
        (source(style, "style"), share)
        for style, share in zip(styles, shares, strict=True)
        if style is not None
    ]
    blend = form.blend([share for _, share in given])
    options = options_from({**values, form.SHARES: blend}, None, draft)
    if not options.style_weight and options.init != "style":
        given, options = [], options.replace(style_blend=())
    picture = source(content, "content")
    return painting.prepare(
        picture, [style for style, _ in given], options, limits
    )


def _painted(parts, ready, stopped, frames, pictures) -> Iterator[dict]:
    last = None
    for now in painting.follow(ready, stopped, frames):
        last = now.result or last
        yield {
            parts.banner: stage.banner(now.warning),
            parts.stage: stage.moment(now),
        }
    yield {parts.stage: stage.waiting("Saving …"), parts.stop: _dull()}
    done = painting.finish(last, ready, frames)
    folder.sweep()
    kept = [*pictures, done][-KEPT:]
    words = f"Done: {done.caption}."
    if last.diverged or stopped.is_set():
        words = f"Stopped: {done.caption}. The best picture so far is kept."
    yield {
        **_ended(parts, stage.ended(words)),
        parts.pictures: kept,
        parts.gallery: _gallery(kept),
        **dict(zip(_shown_outputs(parts), _showing(done, parts), strict=True)),
    }


def _begun(parts: Parts) -> dict:
    return {
        parts.stage: stage.waiting("Reading the pictures …"),
        parts.result: gr.update(visible=False),
        parts.draft: _dull(),
        parts.paint: _dull(),
        parts.stop: gr.update(interactive=True, value="Stop"),
    }


def _ended(parts: Parts, shown: str) -> dict:
    return {
        parts.stage: shown,
        parts.draft: gr.update(interactive=True),
        parts.paint: gr.update(interactive=True),
        parts.stop: gr.update(interactive=False, value="Stop"),
    }


def _dull() -> dict:
    return gr.update(interactive=False)


def _stopper(visits: Visits):
    def stop(request: gr.Request):
        if visits.stop(request.session_hash):
            return gr.update(interactive=False, value="Stopping …")
        return gr.update()

    return stop


def _preset(name: str | None):
    options = Options.from_dict(presets.read(name) if name else {})
    return form.updates(options)


def _sample(paths: Sequence[Path]):
    def choose(chosen: gr.SelectData):
        return str(paths[int(chosen.index)])

    return choose


def _gallery(pictures: Sequence[painting.Painted]) -> dict:
    listed = [(one.files[".jpg"], one.caption) for one in pictures]
    return gr.update(value=listed, visible=bool(listed), selected_index=None)


def _shown_outputs(parts: Parts) -> list:
    files = parts.downloads.values()
    return [parts.result, parts.slider, *files, parts.recipe, parts.shown]


def _showing(done: painting.Painted, parts: Parts) -> list:
    files = [
        gr.update(value=done.files.get(suffix), visible=suffix in done.files)
        for suffix in parts.downloads
    ]
    pair = (done.before, done.files[".jpg"])
    recipe = record.to_json(done.record)
    return [gr.update(visible=True), pair, *files, recipe, done.record]


def _show_again(parts: Parts):
    def show(pictures, chosen: gr.SelectData):
        return _showing(pictures[int(chosen.index)], parts)

    return show


def _reuse(samples):
    def reuse(recipe, *payloads):
        return _filled(recipe, samples, payloads)

    return reuse


def _dropped(samples):
    def read(payload, *payloads):
        try:
            source(payload, "file")
            recipe = record.read_recipe(payload["path"])
        except (ValueError, RecursionError) as error:
            return _unfilled(str(error).replace(payload["path"], "the file"))
        return _filled(recipe, samples, payloads)

    return read


def _unfilled(words: str) -> list:
    count = len(form.names()) + 1 + 2 * form.STYLES
    return [*[gr.skip()] * count, f"**{words}**"]


def _filled(recipe, samples, payloads) -> list:
    """Options, pictures and shares of a recipe, and what is missing."""
    try:
        options, left = form.taken(recipe["options"])
        inputs = recipe["inputs"]
        wanted = [inputs["content"], *inputs["styles"]]
        digests = [one and str(one["sha256"]) for one in wanted]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return _unfilled(f"The recipe cannot be read: {error}")
    known = _known(samples, payloads)
    content, *styles = [known.get(digest or "") for digest in digests]
    missing = [
        name
        for name, digest, path in zip(
            ["photograph", *["painting"] * len(styles)],
            digests,
            [content, *styles],
            strict=True,
        )
        if digest and not path
    ]
    padding = [None] * form.STYLES
    shares = [*(options.style_blend or [1.0] * len(styles)), *padding]
    words = "The form is filled in."
    if missing:
        words += f" Give the {' and the '.join(missing)} that it was made of."
    if left:
        words += f" Not on the page, left out: {', '.join(left)}."
    return [
        *form.updates(options),
        content,
        *[*styles, *padding][: form.STYLES],
        *[1.0 if share is None else share for share in shares][: form.STYLES],
        words,
    ]


def _known(samples, payloads) -> dict[str, str]:
    """Paths of the samples and of what is in the form, by sha256."""
    paths = [str(path) for kind in samples.values() for path in kind]
    for payload in payloads:
        with contextlib.suppress(ValueError):
            if source(payload, "picture") is not None:
                paths.append(payload["path"])
    found = {}
    for path in paths:
        with contextlib.suppress(ValueError):
            found[str(identity(path, "picture")["sha256"])] = path
    return found
