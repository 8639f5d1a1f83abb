"""The page: gradio's components for what is asked, our own player for what is heard."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from typing import Any

import gradio as gr
from gradio.themes import Base

from exdiff.cli.demo.actions import add_api, connect, fetch_nothing
from exdiff.cli.demo.request import KINDS, MOST_DRAWN, OWN_STEPS, SPEECH, Limits
from exdiff.cli.demo.service import Service

_ASSETS = resources.files("exdiff.cli.demo") / "assets"
_EXAMPLES = resources.files("exdiff.cli.demo") / "examples"
_SCRIPTS = ("engine.js", "picture.js", "player.js")
_MOST_WAITING = 32
_STEPS = [("Model's own", OWN_STEPS), ("0 (extractor alone)", 0), *((str(n), n) for n in (1, 2, 4, 8, 16, 30))]
_EXAMPLE_NAMES = {"01_coffee_shop_5dB.flac": "Coffee shop", "03_crickets_0dB.flac": "Crickets"}


def look() -> dict[str, Any]:
    """How the page looks: arguments of `launch`. No font and no script comes from elsewhere."""
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
    fetch_nothing()
    with gr.Blocks(title="exdiff", analytics_enabled=False) as page:
        gr.HTML((_ASSETS / "header.html").read_text(encoding="utf-8"), elem_id="exdiff-header")
        with gr.Row(elem_id="exdiff-columns"):
            with gr.Column(scale=3, min_width=300, elem_id="exdiff-controls"):
                upload = _source(service, limits)
                choices = _choices()
                button = gr.Button("Enhance", variant="primary", size="lg", elem_id="exdiff-enhance")
                stop = gr.Button("Stop", size="lg", visible=False, elem_id="exdiff-stop")
            with gr.Column(scale=7, min_width=300, elem_id="exdiff-stage"):
                empty = (_ASSETS / "empty.html").read_text(encoding="utf-8")
                player = gr.HTML(empty, elem_id="exdiff-result")
        upload.change(lambda: empty, None, player, api_visibility="private", show_progress="hidden", queue=False)
        page.queue(max_size=_MOST_WAITING)
        connect(page, service, [upload, *choices], player, (button, stop))
        add_api(service)
    return page


def _source(service: Service, limits: Limits) -> Any:
    """Where a sound comes from: a file, the microphone, an example."""
    with gr.Tabs() as tabs:
        with gr.Tab("File", id="file"):
            upload = gr.File(
                type="filepath", label="Audio or video", show_label=False, height=140, elem_id="exdiff-file"
            )
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


def _choices() -> list[Any]:
    """How it is done; in the order of `Request`."""
    names = [(kind.capitalize(), kind) for kind in KINDS]
    kind = gr.Radio(names, value=SPEECH, label="Keep", elem_id="exdiff-kind")
    with gr.Accordion("Settings", open=False, elem_id="exdiff-settings"):
        steps = gr.Dropdown(_STEPS, value=OWN_STEPS, label="Steps", info="More are slower, and not always better.")
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
