"""What happens on the page: each event, and whom it concerns."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from nst_tf.files import record
from nst_tf.page import (
    brush,
    command,
    folder,
    form,
    painting,
    pictures,
    recipes,
    stage,
)
from nst_tf.page.layout import Parts
from nst_tf.page.line import Job, Line
from nst_tf.page.visits import Visitor, Visits
from nst_tf.request import presets
from nst_tf.request.options import Options
from nst_tf.request.paper import Paper
from nst_tf.stylization.forecast import duration

QUICK: dict[str, Any] = {
    "queue": False,
    "api_visibility": "private",
    "show_progress": "hidden",
}
TO_THE_STAGE = """() => {
  const block = innerWidth < 768 ? "start" : "nearest";
  document.querySelector("#stage").scrollIntoView({ block });
}"""
PAINT = '() => { document.querySelector("#paint").click(); }'
OVER = (
    "What your last visit painted is gone: it is kept for six hours, and no "
    "longer than the page runs."
)
DPI = 300  # at which it is told how large a picture prints


def wire(
    parts: Parts,
    visits: Visits,
    line: Line,
    limits: painting.Limits,
    samples: Mapping[str, Sequence[Path]],
) -> None:
    """Tells the components what to do."""
    scene = _Scene(parts, visits, line)
    for button, draft in ((parts.paint, False), (parts.draft, True)):
        button.click(
            scene.asker(limits, draft),
            [parts.token, *_asked(parts)],
            scene.outputs,
            preprocess=False,
            **QUICK,
        ).then(None, js=TO_THE_STAGE, **QUICK)
    parts.stop.click(scene.stop, parts.token, scene.outputs, **QUICK)
    parts.timer.tick(
        scene.tick, [parts.token, parts.seen], scene.outputs, **QUICK
    )
    parts.gallery.select(scene.again, parts.token, _result(parts), **QUICK)
    _wire_pictures(parts, visits, samples)
    _wire_form(parts, samples)
    _wire_in_the_browser(parts)


def greet(parts: Parts, visits: Visits, line: Line) -> tuple:
    """What happens when a tab is opened: function, inputs, outputs."""
    scene = _Scene(parts, visits, line)
    outputs = [*scene.outputs, parts.token, *_asked(parts)]
    return scene.arrive, parts.token, outputs


def _asked(parts: Parts) -> list:
    """All that is filled in."""
    return [
        parts.animation,
        parts.brush,
        parts.as_usual,
        parts.look,
        parts.preset,
        parts.content,
        *parts.styles,
        *parts.shares,
        *(parts.options[name] for name in form.names()),
    ]


def _result(parts: Parts) -> list:
    return [
        parts.result,
        parts.slider,
        parts.downloads,
        parts.command,
        parts.recipe,
        parts.shown,
    ]


class _Scene:
    """What a visitor sees of their run, and does with it."""

    def __init__(self, parts: Parts, visits: Visits, line: Line):
        self._parts, self._visits, self._line = parts, visits, line
        self.outputs = [
            parts.seen,
            parts.timer,
            parts.banner,
            parts.stage,
            parts.draft,
            parts.paint,
            parts.stop,
            parts.gallery,
            *_result(parts),
        ]

    def asker(self, limits: painting.Limits, draft: bool) -> Callable:
        """Puts what is filled in into the line."""
        parts = self._parts

        def ask(request: gr.Request, token, *values):
            visitor = self._visitor(token, request)
            visitor.fill(dict(enumerate(values)))
            try:
                if not visitor.running():
                    wish = _wish(values, draft)
                    wish.check(limits)
                    self._line.join(Job(visitor, wish, animated=values[0]))
            except (ValueError, OSError) as error:
                return {
                    parts.stage: stage.problem(str(error)),
                    parts.banner: gr.update(visible=False),
                    parts.result: gr.update(visible=False),
                }
            return self._now(visitor)

        return ask

    def arrive(self, token, request: gr.Request):
        """A tab was opened, or loaded anew."""
        visitor = self._visits.come(token, request.session_hash)
        if visitor is not None:
            asked = _asked(self._parts)
            filled = {
                asked[place]: _fill(asked[place], value)
                for place, value in visitor.filled.items()
            }
            return {**filled, **self._now(visitor)}
        new = secrets.token_urlsafe(24)
        self._visits.greet(new, str(request.session_hash))
        words = stage.empty(OVER if token else "")
        return {self._parts.token: new, self._parts.stage: words}

    def tick(self, token, seen, request: gr.Request):
        """What is new."""
        parts, visitor = self._parts, self._visitor(token, request)
        now = self._now(visitor)
        told = now[parts.seen]
        if told == seen:
            return {parts.seen: seen}
        if seen and seen[0] and told[0]:  # it runs on: a picture more
            return {
                one: now[one] for one in (parts.seen, parts.stage, parts.banner)
            }
        return now

    def stop(self, token, request: gr.Request):
        """Stops the visitor's run; what is painted stays."""
        visitor = self._visitor(token, request)
        running = [job for job in visitor.running() if job.moment]
        visitor.stop()
        if not running:
            return self._now(visitor)
        waits = gr.update(interactive=False, value="Stopping …")
        return {self._parts.stop: waits}

    def again(self, token, request: gr.Request, chosen: gr.SelectData):
        """Shows one of the pictures once more."""
        kept = _kept(self._visitor(token, request))
        return _showing(kept[int(chosen.index)], self._parts)

    def _visitor(self, token, request: gr.Request) -> Visitor:
        session = request.session_hash
        return self._visits.welcome(str(token or session), session)

    def _now(self, visitor: Visitor) -> dict:
        parts = self._parts
        job = visitor.jobs[-1] if visitor.jobs else None
        running = job is not None and not job.ended.is_set()
        found: dict[Any, Any] = {
            parts.timer: gr.Timer(active=running),
            parts.draft: gr.update(visible=not running),
            parts.paint: gr.update(visible=not running),
            parts.stop: gr.update(visible=running),
        }
        if job is not None:
            found |= self._told(job, running)
        if not running:
            found[parts.stop] = gr.update(
                visible=False, interactive=True, value="Stop and keep it"
            )
            found[parts.gallery] = _gallery(visitor)
        found[parts.seen] = running, hash(found.get(parts.stage))
        return found

    def _told(self, job: Job, running: bool) -> dict:
        parts = self._parts
        warnings = [job.moment.warning if job.moment else "", *job.remarks]
        banner = stage.banner(*warnings)
        found = {parts.banner: gr.update(value=banner, visible=bool(banner))}
        if running:
            shown = stage.waiting(self._place(job))
            if job.moment is not None:
                shown = stage.moment(job.moment)
            return found | {
                parts.stage: shown,
                parts.result: gr.update(visible=False),
            }
        if job.painted is None:
            shown = stage.ended("Taken out of the line.")
            if job.problem:
                shown = stage.problem(job.problem)
            return found | {parts.stage: shown}
        result = zip(_result(parts), _showing(job.painted, parts), strict=True)
        return {
            **found,
            parts.stage: stage.ended(job.painted.words),
            **dict(result),
        }

    def _place(self, job: Job) -> str:
        before, left = self._line.before(job)
        if not before:
            return "Yours begins now …"
        time = "" if left is None else f" in about {duration(left)}"
        if before == 1:
            return f"In the line: yours is next, and begins{time or ' soon'}."
        return (
            f"In the line: {before} are before yours; the first of them ends"
            f"{time or ' soon'}."
        )


def _fill(component: Any, value: Any) -> Any:
    if isinstance(component, gr.Image) and isinstance(value, Mapping):
        value = value.get("path")
    if isinstance(component, gr.HTML) and isinstance(value, Mapping):
        value = {**value, "by": "page"}
    if isinstance(value, str) and isinstance(component, gr.Image):
        value = value if folder.holds(value) else None
    return gr.update(value=value)


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


def _wish(values: Sequence[Any], draft: bool) -> painting.Wish:
    """What is asked for by all that was filled in."""
    _, drawn, as_usual, _, _, content, *rest = values
    count = form.STYLES
    styles, shares = rest[:count], rest[count : 2 * count]
    named = dict(zip(form.names(), rest[2 * count :], strict=True))
    named = form.weighed(named, as_usual)
    given = [one is not None for one in styles]
    known = [share for share, one in zip(shares, given, strict=True) if one]
    blend = form.blend(known)
    options = options_from({**named, form.SHARES: blend}, None, draft)
    masks = brush.masks(drawn, given)
    if not options.style_weight and options.init != "style":
        styles, options = [], options.replace(style_blend=())
        masks = {n: d for n, d in masks.items() if n == painting.MASK}
    files = [folder.original(one, "style") for one in styles]
    photograph = folder.original(content, "content")
    paths = [path for path in files if path is not None]
    return painting.Wish(photograph, paths, options, masks)


def _kept(visitor: Visitor) -> list[painting.Painted]:
    """The finished pictures whose files are still there."""
    return [one for one in visitor.pictures if Path(one.after).is_file()]


def _gallery(visitor: Visitor) -> dict:
    listed = [(one.after, one.caption) for one in _kept(visitor)]
    return gr.update(value=listed, visible=bool(listed), selected_index=None)


def _showing(done: painting.Painted, parts: Parts) -> list:
    paper = Options.from_dict(done.record["options"]).paper
    dpi = paper.dpi if paper else DPI
    sheet = Paper(1, 1, "cm", dpi).measure(done.size)
    return [
        gr.update(visible=True),
        (done.before, done.after),
        stage.downloads(done.files, f"Prints at {sheet}, {dpi:g} dpi."),
        command.command(done.record, done.names),
        record.to_json(done.record),
        done.record,
    ]


def _wire_pictures(parts: Parts, visits: Visits, samples) -> None:
    """What is given, by a file or a sample, is shown by the server."""
    asked = _asked(parts)
    names = ["photograph", *["painting"] * form.STYLES]
    targets = [parts.content, *parts.styles]
    for target, trouble, name in zip(
        targets, parts.troubles, names, strict=True
    ):
        given = target.input(
            _giver(visits, asked.index(target), name),
            [parts.token, target],
            [target, trouble],
            preprocess=False,
            **{**QUICK, "show_progress": "minimal"},
        )
        _to_the_brush(parts, given)
    for gallery, target, trouble, kind in (
        (parts.content_samples, targets[0], parts.troubles[0], "content"),
        (parts.style_samples, targets[1], parts.troubles[1], "style"),
    ):
        chosen = gallery.select(
            _sample(visits, asked.index(target), samples[kind]),
            parts.token,
            [target, trouble],
            **QUICK,
        )
        _to_the_brush(parts, chosen)


def _giver(visits: Visits, place: int, name: str) -> Callable:
    def give(token, payload, request: gr.Request):
        session = request.session_hash
        visitor = visits.come(token or session, session)
        quiet = gr.update(value="", visible=False)
        try:
            path = folder.original(payload, name)
            shown = None if path is None else pictures.shown(path, name)
        except (ValueError, OSError) as error:
            shown = None
            quiet = gr.update(value=stage.problem(str(error)), visible=True)
        if visitor is not None:
            visitor.fill({place: shown})
        return shown, quiet

    return give


def _sample(visits: Visits, place: int, paths: Sequence[Path]) -> Callable:
    def choose(token, request: gr.Request, chosen: gr.SelectData):
        shown = pictures.shown(paths[int(chosen.index)], "sample")
        visitor = visits.come(token, request.session_hash)
        if visitor is not None:
            visitor.fill({place: shown})
        return shown, gr.update(value="", visible=False)

    return choose


def _wire_form(parts: Parts, samples) -> None:
    """Presets and recipes fill it in."""
    options = [parts.options[name] for name in form.names()]
    options.append(parts.as_usual)
    for chosen, other in (
        (parts.look, parts.preset),
        (parts.preset, parts.look),
    ):
        chosen.input(
            _preset("" if other is parts.preset else None),
            chosen,
            [other, *options],
            preprocess=False,
            **QUICK,
        )
    given = [parts.content, *parts.styles]
    filled = [parts.look, parts.preset, *options, *given, *parts.shares]
    filled.append(parts.told)
    shown = [parts.shown, *given]
    settings = {"preprocess": False, **QUICK}
    again = parts.reuse.click(recipes.reuse(samples), shown, filled, **settings)
    dropped = parts.dropped.upload(
        recipes.dropped(samples), [parts.dropped, *given], filled, **settings
    )
    printed = parts.enlarge.click(
        recipes.enlarge(samples),
        [parts.shown, parts.paper, *given],
        filled,
        **settings,
    )
    for event in (again, dropped, printed):
        _to_the_brush(parts, event)
    printed.success(None, js=PAINT, **QUICK)


def _preset(other: str | None) -> Callable:
    def fill(name: str | None):
        preset = presets.read(name) if name else {}
        filled = form.updates(Options.from_dict(preset))
        if "max_size" not in preset:  # a size that was chosen stays
            filled[form.names().index("max_size")] = gr.skip()
        return [gr.update(value=other), *filled]

    return fill


def _to_the_brush(parts: Parts, event: Any) -> None:
    """After an event the brush gets the pictures that there are now.

    Not whenever one changes: of a form that comes back the brush has its own.
    """
    event.then(
        None,
        [parts.brush, parts.content, *parts.styles],
        parts.brush,
        js=brush.TO_THE_BRUSH,
        **QUICK,
    )


def _wire_in_the_browser(parts: Parts) -> None:
    """What is answered there, at once."""
    moved = {"strength": "false"} | dict.fromkeys(presets.WEIGHTS, "true")
    for name, as_usual in moved.items():
        parts.options[name].input(  # type: ignore[attr-defined]
            None, None, parts.as_usual, js=f"() => {as_usual}", **QUICK
        )
