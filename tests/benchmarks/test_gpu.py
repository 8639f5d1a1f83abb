"""benchmarks/gpu.py: every check runs on a CPU too, and one that fails is a row and an exit code."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    """The script, as it is when it runs as one."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("gpu")


def run(gpu, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--quick", *map(str, arguments)])
    gpu.main()


def test_everything_is_checked_and_measured(gpu, monkeypatch, capsys, tmp_path):
    run(gpu, monkeypatch, "--json", tmp_path / "out.json")
    printed = capsys.readouterr().out
    rows = {row["check"]: row for row in json.loads((tmp_path / "out.json").read_text())}
    assert list(rows) == list(gpu.CHECKS)
    assert all(row["ok"] and f"| {name} | " in printed for name, row in rows.items())
    assert rows["enhance in fp32"]["values"]["db"] < -60
    assert rows["resume"]["values"]["difference"] == 0
    assert rows["many files"]["values"]["clips"]["audio_per_second"] > 0
    assert 0 < rows["many files"]["values"]["long"]["occupancy"] <= 1
    assert rows["many files, several processes"]["values"]["audio_per_second"] > 0
    assert rows["train `speech`"]["values"]["steps_per_second"] > 0
    assert rows["fused LSTM"]["result"] == rows["synchronising calls"]["result"] == "not applicable: CUDA only"
    kernels = rows["time of a step"]["values"]["kernels"]
    assert len(kernels) == 10
    assert f"| `{kernels[0]['name']}` | " in printed


def test_what_fails_is_a_row_and_the_rest_goes_on(gpu, monkeypatch, capsys):
    def crash(setup):
        raise ValueError("no\nluck")

    def wrong(setup):
        raise gpu.Failed("3 | 4")

    monkeypatch.setattr(gpu, "CHECKS", {"crash": crash, "wrong": wrong, "device": gpu.machine})
    with pytest.raises(SystemExit) as caught:
        run(gpu, monkeypatch)
    assert caught.value.code == 1
    printed = capsys.readouterr().out
    assert "| crash | FAILED: ValueError: no luck | " in printed
    assert "| wrong | FAILED: 3 \\| 4 | " in printed
    assert "| device | cpu: " in printed


@pytest.fixture
def setup(gpu):
    parts = importlib.import_module("gpu_checks.setup")
    return parts.Setup(torch.device("cpu"), quick=True, seconds=1.0, batch=2)


def test_wrong_results_fail(gpu, setup, monkeypatch):
    """Each check that compares can fail."""
    training = importlib.import_module("gpu_checks.training")
    enhancing = importlib.import_module("gpu_checks.enhancing")
    monkeypatch.setattr(enhancing, "against_cpu", lambda setup, choice: -40.0)
    with pytest.raises(gpu.Failed, match=r"-40.0 dB from the CPU; allowed is less than -60 dB"):
        enhancing.fp32(setup)
    recipe, options = training.speech(setup)
    source = training.synthetic(recipe, options)
    made = source.on(torch.device("cpu"))
    other = torch.rand(2, 2, 1, source.length)
    monkeypatch.setattr(type(made), "batch", lambda self, indices: tuple(other[:, : len(indices)]))
    with pytest.raises(gpu.Failed, match=r"dB apart .*; allowed is less than -60 dB"):
        training.mixes(setup, source, options)


def test_a_time_is_measured_within_its_share(setup, monkeypatch):
    """About; by a clock that only the calls move on, so that a busy machine changes nothing."""
    calls = []
    monkeypatch.setattr("gpu_checks.setup.time.perf_counter", lambda: 1e-4 * len(calls))
    share = 0.01
    assert setup.seconds_each(lambda: calls.append(0), share) == pytest.approx(1e-4)
    assert 10 < len(calls) < 1.5 * share * setup.seconds / 1e-4
