"""The page: paint in the browser. A door on `run`; needs Gradio.

`nst-tf page` starts it, and so does a notebook's cell:

    import nst_tf.page
    nst_tf.page.launch()
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nst_tf.page.server import Page


def launch(**settings: Any) -> "Page":
    """Starts the page; see `nst_tf.page.server.launch`."""
    from nst_tf.page import server

    return server.launch(**settings)
