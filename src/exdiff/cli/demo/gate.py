"""What stands before gradio: what the page needs, files of its own folders, and a policy that keeps it offline."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from typing import Any

# What the page and programs need. gradio has more: it fetches addresses for visitors, runs FFmpeg on recordings, edits
# the page's code.
_OPEN = re.compile(
    r"/|/(config|login|logout|theme\.css|favicon\.ico|robots\.txt|manifest\.json)/?|/(static|assets|svelte)/.*"
    r"|/gradio_api/((info|app_id|token|user|login_check|startup-events|theme\.css|cancel|reset|upload|upload_progress)/?"
    r"|(heartbeat|queue|call|run)/.*|file=(?P<file>.*))",
    re.DOTALL,
)
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; frame-ancestors 'self'; base-uri 'self'; form-action 'self'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Gate:
    """ASGI middleware.

    Args:
        app: what it guards.
        owns: whether a path is one that may be given out.
    """

    def __init__(self, app: Callable[..., Any], owns: Callable[[str], bool]) -> None:
        self._app, self._owns = app, owns

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Callable[..., Any]) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = _OPEN.fullmatch(scope["path"])
        if wanted is None or (wanted["file"] is not None and not self._owns(wanted["file"])):
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"there is nothing here\n"})
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        await self._app(scope, receive, with_headers)
