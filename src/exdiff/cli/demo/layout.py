"""The page: gradio's components for what is asked, our own player for what is heard."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from exdiff.cli.common import one_line, show_traceback
from exdiff.cli.demo.request import KINDS, MOST_DRAWN, SPEECH, Limits, Request
from exdiff.cli.demo.service import Result, Service
from exdiff.core.errors import ConfigError, ExDiffError

_ASSETS = resources.files("exdiff.cli.demo") / "assets"
_EXAMPLES = resources.files("exdiff.cli.demo") / "examples"
_SCRIPTS = ("engine.js", "picture.js", "player.js")
_MOST_WAITING = 32
_OWN_STEPS = -1
_STEPS = [("Model's own", _OWN_STEPS), ("0 (extractor alone)", 0), *((str(n), n) for n in (1, 2, 4, 8, 16, 30))]
_EXAMPLE_NAMES = {"01_coffee_shop_5dB.flac": "Coffee shop", "03_crickets_0dB.flac": "Crickets"}
_API = """Enhance one audio or video file.

file: an upload. kind: speech or vocals. steps: of the sampler; null for the model's own, 0 for the extractor alone.
strength: 0 to 1. seed: of the noise. Gives the results, in the input's format (for vocals also the accompaniment), and
a record as of `exdiff enhance --json`."""


def look() -> dict[str, Any]:
    """How the page looks: arguments of `launch`. No font and no script comes from elsewhere."""
    from gradio.themes import Base

    style = json.dumps((_ASSETS / "player.css").read_text(encoding="utf-8"))
    script = "\n".join((_ASSETS / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    sans = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Consolas", "monospace"]
    return {
        "theme": Base(primary_hue="teal", neutral_hue="slate", font=sans, font_mono=mono),
        "css": (_ASSETS / "page.css").read_text(encoding="utf-8"),
        "head": f"<script>(() => {{\nconst PLAYER_STYLE = {style};\n{script}\n}})();</script>",
    }


def build_page(service: Service, limits: Limits) -> Any:
    """The page, to be launched."""
    import gradio as gr

    with gr.Blocks(title="exdiff", analytics_enabled=False) as page:
        gr.HTML((_ASSETS / "header.html").read_text(encoding="utf-8"), elem_id="exdiff-header")
        with gr.Row(elem_id="exdiff-columns"):
            with gr.Column(scale=3, min_width=300, elem_id="exdiff-controls"):
                upload = _source(gr, service, limits)
                choices = _choices(gr)
                button = gr.Button("Enhance", variant="primary", size="lg", elem_id="exdiff-enhance")
            with gr.Column(scale=7, min_width=300, elem_id="exdiff-stage"):
                empty = (_ASSETS / "empty.html").read_text(encoding="utf-8")
                player = gr.HTML(empty, elem_id="exdiff-result")
        upload.change(lambda: empty, None, player, api_visibility="private", show_progress="hidden", queue=False)
        page.queue(max_size=_MOST_WAITING)

        bar = gr.Progress()

        def enhance(file: str | None, *chosen: Any, progress: Any = bar) -> str:
            return _shown(service, file, chosen, lambda part: progress(part, desc="Enhancing"))

        button.click(
            enhance,
            [upload, *choices],
            player,
            api_name="page",
            api_visibility="private",
            concurrency_id="model",
            concurrency_limit=1,
            scroll_to_output=True,
        )
        _add_api(gr, service)
    return page


def _source(gr: Any, service: Service, limits: Limits) -> Any:
    """Where a sound comes from: a file, the microphone, an example."""
    with gr.Tabs() as tabs:
        with gr.Tab("File", id="file"):
            upload = _upload(gr, label="Audio or video", show_label=False, height=140, elem_id="exdiff-file")
        with gr.Tab("Microphone", id="microphone"):
            microphone = gr.Audio(sources=["microphone"], type="filepath", show_label=False, buttons=[], editable=False)
    gr.HTML(
        f"<p>Up to {limits.megabytes:g} MB, {limits.minutes:g} minutes. Deleted after an hour.</p>",
        elem_id="exdiff-limits",
    )
    with gr.Row(elem_id="exdiff-examples"):
        gr.HTML("<span>Or try</span>")
        for name, label in _EXAMPLE_NAMES.items():
            example = gr.Button(label, size="sm", min_width=0, scale=0)
            example.click(_example(service, name), None, upload, api_visibility="private", show_progress="hidden")
    microphone.stop_recording(
        lambda recording: (recording, gr.Tabs(selected="file")),
        microphone,
        [upload, tabs],
        api_visibility="private",
        show_progress="hidden",
    )
    return upload


def _example(service: Service, name: str) -> Callable[[], str]:
    def copy() -> str:
        place = service.folders.new() / name
        place.write_bytes((_EXAMPLES / name).read_bytes())
        return str(place)

    return copy


def _choices(gr: Any) -> list[Any]:
    """How it is done; in the order of `Request`."""
    names = [(kind.capitalize(), kind) for kind in KINDS]
    kind = gr.Radio(names, value=SPEECH, label="Keep", elem_id="exdiff-kind")
    with gr.Accordion("Settings", open=False, elem_id="exdiff-settings"):
        steps = gr.Dropdown(_STEPS, value=_OWN_STEPS, label="Steps", info="More are slower, and not always better.")
        strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", info="Below 1, some of the input stays.")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, info="The same seed gives the same result.")
        samples = gr.Slider(
            1,
            MOST_DRAWN,
            1,
            step=1,
            label="Samples",
            info="Several show where the model is unsure; each takes time.",
        )
    return [kind, steps, strength, seed, samples]


def _upload(gr: Any, **options: Any) -> Any:
    """A file component that takes uploads only: gradio would also fetch an address for whoever calls the API."""
    component = gr.File(type="filepath", **options)
    move = component.async_move_resource_to_block_cache

    async def move_upload(place: str | Path | None) -> str | None:
        if place is not None and "://" in str(place):
            raise gr.Error("upload the file itself; addresses are not fetched", print_exception=False)
        return await move(place)

    component.async_move_resource_to_block_cache = move_upload
    return component


def _add_api(gr: Any, service: Service) -> None:
    """The end point for programs."""
    with gr.Row(visible=False):
        file = _upload(gr, label="file")
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
    steps = None if steps in (None, _OWN_STEPS) else int(steps)
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
