"""What the page does: its buttons, and the end point for programs."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio import processing_utils

from exdiff.cli.common import one_line, show_traceback
from exdiff.cli.demo.request import OWN_STEPS, SPEECH, Request
from exdiff.cli.demo.service import Result, Service
from exdiff.cli.demo.visitors import Visitors
from exdiff.core.errors import ConfigError, ExDiffError

_API = """Enhance one audio or video file.

file: an upload. kind: speech or vocals. steps: of the sampler; null for the model's own, 0 for the extractor alone.
strength: 0 to 1. seed: of the noise. Gives the results, in the input's format (for vocals also the accompaniment), and
a record as of `exdiff enhance --json`."""


def connect(page: Any, service: Service, inputs: list[Any], player: Any, buttons: tuple[Any, Any]) -> None:
    """What the buttons do: one of them is there, and what it begins ends with the other, or with the visit."""
    button, stop = buttons
    visitors, bar = Visitors(), gr.Progress()
    empty = player.value

    def enhance(asked: gr.Request, file: str | None, *chosen: Any, progress: Any = bar) -> str:
        with visitors.run(asked.session_hash) as check:

            def show(part: float) -> None:
                check()
                progress(part, desc="Enhancing")

            return _shown(service, file, chosen, show)

    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def swap(running: bool) -> list[Any]:
        return [gr.Button(visible=not running), gr.Button(visible=running)]

    begun = button.click(lambda: swap(True), None, [button, stop], queue=False, **hidden)
    running = begun.then(
        enhance,
        inputs,
        player,
        api_name="page",
        api_visibility="private",
        concurrency_id="model",
        concurrency_limit=1,
        scroll_to_output=True,
    )
    running.then(lambda: swap(False), None, [button, stop], queue=False, **hidden)

    def end(asked: gr.Request) -> list[Any]:
        visitors.stop(asked.session_hash)
        return [empty, *swap(False)]

    stop.click(end, None, [player, button, stop], cancels=[running], queue=False, **hidden)

    def leave(asked: gr.Request) -> None:
        visitors.stop(asked.session_hash)

    page.unload(leave)


def fetch_nothing() -> None:
    """Keep gradio from fetching addresses, which it would do for whoever names one in place of any value."""

    async def refuse(url: str, cache_dir: str) -> str:
        raise gr.Error("upload the file itself; addresses are not fetched", print_exception=False)

    processing_utils.async_ssrf_protected_download = refuse


def add_api(service: Service) -> None:
    """The end point for programs."""
    with gr.Row(visible=False):
        file = gr.File(type="filepath", label="file")
        kind = gr.Textbox(SPEECH, label="kind")
        steps = gr.Number(None, precision=0, label="steps")
        strength = gr.Number(1.0, label="strength")
        seed = gr.Number(0, precision=0, label="seed")
        results, record = gr.File(file_count="multiple", label="results"), gr.JSON(label="record")
        button, bar = gr.Button(), gr.Progress()

    def enhance(
        file: str | None, kind: str, steps: int | None, strength: float, seed: int, progress: Any = bar
    ) -> tuple[list[str], dict[str, Any]]:
        try:
            result = _enhance(service, file, (kind, steps, strength, seed), progress)
        except (ExDiffError, OSError) as error:
            raise gr.Error(_plain(error, service), print_exception=False) from None
        return [str(path) for path in result.files], result.record

    button.click(
        enhance,
        [file, kind, steps, strength, seed],
        [results, record],
        api_name="enhance",
        api_description=_API,
        concurrency_id="model",
        concurrency_limit=1,
    )


def _enhance(service: Service, file: str | None, chosen: Any, progress: Callable[[float], Any]) -> Result:
    if file is None:
        raise ConfigError("there is no sound yet; choose a file, record something, or take an example")
    kind, steps, strength, seed, *samples = chosen
    steps = None if steps in (None, OWN_STEPS) else int(steps)
    request = Request(kind, steps, 1.0 if strength is None else strength, int(seed or 0), *samples)
    return service.enhance(Path(file), request, progress)


def _shown(service: Service, file: str | None, chosen: Any, progress: Callable[[float], Any]) -> str:
    """The player, or one line about what is wrong, as HTML."""
    try:
        result = _enhance(service, file, chosen, progress)
    except (ExDiffError, OSError) as error:
        show_traceback(error)
        line = html.escape(_plain(error, service))
        return f'<div class="exdiff-error" role="alert"><b>This did not work</b><p>{line}</p></div>'
    told = result.player | {"base": f"gradio_api/file={quote(str(result.folder))}/"}
    return f'<exdiff-player data-result="{html.escape(json.dumps(told))}"></exdiff-player>'


def _plain(error: ExDiffError | OSError, service: Service) -> str:
    """One line without the server's folders."""
    return re.sub(rf"{re.escape(str(service.folders.root))}/[0-9a-f]+/", "", one_line(error))
