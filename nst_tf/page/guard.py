"""What no visitor may: files outside the folder, and other machines."""

from collections.abc import Sequence

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nst_tf.page import folder

FILE = "/gradio_api/file"
# Routes of Gradio that the page has no use for.
CLOSED = (
    "/gradio_api/proxy=",
    "/gradio_api/run-history",
    "/gradio_api/runs",
    "/gradio_api/deep_link",
    "/gradio_api/dev",
    "/gradio_api/component_server",
    "/gradio_api/stream",
    "/monitoring",
)
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Guard:
    """ASGI middleware: refuses with 403, and says where a page may look."""

    def __init__(self, app: ASGIApp, closed: Sequence[str] = CLOSED):
        self._app, self._closed = app, tuple(closed)

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        app = self._app if self._allowed(scope["path"]) else _REFUSED
        await app(scope, receive, answer)

    def _allowed(self, path: str) -> bool:
        if path.startswith(self._closed):
            return False
        if not path.startswith(FILE):
            return True
        return folder.holds(path.removeprefix(FILE)[1:])


_REFUSED = PlainTextResponse("Not allowed.", status_code=403)
