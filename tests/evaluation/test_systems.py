"""Names of models with options, and folders of estimates."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import exdiff.inference.enhancer
import exdiff.inference.loading
from exdiff.core.errors import ConfigError, DataError
from exdiff.evaluation import EstimateFolder, load_enhancer, parse_model
from exdiff.evaluation.systems import OPTIONS, load_systems

from .conftest import signals, write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("speech", ("speech", {})),
        ("speech@steps=0", ("speech", {"steps": 0})),
        ("runs/a@b/best", ("runs/a@b/best", {})),
        ("runs/a@b/best@seed=3, strength=0.5", ("runs/a@b/best", {"seed": 3, "strength": 0.5})),
        ("x@sampler=heun,steps=4", ("x", {"sampler": "heun", "steps": 4})),
    ],
)
def test_options_follow_the_last_at(text, expected):
    assert parse_model(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speech@step=3", "unknown option 'step'; did you mean 'steps'"),
        ("speech@steps=many", "steps must be of type int, got 'many'"),
        ("speech@steps=-1", "steps must be 0 or more"),
        ("speech@strength=1.5", r"strength must lie in \[0, 1\], got 1.5"),
        ("speech@steps=1,", "unknown option ''"),
    ],
)
def test_wrong_options_are_said(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_model(text)


@pytest.fixture
def calls(monkeypatch):
    """A fake `load`; every call of a model is noted."""
    seen = []

    def load(name):
        def enhancer(audio, sample_rate, **options):
            seen.append((name, audio.shape, sample_rate, options))
            return 0.5 * audio

        return enhancer

    monkeypatch.setattr(exdiff.inference.loading, "load", load)
    return seen


def test_options_reach_the_model_after_one_call_to_warm_up(calls):
    audio = np.ones(4, np.float32)
    assert np.allclose(load_enhancer("speech@steps=2,seed=1")(audio, 8000), 0.5)
    assert [call[0] for call in calls] == ["speech", "speech"]
    assert calls[-1] == ("speech", (4,), 8000, {"steps": 2, "seed": 1})


def test_every_option_is_one_of_the_enhancer_s_own():
    assert set(OPTIONS) <= set(inspect.signature(exdiff.inference.enhancer.Enhancer.__call__).parameters)


def test_systems_are_named_after_their_folder_unless_two_agree(calls, tmp_path):
    folders = [tmp_path / "a" / "out", tmp_path / "b" / "out", tmp_path / "c"]
    for folder in folders:
        folder.mkdir(parents=True)
    names = list(load_systems(["speech", "speech@steps=0"], folders))
    assert names == ["speech", "speech@steps=0", str(folders[0]), str(folders[1]), "c"]


def test_a_folder_called_mixture_keeps_its_path(tmp_path):
    (tmp_path / "mixture").mkdir()
    assert list(load_systems([], [tmp_path / "mixture"])) == [str(tmp_path / "mixture")]


def test_the_same_system_twice_is_refused(calls, tmp_path):
    with pytest.raises(ConfigError, match="'speech' is given twice"):
        load_systems(["speech", "speech"], [])
    with pytest.raises(ConfigError, match="given twice"):
        load_systems([], [tmp_path, tmp_path])
    assert not calls, "found out before a model is loaded"


def test_estimates_of_songs_are_called_as_enhance_calls_them(tmp_path):
    for name in ("a.vocals.flac", "a.accompaniment.flac", "b.stem.vocals.wav", "c/vocals.wav", "d.wav"):
        write(tmp_path / name, signals("accompaniment" in name)[0])
    folder = EstimateFolder(tmp_path)
    folder.require("abcd")
    for name in "abcd":
        assert np.allclose(folder.read(name)[0], signals(0)[0], atol=1e-4)


def test_estimates_are_found_by_name_with_any_suffix(tmp_path):
    write(tmp_path / "a.b.flac", signals(0)[0])
    write(tmp_path / "song [1]" / "vocals.wav", signals(1)[0])
    write(tmp_path / "song [1]" / "accompaniment.wav", signals(2)[0])
    folder = EstimateFolder(tmp_path)
    folder.require(["a.b", "song [1]"])
    assert np.allclose(folder.read("a.b")[0], signals(0)[0], atol=1e-4)
    assert np.array_equal(folder.read("song [1]")[0], signals(1)[0])
    with pytest.raises(DataError, match="lacks the estimates of 2 files; the first is 'x'"):
        folder.require(["a.b", "x", "y"])
    with pytest.raises(DataError, match="no estimate of 'x'"):
        folder.read("x")
    with pytest.raises(DataError, match="does not exist"):
        EstimateFolder(tmp_path / "nowhere")
