"""benchmarks/rivals: delays are found and taken out, the table says what the result says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from exdiff.evaluation import evaluate

FOLDER = Path(__file__).parents[2] / "benchmarks" / "rivals"


@pytest.fixture
def script(monkeypatch):
    """Import a file of the folder by its name, as it is when it runs as a script; forget it afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def noise(seed, length=16000):
    return np.random.default_rng(seed).normal(0.0, 0.1, length).astype(np.float32)


@pytest.mark.parametrize("delay", [0, 7, 384, 1536])
def test_a_delay_is_found_under_noise_and_taken_out(script, delay):
    alignment = script("alignment")
    wave = noise(0)
    late = np.pad(wave, (delay, 0)) + 0.5 * noise(1, len(wave) + delay)
    assert alignment.lag(wave, late, 1600) == delay
    np.testing.assert_array_equal(alignment.shifted(np.pad(wave, (delay, 0)), delay, len(wave)), wave)


def test_an_output_that_ends_early_is_filled_up(script):
    assert script("alignment").shifted(np.ones(5), 3, 4).tolist() == [1, 1, 0, 0]


def test_frames_and_spectra_come_back(script):
    frames = script("frames")
    wave = noise(2, 5000)
    for size, hop, n_fft in ((512, 128, None), (960, 480, 1024)):
        back = frames.istft(frames.stft(wave, size, hop, n_fft), size, hop, len(wave))
        np.testing.assert_allclose(back, wave, atol=1e-6)
    np.testing.assert_array_equal(frames.framewise(lambda frame: frame, 480)(wave)[: len(wave)], wave)


def test_every_rival_can_be_installed_by_the_requirements(script):
    listed = {line.split("==")[0] for line in (FOLDER / "requirements.txt").read_text().splitlines()}
    packages = {rival.package for rival in script("systems").RIVALS.values()}
    assert packages - {"", "ffmpeg"} <= listed


def test_a_late_rival_is_enhanced_in_place(script, tmp_path):
    rivals, systems = script("rivals"), script("systems")
    (tmp_path / "noisy").mkdir()
    files = [tmp_path / "noisy" / f"{i}.wav" for i in range(3)]
    for i, path in enumerate(files):
        soundfile.write(path, noise(i), 16000, subtype="FLOAT")
    late = systems.Rival(lambda: lambda wave: 0.5 * np.pad(wave, (200, 0)), 16000, "numpy", "BSD", parameters=0)
    systems.RIVALS["late"] = late
    out = tmp_path / "out"
    assert rivals.work("late", files, out, 2, False) == "2 files enhanced, 0 already done; delay 200 samples"
    assert rivals.work("late", files, out, None, False) == "1 files enhanced, 2 already done; delay 200 samples"
    estimate, rate = soundfile.read(out / "late" / "1.wav", dtype="float32")
    np.testing.assert_allclose(estimate, 0.5 * noise(1), atol=1e-6)
    assert rate == 16000
    assert sorted(path.name for path in out.rglob("*")) == ["0.wav", "1.wav", "2.wav", "late", "late.json"]


def test_a_rival_that_fails_costs_one_line(script, tmp_path, capsys):
    rivals, systems = script("rivals"), script("systems")
    systems.RIVALS["absent"] = systems.Rival(lambda: None, 16000, "no-such-package-here", "MIT")
    assert rivals.attempt("absent", [tmp_path / "a.wav"], tmp_path / "out", None, False) == 1
    assert capsys.readouterr().out.startswith("absent: failed, PackageNotFoundError: ")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def scored(tmp_path):
    """Three mixtures and two folders of estimates, one twice as far from the clean signal as the other."""
    for i, kind in enumerate(("noise", "music", "noise")):
        clean, rest = noise(2 * i), noise(2 * i + 1)
        mixes = {"clean": clean, "noisy": clean + rest, "near": clean + 0.25 * rest, "far": clean + 0.5 * rest}
        for folder, wave in mixes.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            soundfile.write(tmp_path / folder / f"{i}_{kind}_+0dB.wav", wave, 16000, subtype="FLOAT")
    return evaluate(tmp_path, estimates=[tmp_path / "far", tmp_path / "near"], metrics=["si_sdr"])


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_table_ranks_and_tells_kinds(script, scored, monkeypatch):
    table = script("table")
    facts = {"near": {"package": "p", "version": "1", "licence": "MIT", "rate": 48000, "parameters": 48e3, "rtf": 0.01}}
    rows = cells(table.scores(scored, facts))
    assert [row[0] for row in rows] == ["system", "---", "near", "far", "mixture"]
    assert rows[2][-5:] == ["p 1", "MIT", "48000", "48 k", "0.0100"]
    means = {row[0]: float(row[1]) for row in rows[2:]}
    assert means["near"] - means["far"] == pytest.approx(6.02, abs=0.1)
    kinds = cells(table.by_kind(scored))
    assert kinds[0] == ["SI-SDR dB in", "noise", "music"]
    near = [float(cell) for cell in kinds[2][1:]]
    assert (2 * near[0] + near[1]) / 3 == pytest.approx(means["near"], abs=0.02)
    monkeypatch.setattr(table, "PAIRED", ("si_sdr",))
    assert cells(table.differences(scored, "far"))[2][1].startswith("+6.0")


def test_the_table_replaces_what_stood_there_and_nothing_else(script):
    table = script("table")
    page = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    once = table.inserted(page, "| new |")
    assert once == f"before\n{table.BEGIN}\n\n| new |\n\n{table.END}\nafter\n"
    assert table.inserted(once, "| new |") == once
    with pytest.raises(ValueError, match="lacks the lines"):
        table.inserted("no place", "| new |")
    assert table.inserted((FOLDER.parents[1] / "docs" / "benchmarks.md").read_text(encoding="utf-8"), "x")
