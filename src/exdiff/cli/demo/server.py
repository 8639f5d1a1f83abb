"""Starts the page, and ends it with all of its files."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from exdiff.cli.common import say
from exdiff.cli.demo.gate import Gate
from exdiff.cli.demo.housekeeping import TemporaryFolders
from exdiff.cli.demo.request import SPEECH, Limits
from exdiff.cli.demo.service import Service
from exdiff.cli.ending import ENDING
from exdiff.core.errors import ConfigError

_LOOK_SECONDS, _END_SECONDS = 0.2, 5.0
# Read by gradio: nothing is counted, nothing is kept in the browser or elsewhere, nothing else is given out.
_SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_ALLOWED_PATHS": "",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def serve(
    host: str,
    port: int,
    login: tuple[str, str] | None,
    limits: Limits,
    models: Mapping[str, str],
    loading: Mapping[str, Any],
) -> None:
    """Show the page until the process is told to end.

    Args:
        host: where to listen.
        port: likewise.
        login: name and password that visitors need, if any.
        limits: for uploads.
        models: name or path of the model for each kind.
        loading: further arguments of `exdiff.inference.loading.load`.

    Raises:
        ConfigError: gradio is not installed, or the address cannot be had.
        ExDiffError: the model for speech cannot be loaded.
    """
    if find_spec("gradio") is None:
        raise ConfigError("the page needs the package gradio; type: pip install 'exdiff[demo]'")
    _check_address(host, port)
    folders, idle = TemporaryFolders(), True
    try:
        service = Service(models, folders, loading, limits.minutes)
        service.enhancer(SPEECH)
        os.environ.update(_SETTINGS, GRADIO_TEMP_DIR=str(folders.root))
        page = _launch(host, port, login, limits, service, folders)
        try:
            shown = f"[{host}]" if ":" in host else host
            say(f"the page is at http://{shown}:{port}; Ctrl-C ends it")
            while not ENDING.wanted:
                time.sleep(_LOOK_SECONDS)
        finally:
            page.close(verbose=False)
            idle = service.wait(_END_SECONDS)
    finally:
        folders.close()
        if not idle:  # a window may take minutes, and a thread within torch crashes at the end of Python
            sys.stderr.flush()
            os._exit(0)


def _check_address(host: str, port: int) -> None:
    """Raise before the model is loaded if nothing can listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        raise ConfigError(f"cannot listen at {host}, port {port}: {error.strerror}; choose others") from None


def _launch(
    host: str, port: int, login: tuple[str, str] | None, limits: Limits, service: Service, folders: TemporaryFolders
) -> Any:
    from starlette.middleware import Middleware

    from exdiff.cli.demo.layout import build_page, look

    page = build_page(service, limits)
    page.launch(
        server_name=host,
        server_port=port,
        auth=login,
        share=False,
        quiet=True,
        show_error=True,
        prevent_thread_lock=True,
        footer_links=[],
        allowed_paths=[],
        max_file_size=max(1, round(limits.megabytes * (1 << 20)) - 1),  # a file of exactly that size is refused, too
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        app_kwargs={"middleware": [Middleware(Gate, owns=folders.owns)]},  # type: ignore[arg-type]
        **look(),
    )
    return page
