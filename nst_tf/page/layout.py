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
_THUMBNAILS: dict[str, Any] = {  # of a gallery: to click on, no more
    "fit_columns": False,
    "object_fit": "cover",
    "allow_preview": False,
    "interactive": False,
    "buttons": [],
}
PAPERS = (
    "15x10cm@300dpi",
    "30x20cm@300dpi",
    "30x21cm@300dpi",
    "60x40cm@150dpi",
)
EVERY = 1.0  # seconds between two looks at a run


@dataclasses.dataclass(frozen=True)
class Parts:
    """The components that something happens to."""

    token: gr.BrowserState
    timer: gr.Timer
    seen: gr.State
    shown: gr.State
    banner: gr.HTML
    content: gr.Image
    styles: Sequence[gr.Image]
    troubles: Sequence[gr.HTML]
    shares: Sequence[gr.Slider]
    brush: gr.HTML
    content_samples: gr.Gallery
    style_samples: gr.Gallery
    look: gr.Radio
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
    downloads: gr.HTML
    paper: gr.Dropdown
    enlarge: gr.Button
    reuse: gr.Button
    command: gr.Textbox
    recipe: gr.Textbox
    gallery: gr.Gallery
    dropped: gr.File
    told: gr.Markdown


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
    found: dict[str, Any] = {
        "token": gr.BrowserState(storage_key="nst_tf", secret="nst_tf"),
        "timer": gr.Timer(EVERY, active=False),
        "seen": gr.State(None),
        "shown": gr.State(None),
    }
    gr.Markdown(
        "# nst_tf\nPaint a photograph in the manner of a painting.",
        elem_id="title",
    )
    with gr.Row(equal_height=False, elem_id="page"):
        with gr.Column(scale=5, min_width=320):
            found |= _pictures(samples) | _controls()
            found |= _folded(found)
        with gr.Column(scale=6, min_width=320, elem_classes="results"):
            found |= _results()
    found["styles"] = [found.pop("style"), *found["styles"]]
    return Parts(**found)


def _pictures(samples: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    with gr.Row(elem_classes="pair"):
        with gr.Column(min_width=100):
            content, amiss = _picture("Photograph", "content"), _trouble()
            content_samples = _samples("Sample photographs", samples["content"])
        with gr.Column(min_width=100):
            style, wrong = _picture("Painting", "style"), _trouble()
            style_samples = _samples("Sample paintings", samples["style"])
    return {
        "content": content,
        "style": style,
        "troubles": [amiss, wrong],
        "content_samples": content_samples,
        "style_samples": style_samples,
    }


def _picture(label: str, name: str) -> gr.Image:
    return gr.Image(
        label=label,
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        height=200 if name in ("content", "style") else 150,
        min_width=100,
        elem_id=name,
        elem_classes="given",
        alt_text=label,
        buttons=[],
    )


def _trouble() -> gr.HTML:
    """Where it is told what is wrong with the picture above it."""
    return gr.HTML(visible=False, elem_classes="trouble")


def _share(number: int) -> gr.Slider:
    label = f"Share of painting {number}"
    return gr.Slider(0, 4, value=1, step=0.1, label=label, min_width=140)


def _samples(label: str, paths: Sequence[Path]) -> gr.Gallery:
    return gr.Gallery(
        [(str(path), path.stem.partition("_")[2]) for path in paths],
        label=label,
        show_label=False,
        columns=3,
        visible=bool(paths),
        elem_classes="samples",
        **_THUMBNAILS,
    )


def _controls() -> dict[str, Any]:
    start = Options.from_dict(presets.read(START))
    known = presets.names()
    look = gr.Radio(
        [(w, n) for n, w in form.LOOKS.items() if n in known or not n],
        value=START,
        label="Look",
        elem_id="look",
    )
    with gr.Row(elem_classes="pair"):
        options = {name: form.component(name, start) for name in form.SIGHT}
    with gr.Row(elem_id="bar"):
        paint = gr.Button(
            "Paint", variant="primary", elem_id="paint", min_width=100, scale=2
        )
        draft = gr.Button("Quick draft", elem_id="draft", min_width=100)
        stop = gr.Button(
            "Stop and keep it",
            variant="stop",
            visible=False,
            min_width=100,
            elem_id="stop",
        )
    return {
        "look": look,
        "options": options,
        "draft": draft,
        "paint": paint,
        "stop": stop,
    }


def _folded(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is rarely turned; adds its options to those that are there."""
    start = Options.from_dict(presets.read(START))
    options = found["options"]
    with gr.Accordion("Paint only a part", open=False, elem_id="part"):
        drawing = brush.component()
    styles, shares = [], []
    with gr.Accordion("More paintings", open=False, elem_id="paintings"):
        gr.Markdown(
            "Blended by their shares; or each in a part of its own, drawn "
            "with its colour above."
        )
        shares.append(_share(1))
        for number in range(2, form.STYLES + 1):
            with gr.Row(elem_classes="share"):
                styles.append(_picture(f"Painting {number}", f"style_{number}"))
                shares.append(_share(number))
            found["troubles"].append(_trouble())
    with gr.Accordion("All options", open=False, elem_id="more"):
        others = [n for n in presets.names() if n not in form.LOOKS]
        preset = gr.Dropdown(
            [("none of these", ""), *((name, name) for name in others)],
            value="",
            label="Other presets",
            info="fill in the form",
            filterable=False,
            elem_id="preset",
        )
        animation = gr.Checkbox(
            label="Animation", info="also the run itself, as a GIF"
        )
        for group, members in form.groups().items():
            gr.Markdown(f"## {group.capitalize()}")
            with gr.Row():
                for name in members:
                    with gr.Column(min_width=200):
                        options[name] = form.component(name, start)
                if group == "costs":
                    as_usual = gr.Checkbox(
                        start.strength is None,
                        label="By these weights, not by Strength",
                        elem_id="as-usual",
                    )
        with gr.Accordion("What each of them does", open=False):
            gr.Markdown(form.explained())
    return {
        "brush": drawing,
        "styles": styles,
        "shares": shares,
        "preset": preset,
        "animation": animation,
        "as_usual": as_usual,
    }


def _results() -> dict[str, Any]:
    banner = gr.HTML(visible=False)
    shown = gr.HTML(stage.empty(), elem_id="stage")
    with gr.Column(visible=False, elem_id="result") as result:
        slider = gr.ImageSlider(
            label="Before and after",
            type="filepath",
            interactive=False,
            max_height=560,
            buttons=["fullscreen"],
        )
        downloads = gr.HTML(elem_id="downloads")
        with gr.Row(elem_id="again"):
            paper = gr.Dropdown(
                [("to print on …", ""), *((one, one) for one in PAPERS)],
                value="",
                label="Paper",
                show_label=False,
                container=False,
                allow_custom_value=True,
                min_width=130,
                elem_id="paper",
            )
            enlarge = gr.Button(
                "Paint for print", size="sm", min_width=120, elem_id="enlarge"
            )
            reuse = gr.Button(
                "Back into the form", size="sm", min_width=140, elem_id="reuse"
            )
        with gr.Accordion("How it was made", open=False, elem_id="made"):
            command = gr.Textbox(
                label="As a command",
                lines=2,
                interactive=False,
                buttons=["copy"],
                elem_id="command",
            )
            recipe = gr.Textbox(
                label="Recipe",
                lines=8,
                max_lines=8,
                interactive=False,
                buttons=["copy"],
                elem_id="recipe",
            )
    told = gr.Markdown("", elem_id="told")
    gallery = gr.Gallery(
        label="Your pictures",
        columns=4,
        visible=False,
        elem_id="gallery",
        elem_classes="pictures",
        **_THUMBNAILS,
    )
    with gr.Accordion("What made this?", open=False, elem_id="what"):
        dropped = gr.File(
            label="A picture that nst_tf made, or its recipe",
            file_types=["image", ".json"],
            height=120,
            elem_id="dropped",
        )
    return {
        "banner": banner,
        "stage": shown,
        "result": result,
        "slider": slider,
        "downloads": downloads,
        "paper": paper,
        "enlarge": enlarge,
        "reuse": reuse,
        "command": command,
        "recipe": recipe,
        "gallery": gallery,
        "dropped": dropped,
        "told": told,
    }
