"""Calls of several threads share batches, to the same result up to rounding."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch
from torch import Tensor

from exdiff.core.errors import ExDiffError
from exdiff.inference import batcher
from exdiff.inference.enhancer import Enhancer
from exdiff.inference.generation import Generated

RATE = 16000
SECONDS = 60.0  # more than any of this takes


def decibels(got, wanted):
    return 10 * np.log10(np.square(got - wanted).sum() / np.square(wanted).sum() + 1e-30)


def sound(seconds, rate=RATE, channels=1, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (channels, round(seconds * rate))).astype(np.float32)


@pytest.fixture
def watched(enhancer):
    """`watched(model=True, ...)` -> an Enhancer, and a list that gets the lengths in each call of its model.

    Without its model it takes some milliseconds, or as long as `pause` does, and gives back what it hears.
    """

    def make(*, model=True, pause=lambda: time.sleep(0.05), **options):
        made, calls = enhancer(**options), []
        generation = made.engine._generation

        def compute(requests):
            calls.append([request.wave.shape[-1] for request in requests])
            if model:
                return generation(requests)
            pause()
            return [Generated(request.wave, 0) for request in requests]

        made.engine._batcher._compute = compute
        return made, calls

    return make


@pytest.fixture
def patient(monkeypatch):
    """A batch that is not full waits until all calls wait, so that batches do not depend on the machine."""
    monkeypatch.setattr(batcher, "_HURRY_SECONDS", SECONDS)
    monkeypatch.setattr(batcher, "_PATIENCE_SECONDS", SECONDS)


def test_recordings_of_any_length_rate_and_channels_share_batches(enhancer, watched, in_threads):
    rng = np.random.default_rng(3)
    cases = [(rng.uniform(0.1, 1.4), int(rng.choice([8000, 16000, 44100])), number % 2 + 1) for number in range(8)]
    audio = [sound(*case, seed=number) for number, case in enumerate(cases)]
    options = [{"seed": number, "strength": 1 - number / 20} for number in range(8)]
    alone = [enhancer().run(audio[n], cases[n][1], **options[n]) for n in range(8)]
    shared, calls = watched(batch_windows=8)
    got = in_threads(lambda n: shared.run(audio[n], cases[n][1], **options[n]), 8)
    for (result, run), (wanted, own) in zip(got, alone, strict=True):
        assert decibels(result, wanted) < -100
        assert (run.nfe, run.windows, run.audio_seconds) == (own.nfe, own.windows, own.audio_seconds)
    assert len(calls) < sum(map(len, calls)) / 2


def test_clips_fill_batches_although_their_lengths_differ(watched, patient, in_threads):
    """200 clips of 2 to 4 s in 64 threads, as `exdiff enhance` has them, and windows of 10 s.

    A batch takes until all threads wait for the next ones, so that the speed of the machine decides nothing.
    """
    at_work, lock = set(range(64)), threading.Lock()

    def pause():
        deadline = time.monotonic() + SECONDS
        while len(made.engine._batcher._awaited) < len(at_work) and time.monotonic() < deadline:
            time.sleep(0.001)

    options = {"batch_windows": 8, "segment_seconds": 10.0, "overlap_seconds": 2.0}
    made, calls = watched(model=False, pause=pause, **options)
    clips = iter(np.random.default_rng(0).uniform(2, 4, 200))

    def work(number):
        while True:
            with lock:
                seconds = next(clips, None)
            if seconds is None:
                at_work.discard(number)
                return
            made(sound(seconds), RATE)

    in_threads(work, 64)
    assert sum(map(len, calls)) == 200
    computed = sum(len(call) * max(call) for call in calls)
    assert sum(map(sum, calls)) / computed > 0.8
    assert computed / (len(calls) * 8 * 10 * RATE) > 0.7


def test_a_long_recording_fills_batches_alone(enhancer, watched, patient):
    made, calls = watched(batch_windows=4)
    audio = sound(7)
    got = made(audio, RATE)
    assert [len(call) for call in calls[:-1]] == [4] * (len(calls) - 1)
    assert decibels(got, enhancer()(audio, RATE)) < -100
    first = [list(call) for call in calls]
    calls.clear()
    np.testing.assert_array_equal(made(audio, RATE), got)  # the same batches, so the same bytes
    assert calls == first
    calls.clear()
    streamed = np.concatenate(list(made.stream(np.array_split(audio, 50, axis=1), RATE)), axis=1)
    assert calls == first
    assert decibels(streamed, got) < -100


def test_a_stream_holds_two_batches_at_most(watched, in_threads):
    """However fast it is read, and however much there is of it."""
    made, _ = watched(model=False, batch_windows=3)
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield sound(0.1)

    produced = 0
    parts = made.stream(endless(), RATE)
    for _ in range(40):
        produced += next(parts).shape[-1]
        assert 1600 * read - produced < 8 * RATE
    parts._parts.close()  # what waits is cancelled
    assert made.engine._batcher._calls == 0
    in_threads(lambda n: made(sound(1), RATE), 1)
    assert made.engine._batcher._flying == 0


def test_streams_that_end_at_different_times_and_one_that_pauses(watched, in_threads):
    made, _ = watched(batch_windows=4)
    paused = made.stream(iter([sound(3)]), RATE)
    next(paused)
    got = in_threads(lambda n: sum(p.shape[-1] for p in made.stream([sound(0.2 * n)] * 3, RATE)), 6)
    assert got == [3 * round(0.2 * n * RATE) for n in range(6)]
    assert sum(part.shape[-1] for part in paused) > RATE


def test_interleaved_streams_of_one_thread(enhancer, watched):
    made, _ = watched(batch_windows=8)
    audio = [sound(1.9, seed=n) for n in range(3)]
    streams = [made.stream(np.array_split(item, 6, axis=1), RATE, seed=n) for n, item in enumerate(audio)]
    parts = [[] for _ in streams]
    left = {0, 1, 2}
    while left:
        for number in sorted(left):
            part = next(streams[number], None)
            left.discard(number) if part is None else parts[number].append(part)
    for number, item in enumerate(audio):
        assert decibels(np.concatenate(parts[number], axis=1), enhancer()(item, RATE, seed=number)) < -100


def test_a_call_that_fails_does_not_disturb_the_others(enhancer, watched, in_threads):
    made, _ = watched(batch_windows=8)
    bad = sound(1)
    bad[0, 100] = np.nan

    def broken():
        yield sound(1)
        raise OSError("the disk is gone")

    def work(number):
        if number == 1:
            return made(bad, RATE)
        if number == 2:
            return list(made.stream(broken(), RATE))
        return made(sound(1.5, seed=number), RATE)

    got = in_threads(work, 5)
    assert isinstance(got[1], ExDiffError) and isinstance(got[2], OSError)
    for number in (0, 3, 4):
        assert decibels(got[number], enhancer()(sound(1.5, seed=number), RATE)) < -100


def test_a_signal_that_diverges_fails_alone(watched, in_threads):
    made, _ = watched(batch_windows=8)
    compute = made.engine._batcher._compute

    def diverging(requests):
        results = compute(requests)
        return [r._replace(wave=r.wave * torch.nan) if len(r.wave[0]) == 9999 else r for r in results]

    made.engine._batcher._compute = diverging
    got = in_threads(lambda n: made(sound((9999 if n == 1 else 10000) / RATE, seed=n), RATE), 4)
    assert isinstance(got[1], ExDiffError) and "diverged in window 0" in str(got[1])
    assert [isinstance(item, np.ndarray) for item in got] == [True, False, True, True]


def test_calls_that_wait_can_be_cancelled(watched, in_threads):
    made, calls = watched(batch_windows=2)
    begun, go, compute = threading.Event(), threading.Event(), made.engine._batcher._compute

    def slow(requests):
        begun.set()
        go.wait(SECONDS)
        return compute(requests)

    def end():
        begun.wait(SECONDS)
        while len(made.engine._batcher._awaited) < 3:
            time.sleep(0.01)
        made.engine.cancel()
        go.set()

    made.engine._batcher._compute = slow
    ender = threading.Thread(target=end)
    ender.start()
    got = in_threads(lambda n: made(sound(4, seed=n), RATE), 3)
    ender.join()
    assert all(isinstance(item, CancelledError) for item in got)
    assert len(calls) == 1
    assert made(sound(1), RATE).shape == (1, RATE)


@pytest.mark.parametrize("audio", [np.zeros((2, 0), np.float32), np.zeros((2, 3 * RATE), np.float32), sound(0.001)])
def test_nothing_to_compute_and_next_to_nothing(watched, audio):
    made, calls = watched(batch_windows=4)
    np.testing.assert_allclose(made(audio, RATE), made(audio, RATE))
    assert bool(calls) == audio.any()


def test_stems_share_batches_with_results(enhancer, watched, in_threads):
    made, _ = watched(batch_windows=6)
    songs = [sound(1.5, seed=n) for n in range(4)]
    got = in_threads(lambda n: made.separate(songs[n], RATE) if n % 2 else made(songs[n], RATE), 4)
    for n, song in enumerate(songs):
        wanted = enhancer()(song, RATE)
        if n % 2:
            np.testing.assert_allclose(got[n]["vocals"] + got[n]["accompaniment"], song, atol=1e-6)
        assert decibels(got[n]["vocals"] if n % 2 else got[n], wanted) < -100


def test_the_callers_inference_mode_and_tensors(watched):
    made, _ = watched(batch_windows=4)
    audio = torch.from_numpy(sound(1.5))
    wanted = made(audio, RATE)
    assert isinstance(wanted, Tensor) and not wanted.is_inference()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made(audio, RATE), wanted)


def test_an_enhancer_goes_away_with_its_thread(network):
    import gc
    import weakref

    made = Enhancer(network(), "exponential", device="cpu", precision="fp32", batch_windows=2)
    made(sound(1), RATE)
    gone = weakref.ref(made.engine)
    del made
    assert gone() is None, "without the garbage collector: a GPU's memory is free at once"
    gc.collect()
