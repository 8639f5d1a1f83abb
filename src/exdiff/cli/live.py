"""`exdiff live`: enhances a stream of raw PCM or a microphone while it is spoken."""

from __future__ import annotations

import math
import statistics
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exdiff.cli.common import TrustCode, reporting, say
from exdiff.cli.completion import model_names
from exdiff.cli.enhancing.options import RawFormat

if TYPE_CHECKING:
    from exdiff.inference.live import Live

_DEVICE_SECONDS, _PIPE_SECONDS = 0.03, 0.1  # beyond a hop: devices are regular, pipes come in bursts


def live(
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="A model's name (see `exdiff models`) or the path of a checkpoint. `speech` is better, and about 1 s "
            "late.",
            autocompletion=model_names,
        ),
    ] = "speech-live",
    latency_ms: Annotated[
        float | None, typer.Option(metavar="L", help="Latency of the model, at most. Default: what suits it.")
    ] = None,
    raw: Annotated[
        str,
        typer.Option(
            metavar="FORMAT,RATE,CHANNELS",
            help="Raw PCM, in and out; with sound devices only rate and channels count.",
        ),
    ] = "s16le,48000,1",
    input: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE", help="A microphone, by number or part of its name, or default, instead of standard input."
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="A loudspeaker, likewise, instead of standard output.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Sampling steps; 0 gives the discriminative estimate alone.")
    ] = None,
    strength: Annotated[float, typer.Option(min=0.0, max=1.0, metavar="S", help="S * result + (1 - S) * input.")] = 1.0,
    wait: Annotated[
        bool, typer.Option("--wait", help="Compute everything, however late: never pass the input through instead.")
    ] = False,
    device: Annotated[str, typer.Option(metavar="NAME", help="Of the model: auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="CPU threads. Default: 1 for causal models, or one per core."),
    ] = None,
    trust_code: TrustCode = False,
    json: Annotated[bool, typer.Option("--json", help="The summary at the end is a JSON object.")] = False,
) -> None:
    """Enhance sound while it is made.

    Raw PCM on standard input becomes raw PCM on standard output, or a microphone is heard on a loudspeaker (pip install
    'exdiff[live]'). Each sample is late by the latency, which is said at the start. Where computing cannot keep up, the
    input passes through unchanged, and standard error says so. Ctrl-C ends it.
    """
    with reporting():
        from json import dumps

        import torch

        from exdiff.cli.enhancing.run import thread_count
        from exdiff.core.machine import keep_memory
        from exdiff.core.threads import core_count
        from exdiff.inference.loading import load

        form = RawFormat.parse(raw)
        _check_places(input, output, form)
        keep_memory()
        enhancer = load(model, steps=steps, device=device, trust_code=trust_code)
        stream, trial = (enhancer.live(form.rate, latency_ms=latency_ms, strength=strength) for _ in range(2))
        count = thread_count(threads) or (1 if stream.frame_by_frame else core_count())
        torch.set_num_threads(count)
        load_text = _load_in_words(_load(trial, form), wait)
        say(f"{model}: latency {1000 * stream.latency_seconds:.1f} ms at {form.rate} Hz; {load_text}")
        summary = _run(stream, form, input, output, wait) | {"model": model}
        say(dumps(summary), prefix="") if json else say(_in_words(summary))


def _check_places(input: str | None, output: str | None, form: RawFormat) -> None:
    """Refuse before a model is loaded what cannot be listened to or written to."""
    from exdiff.cli.live_devices import check_device
    from exdiff.cli.live_streams import check_pipes

    check_pipes(input is None, output is None)
    for kind, device in (("input", input), ("output", output)):
        if device is not None:
            check_device(kind, device, form)


def _load(trial: Live, form: RawFormat) -> float:
    """How much of the time computing takes on this machine; what is slow the first time is done here, too."""
    import numpy as np

    rng = np.random.default_rng(0)

    def feed(seconds: float) -> None:
        noise = rng.uniform(-0.1, 0.1, (form.channels, math.ceil(seconds * form.rate)))
        trial.process(noise.astype(np.float32))

    feed(trial.latency_seconds + trial.hop_seconds)
    loads = []
    for _ in range(11 if trial.frame_by_frame else 3):
        before, start = trial.run.seconds, trial.run.audio_seconds
        feed(trial.hop_seconds)
        loads.append((trial.run.seconds - before) / (trial.run.audio_seconds - start))
    return statistics.median(loads)


def _load_in_words(load: float, wait: bool) -> str:
    text = f"computing takes {load:.0%} of the time"
    if load <= 1:
        return text
    return f"{text}; this machine is too slow for it" + ("" if wait else ", and much of the input will pass through")


def _run(stream: Live, form: RawFormat, input: str | None, output: str | None, wait: bool) -> dict[str, Any]:
    """From the source to the sink until one of them ends, or a signal comes; what happened."""
    from exdiff.cli.live_devices import Loudspeaker, Microphone
    from exdiff.cli.live_streams import Pace, drive, standard_input, standard_output

    pace = Pace(stream.hop_seconds + (_PIPE_SECONDS if input is None else _DEVICE_SECONDS))
    with ExitStack() as stack:
        source = standard_input(form) if input is None else Microphone(input, form)
        sink = standard_output(form, stack) if output is None else Loudspeaker(output, form, pace.bound)
        if isinstance(sink, Loudspeaker):
            stack.callback(sink.close)
        buffers = [each.latency for each in (source, sink) if isinstance(each, Microphone | Loudspeaker)]
        if buffers:
            say(f"the sound devices add {1000 * sum(buffers):.0f} ms")
        with suppress(KeyboardInterrupt, BrokenPipeError):
            drive(stream, form.rate, source, sink, None if wait else pace, say)
    gaps = sum(each.gaps for each in (source, sink) if isinstance(each, Microphone | Loudspeaker))
    return {
        "seconds": round(stream.run.audio_seconds, 3),
        "latency_ms": round(1000 * stream.latency_seconds, 1),
        "rtf": round(stream.run.rtf, 3) if stream.run.audio_seconds >= stream.hop_seconds else None,
        "passed_through": pace.moments,
        "passed_through_seconds": round(pace.seconds, 3),
        "gaps": gaps,
        "clipped": getattr(sink, "clipped", 0),
        "sample_rate": form.rate,
        "channels": form.channels,
    }


def _in_words(summary: dict[str, Any]) -> str:
    """The summary for people."""
    took = "" if summary["rtf"] is None else f", of which computing took {summary['rtf']:.0%}"
    text = f"{summary['seconds']:.1f} s{took}; "
    if summary["passed_through"]:
        text += f"{summary['passed_through_seconds']:.1f} s passed through (moments: {summary['passed_through']})"
    else:
        text += "nothing passed through"
    if summary["gaps"]:
        text += f"; {summary['gaps']} gaps in the sound devices"
    if summary["clipped"]:
        text += f"; {summary['clipped']} samples clipped"
    return text
