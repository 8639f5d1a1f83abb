"""Every format with every fault that it can have: whole, or a clear error, or a warning; never silently less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from checks import Expected, check_sound, codec, read
from faults import FAULTS, LOUD, WHOLE
from make import CLICKS, FORMATS, FRAMES, Format, sound

CASES = [
    (name, fault)
    for number, name in enumerate(FORMATS)
    for fault, what in FAULTS.items()
    if (not what.only or name in what.only) and fault != ("named .wav", "named .mp3")[number % 2]
]
_RAW_CUTS = ("cut at 60 %", "cut at 97 %", "without its last 40 bytes", "a hole")


def expected(kind: Format, joins: int = 1, lax: bool = False) -> Expected:
    """What is in the file. Delay and padding that it does not mark come back, and once more where it is written so.

    Args:
        kind: of the file.
        joins: how many times the sound follows itself.
        lax: delay and padding of an MP3 may be there although its header marks them.
    """
    late, pad = 2 * kind.delay, 2 * kind.pad
    if lax:
        late, pad = late + 2 * kind.frame, pad + 3 * kind.frame
    starts = tuple(start + FRAMES * n for n in range(joins) for start in CLICKS)
    return Expected(
        FRAMES * joins,
        kind.rate,
        kind.channels,
        starts,
        late=joins * (late + pad) - pad + kind.slack,
        early=kind.early + kind.slack,
        longer=joins * (late + pad),
        shorter=kind.early,
        together=joins == 1 and kind.slack < 10,
        by_energy=kind.slack > 10,
    )


@pytest.mark.parametrize(("name", "fault"), CASES, ids=[f"{name}-{fault}" for name, fault in CASES])
def test_whole_or_said(tmp_path, maker, put_through, name, fault):
    kind, what = FORMATS[name], FAULTS[fault]
    source = tmp_path / f"x.{what.rename or kind.suffix}"
    source.write_bytes(what.change(maker.file(name).read_bytes()))
    run = put_through(source)
    outcome = run.check()
    silent_cut = not kind.witness and fault in _RAW_CUTS  # frames one after the other: nothing says how many
    assert outcome in what.allowed or silent_cut, run.stderr or "nothing was said"
    if outcome == "error" or (outcome == "warning" and what.allowed != WHOLE):
        return
    if silent_cut:
        assert len(read(run.result)[0]) >= FRAMES * (0.55 if "60" in fault else 0.9)
        return
    assert what.allowed != LOUD
    wanted = expected(kind, what.joins, what.lax)
    check_sound(run.result, replace(wanted, longer=wanted.longer + what.pad))


@pytest.mark.parametrize("name", FORMATS)
def test_same_format(maker, put_through, name):
    """Without options the codec, the suffix and every sample of a lossless file stay; other things are said."""
    kind = FORMATS[name]
    source = maker.file(name)
    run = put_through(source)
    outcome = run.check()
    if kind.written:
        assert outcome == "whole", run.stderr
        assert run.result.suffix == source.suffix
        assert codec(run.result) == codec(source)
    else:
        assert outcome == "warning", "nothing says that the codec is another one"
        assert len(run.lines) == 1
    samples = check_sound(run.result, expected(kind))
    if not kind.frame:
        wanted = sound(kind.channels, kind.rate)
        if kind.bits == 8:
            wanted = read(source)[0]
        np.testing.assert_array_equal(samples, wanted)
