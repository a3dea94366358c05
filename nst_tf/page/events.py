"""What happens on the page: each event, and whom it concerns."""

import dataclasses
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from nst_tf.files import record
from nst_tf.page import brush, folder, form, painting, recipes, stage
from nst_tf.page.layout import Parts
from nst_tf.page.visits import Visits
from nst_tf.request import presets
from nst_tf.request.options import Options

DEVICE = "device"  # what runs queue for: one at a time
KEPT = 24  # pictures of a visit
QUICK: dict[str, Any] = {
    "queue": False,
    "api_visibility": "private",
    "show_progress": "hidden",
}
TO_THE_STAGE = """() => {
  document.querySelector("#stage").scrollIntoView({block: "nearest"});
}"""


def wire(
    parts: Parts,
    visits: Visits,
    limits: painting.Limits,
    samples: Mapping[str, Sequence[Path]],
) -> None:
    """Tells the components what to do."""
    _wire_painting(parts, visits, limits)
    parts.stop.click(_stopper(visits), None, parts.stop, **QUICK)
    options = [parts.options[name] for name in form.names()]
    options.append(parts.as_usual)
    parts.preset.input(
        _preset, parts.preset, options, preprocess=False, **QUICK
    )
    _wire_in_the_browser(parts)
    for gallery, target, kind in (
        (parts.content_samples, parts.content, "content"),
        (parts.style_samples, parts.styles[0], "style"),
    ):
        gallery.select(_sample(samples[kind]), None, target, **QUICK)
    parts.gallery.select(
        _show_again(parts), parts.pictures, _shown_outputs(parts), **QUICK
    )
    pictures = [parts.content, *parts.styles]
    filled = [parts.preset, *options, *pictures, *parts.shares, parts.told]
    for event, given, action in (
        (parts.reuse.click, parts.shown, recipes.reuse(samples)),
        (parts.dropped.upload, parts.dropped, recipes.dropped(samples)),
    ):
        event(action, [given, *pictures], filled, preprocess=False, **QUICK)


def _wire_in_the_browser(parts: Parts) -> None:
    """What is answered there, at once."""
    parts.content.change(
        None, parts.content, parts.brush, js=brush.TO_THE_BRUSH, **QUICK
    )
    moved = {"strength": "false"} | dict.fromkeys(presets.WEIGHTS, "true")
    for name, as_usual in moved.items():
        parts.options[name].input(  # type: ignore[attr-defined]
            None, None, parts.as_usual, js=f"() => {as_usual}", **QUICK
        )


def options_from(
    values: Mapping[str, Any], preset: str | None, draft: bool
) -> Options:
    """What was filled in, over a preset; of a draft no more than it needs."""
    given = form.read(values)
    if preset:
        given = presets.merge(presets.read(preset), given)
    options = Options.from_dict(given)
    if not draft:
        return options
    small = Options.from_dict(presets.merge(given, presets.read("draft")))
    return small.replace(
        max_size=min(options.max_size or small.max_size, small.max_size),
        steps=min(options.steps, small.steps),
    )


def _wire_painting(parts: Parts, visits: Visits, limits) -> None:
    names = form.names()
    inputs = [
        parts.pictures,
        parts.animation,
        parts.brush,
        parts.as_usual,
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
        button.click(_come(visits), js=TO_THE_STAGE, **QUICK)
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

    def paint(
        request: gr.Request, pictures, animated, drawn, as_usual, content, *rest
    ):
        styles, shares = rest[:count], rest[count : 2 * count]
        values = dict(zip(form.names(), rest[2 * count :], strict=True))
        yield _begun(parts)
        if visits.gone(request.session_hash):
            return
        try:
            mask = brush.mask(drawn)
            values = form.weighed(values, as_usual)
            ready = _prepared(
                content, styles, shares, values, draft, limits, mask
            )
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


def _prepared(content, styles, shares, values, draft, limits, mask):
    given = [
        (folder.sent(style, "style"), share)
        for style, share in zip(styles, shares, strict=True)
        if style is not None
    ]
    blend = form.blend([share for _, share in given])
    options = options_from({**values, form.SHARES: blend}, None, draft)
    if not options.style_weight and options.init != "style":
        given, options = [], options.replace(style_blend=())
    picture = folder.sent(content, "content")
    return painting.prepare(
        picture, [style for style, _ in given], options, limits, mask
    )


def _painted(parts, ready, stopped, frames, pictures) -> Iterator[dict]:
    now: Any = None
    for now in painting.follow(ready, stopped, frames):
        yield {
            parts.banner: gr.update(
                value=stage.banner(now.warning), visible=bool(now.warning)
            ),
            parts.stage: stage.moment(now),
        }
    saving = stage.moment(dataclasses.replace(now, words="Saving …"))
    yield {parts.stage: saving, parts.stop: _dull()}
    done = painting.finish(now.result, ready, frames)
    folder.sweep()
    kept = [*pictures, done][-KEPT:]
    words = f"Done: {done.caption}."
    if now.result.diverged:
        words = f"Stopped: {now.result.divergence()}"
    elif not now.result.last:
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


def _come(visits: Visits):
    def come(request: gr.Request) -> None:
        visits.come(request.session_hash)

    return come


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
