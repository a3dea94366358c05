"""The page as one Gradio application."""

from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from nst_tf.page import api, events, folder, layout
from nst_tf.page.guard import Guard
from nst_tf.page.line import Line
from nst_tf.page.painting import Limits
from nst_tf.page.visits import Visits

SESSIONS = 64  # visitors whose pictures are remembered, some 0.3 MB each

# Seconds between two looks for who waits, and for what is new. Gradio's own, a
# thousandth and a hundredth, take a twentieth of a core where nobody is.
REST = 0.05


def build(limits: Limits, queue: int) -> tuple[gr.Blocks, Line]:
    """The application, and who is painting on it."""
    visits, line, samples = Visits(), Line(queue), folder.samples()
    with gr.Blocks(title=layout.TITLE, analytics_enabled=False) as blocks:
        api.offer(visits, line, limits)  # first: it has the say on the names
        parts = layout.build(samples)
        events.wire(parts, visits, line, limits, samples)
        blocks.load(*events.greet(parts, visits, line), **events.QUICK)
        blocks.unload(_leave(visits))
    blocks.queue(max_size=queue, default_concurrency_limit=4, api_open=False)
    blocks._queue.sleep_when_free = REST
    blocks._queue.progress_update_sleep_when_free = REST
    return blocks, line


def settings() -> dict[str, Any]:
    """How it is launched, whatever its address."""
    return {
        "theme": layout.theme(),
        "css": layout.STYLE.read_text(encoding="utf-8"),
        "app_kwargs": {
            "middleware": [Middleware(Guard)],
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
        "quiet": True,
        "show_error": True,
        "state_session_capacity": SESSIONS,
    }


def _leave(visits: Visits):
    def leave(request: gr.Request) -> None:
        visits.leave(request.session_hash)

    return leave
