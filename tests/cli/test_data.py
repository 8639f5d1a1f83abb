"""`exdiff data check` and `exdiff data shard` as a user runs them."""

import json

import numpy as np
import pytest

from exdiff.audio import encode


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        clean, noise = rng.uniform(-0.3, 0.3, (2, 1, 12000)).astype(np.float32)
        encode(tmp_path / "data" / "clean" / f"{name}.wav", clean, 16000)
        encode(tmp_path / "data" / "noisy" / f"{name}.wav", clean + noise, 16000)
    return tmp_path / "data"


def test_check_ends_with_0_1_or_2(run, pairs, tmp_path):
    report = tmp_path / "check.json"
    good = run("data", "check", pairs, "--json", report)
    assert good.exit_code == 0
    assert "| pairs | 4 |" in good.stdout
    assert json.loads(report.read_text())["problems"] == {}
    encode(pairs / "noisy" / "b.wav", np.zeros((1, 12000), np.float32), 16000)
    faulty = run("data", "check", pairs)
    assert faulty.exit_code == 1
    assert "| silence | 1 |" in faulty.stdout
    for path in pairs.rglob("*.wav"):
        path.write_bytes(b"no audio")
    assert run("data", "check", pairs).exit_code == 2
    nothing = run("data", "check", tmp_path / "nothing")
    assert nothing.exit_code == 2
    assert nothing.stderr.startswith("exdiff: error: ")


def test_shards_are_made_and_trained_on(run, pairs, tmp_path):
    made = run("data", "shard", pairs, tmp_path / "shards", "--size", "0.05", "--seconds", "0.5")
    assert made.exit_code == 0
    assert made.stderr == f"exdiff: 4 samples, 0.0 minutes, in 2 shards are in {tmp_path / 'shards'}\n"
    again = run("data", "shard", pairs, tmp_path / "shards")
    assert again.exit_code == 2
    assert "nothing is overwritten" in again.stderr
    data = f"data={{type: shards, urls: '{tmp_path / 'shards'}', lanes: 2, run: 2}}"
    assert run("train", "debug", data, "training.steps=2", "--out", tmp_path / "run").exit_code == 0


def test_examples_of_a_recipe_become_shards(run, tmp_path):
    made = run("data", "shard", "debug", tmp_path / "shards", "--examples", "3")
    assert made.exit_code == 0
    index = json.loads((tmp_path / "shards" / "index.json").read_text())
    assert (index["kind"], index["samples"]) == ("pairs", 3)
    assert (
        "is a recipe; say how many of its examples to write" in run("data", "shard", "debug", tmp_path / "other").stderr
    )
    assert run("data", "shard", "debgu", tmp_path / "other", "--examples", "3").exit_code == 2
    assert not (tmp_path / "other").exists()
