"""`exdiff demo`: the web page."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from typing import Annotated

import typer

from exdiff.cli.common import TrustCode, finite, reporting, say
from exdiff.cli.completion import model_names
from exdiff.core.errors import ConfigError


def demo(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="The port.")] = 7860,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER:PASSWORD", help="Ask visitors for this name and password.", envvar="EXDIFF_DEMO_AUTH"
        ),
    ] = None,
    max_mb: Annotated[
        float, typer.Option(min=0.001, callback=finite, metavar="N", help="Refuse files of N MB and more.")
    ] = 200.0,
    max_minutes: Annotated[
        float, typer.Option(min=0.01, callback=finite, metavar="N", help="Longer recordings are refused.")
    ] = 30.0,
    speech: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="The model for speech.", autocompletion=model_names)
    ] = "speech",
    vocals: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="The model for songs. Default: vocals if it is installed, otherwise vocals-compact.",
            autocompletion=model_names,
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", help="CPU threads. Default: one per core.")] = None,
    trust_code: TrustCode = False,
) -> None:
    """Show a web page that enhances what is dropped on it.

    Visitors hear a recording before and after, and what was removed, at the same position, and download the result in
    the input's format. Files come one after the other; they are deleted after an hour, and at the end. Nothing is
    fetched from the network or sent there. Ctrl-C ends it. Needs gradio: pip install 'exdiff[demo]'.
    """
    with reporting():
        import torch

        from exdiff.cli.demo.request import Limits
        from exdiff.cli.demo.server import serve
        from exdiff.cli.enhancing.run import thread_count
        from exdiff.core.machine import keep_memory

        login = None if auth is None else _login(auth)
        if login is None and not _is_loopback(host):
            say(f"warning: whoever reaches {host} can use the page; --auth USER:PASSWORD asks for a password")
        keep_memory()
        if (count := thread_count(threads)) is not None:
            torch.set_num_threads(count)
        models = {"speech": speech, "vocals": vocals or _default_vocals()}
        loading = {"device": device, "trust_code": trust_code}
        with suppress(KeyboardInterrupt):
            serve(host, port, login, Limits(max_mb, max_minutes), models, loading)


def _login(text: str) -> tuple[str, str]:
    """Name and password.

    Example:
        >>> _login("ann:a:b")
        ('ann', 'a:b')
    """
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise ConfigError("--auth: give USER:PASSWORD, both not empty")
    return user, password


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`.

    Example:
        >>> _is_loopback("localhost"), _is_loopback("127.0.0.2"), _is_loopback("0.0.0.0"), _is_loopback("example.org")
        (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _default_vocals() -> str:
    from exdiff.checkpoints.checkpoint import installed

    return "vocals" if "vocals" in installed() else "vocals-compact"
