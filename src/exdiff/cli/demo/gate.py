"""What stands before gradio: files of the server's own folders alone, and a policy that keeps the page offline."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from typing import Any

# gradio also fetches addresses for visitors (file=http://..., proxy=...); nobody needs that here.
_FILES = re.compile(r"/gradio_api/(file|proxy)[=/](.*)", re.DOTALL)
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
        file = _FILES.search(scope["path"])
        if file is not None and (file[1] == "proxy" or not self._owns(file[2])):
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"no such file\n"})
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        await self._app(scope, receive, with_headers)
