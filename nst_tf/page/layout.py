"""Where everything is on the page, and how it looks."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from nst_tf.page import brush, form, stage
from nst_tf.request import presets
from nst_tf.request.options import Options

SYSTEM = ("system-ui", "sans-serif")
FIXED = ("ui-monospace", "monospace")
TITLE = "nst_tf: paint a photograph in the manner of a painting"
STYLE = Path(__file__).with_name("page.css")
START = "paint"  # the preset that the form begins with


@dataclasses.dataclass(frozen=True)
class Parts:
    """The components that something happens to."""

    banner: gr.HTML
    content: gr.Image
    styles: Sequence[gr.Image]
    shares: Sequence[gr.Slider]
    brush: gr.HTML
    content_samples: gr.Gallery
    style_samples: gr.Gallery
    preset: gr.Dropdown
    options: Mapping[str, gr.components.Component]
    as_usual: gr.Checkbox
    animation: gr.Checkbox
    draft: gr.Button
    paint: gr.Button
    stop: gr.Button
    stage: gr.HTML
    result: gr.Column
    slider: gr.ImageSlider
    downloads: Mapping[str, gr.DownloadButton]
    reuse: gr.Button
    recipe: gr.Textbox
    gallery: gr.Gallery
    dropped: gr.File
    told: gr.Markdown
    pictures: gr.State
    shown: gr.State


def theme() -> gr.themes.Base:
    """Colours and the system's own fonts: nothing is fetched."""
    return gr.themes.Default(
        primary_hue="indigo",
        neutral_hue="slate",
        font=SYSTEM,
        font_mono=FIXED,
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
    )


def build(samples: Mapping[str, Sequence[Path]]) -> Parts:
    """Lays everything out, inside of a `gr.Blocks`."""
    found: dict[str, Any] = {}
    gr.Markdown("# nst_tf\nPaint a photograph in the manner of a painting.")
    found["banner"] = gr.HTML(visible=False)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            found |= _pictures(samples)
            found |= _controls()
        with gr.Column(scale=6, min_width=320, elem_classes="results"):
            found |= _results()
    found["pictures"], found["shown"] = gr.State([]), gr.State(None)
    return Parts(**found)


def _pictures(samples: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    with gr.Row():
        with gr.Column(min_width=240):
            content = _picture("Photograph", "content")
            content_samples = _samples("Sample photographs", samples["content"])
        with gr.Column(min_width=240):
            styles = [_picture("Painting", "style")]
            style_samples = _samples("Sample paintings", samples["style"])
    with gr.Accordion("Paint only a part", open=False, elem_id="part"):
        drawing = brush.component()
    shares = []
    with gr.Accordion("More paintings, blended", open=False):
        gr.Markdown("Each takes its share of the manner.")
        shares.append(_share(1))
        for number in range(2, form.STYLES + 1):
            with gr.Row():
                styles.append(_picture(f"Painting {number}", f"style_{number}"))
                shares.append(_share(number))
    return {
        "content": content,
        "styles": styles,
        "shares": shares,
        "brush": drawing,
        "content_samples": content_samples,
        "style_samples": style_samples,
    }


def _picture(label: str, name: str) -> gr.Image:
    return gr.Image(
        label=label,
        type="filepath",
        image_mode=None,
        height=240 if name in ("content", "style") else 160,
        min_width=160,
        elem_id=name,
        alt_text=label,
        buttons=[],
    )


def _share(number: int) -> gr.Slider:
    label = f"Share of painting {number}"
    return gr.Slider(0, 4, value=1, step=0.1, label=label, min_width=160)


def _samples(label: str, paths: Sequence[Path]) -> gr.Gallery:
    return gr.Gallery(
        [(str(path), path.stem.partition("_")[2]) for path in paths],
        label=label,
        columns=3,
        fit_columns=False,
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        visible=bool(paths),
        elem_classes="pictures thirds",
    )


def _controls() -> dict[str, Any]:
    start = Options.from_dict(presets.read(START))
    options: dict[str, gr.components.Component] = {}
    named = [("none", "")]
    named += [
        (f"{name}: {about}", name) for name, about in presets.names().items()
    ]
    preset = gr.Dropdown(
        named,
        value=START,
        label="Preset",
        info="fills in the options",
        filterable=False,
        elem_id="preset",
    )
    with gr.Row():
        for name in form.names():
            if name in form.FIRST:
                with gr.Column(min_width=200):
                    options[name] = form.component(name, start)
                    if name == "strength":
                        as_usual = gr.Checkbox(
                            start.strength is None,
                            label="As usual",
                            info="as the weights under More are",
                            elem_id="as-usual",
                        )
    with gr.Row(elem_classes="buttons"):
        draft = gr.Button("Draft", elem_id="draft", min_width=80)
        paint = gr.Button(
            "Paint", variant="primary", elem_id="paint", min_width=80
        )
        stop = gr.Button(
            "Stop",
            variant="stop",
            interactive=False,
            min_width=80,
            elem_id="stop",
        )
    with gr.Accordion("More", open=False, elem_id="more"):
        animation = gr.Checkbox(
            label="Animation", info="also the run itself, as a GIF"
        )
        for group, members in form.groups().items():
            gr.Markdown(f"## {group.capitalize()}")
            with gr.Row():
                for name in members:
                    with gr.Column(min_width=220):
                        options[name] = form.component(name, start)
    return {
        "preset": preset,
        "options": options,
        "as_usual": as_usual,
        "animation": animation,
        "draft": draft,
        "paint": paint,
        "stop": stop,
    }


def _results() -> dict[str, Any]:
    shown = gr.HTML(stage.empty(), elem_id="stage")
    with gr.Column(visible=False, elem_id="result") as result:
        slider = gr.ImageSlider(
            label="Before and after",
            type="filepath",
            interactive=False,
            max_height=720,
            buttons=["fullscreen"],
        )
        with gr.Row(elem_classes="buttons"):
            downloads = {
                suffix: gr.DownloadButton(
                    f"{suffix[1:].upper()}",
                    size="sm",
                    min_width=70,
                    visible=suffix != ".gif",
                    elem_id=f"download-{suffix[1:]}",
                )
                for suffix in (".png", ".jpg", ".webp", ".gif")
            }
            reuse = gr.Button(
                "Back into the form", size="sm", min_width=140, elem_id="reuse"
            )
        with gr.Accordion("Recipe", open=False):
            recipe = gr.Textbox(
                label="What made this picture",
                lines=12,
                max_lines=12,
                interactive=False,
                buttons=["copy"],
                elem_id="recipe",
            )
    gallery = gr.Gallery(
        label="Pictures of this visit",
        columns=4,
        fit_columns=False,
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        visible=False,
        elem_id="gallery",
        elem_classes="pictures",
    )
    with gr.Accordion("What made this?", open=False, elem_id="what"):
        dropped = gr.File(
            label="A picture that nst_tf made, or its recipe",
            file_types=["image", ".json"],
            height=120,
            elem_id="dropped",
        )
        told = gr.Markdown("Its recipe fills in the form.", elem_id="told")
    return {
        "stage": shown,
        "result": result,
        "slider": slider,
        "downloads": downloads,
        "reuse": reuse,
        "recipe": recipe,
        "gallery": gallery,
        "dropped": dropped,
        "told": told,
    }
