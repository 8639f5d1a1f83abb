"""`exdiff enhance` on real files with a tiny model."""

import json
import os

import numpy as np
import pytest
import soundfile
import torch

import exdiff
from exdiff.audio import decode
from exdiff.cli import enhance as command
from exdiff.core.threads import core_count


def test_writes_beside_the_input_and_stays_silent(tmp_path, run, noise, model):
    samples = noise(tmp_path / "x.wav", rate=44100, channels=2, source_subtype="PCM_24")
    result = run("enhance", tmp_path / "x.wav", "--model", model, "--device", "cpu")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    info = soundfile.info(tmp_path / "x.enhanced.wav")
    assert (info.frames, info.channels, info.samplerate) == (samples.shape[1], 2, 44100)
    assert info.subtype == "PCM_24"
    assert sorted(os.listdir(tmp_path)) == ["x.enhanced.wav", "x.wav"]


def test_is_what_the_python_call_gives(tmp_path, run, noise, model):
    samples = noise(tmp_path / "x.wav", seconds=2.5, channels=2, source_subtype="FLOAT")
    options = ["--seed", 5, "--steps", 3, "--sampler", "predictor_corrector", "--strength", 0.7]
    out = tmp_path / "new" / "y.wav"
    assert run("enhance", tmp_path / "x.wav", "-o", out, "--model", model, *options, "--device", "cpu").exit_code == 0
    enhancer = exdiff.load(model, device="cpu")
    expected = enhancer(samples, 16000, seed=5, steps=3, sampler="predictor_corrector", strength=0.7)
    np.testing.assert_allclose(decode(out)[0], expected, atol=1e-5)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "opus", "m4a"])
def test_every_format_keeps_its_length(tmp_path, run, noise, model, suffix):
    samples = noise(tmp_path / f"x.{suffix}", rate=48000)
    assert run("enhance", tmp_path / f"x.{suffix}", "--model", model, "--steps", 0).exit_code == 0
    got, rate = decode(tmp_path / f"x.enhanced.{suffix}")
    assert (got.shape, rate) == (samples.shape, 48000)


def test_stems_sum_to_the_song(tmp_path, run, noise, model):
    noise(tmp_path / "x.wav", rate=44100, channels=2)
    assert run("enhance", tmp_path / "x.wav", "-o", tmp_path / "out", "--stems", "--model", model).exit_code == 0
    parts = [decode(tmp_path / "out" / f"x.{name}.wav")[0] for name in ("vocals", "accompaniment")]
    song = decode(tmp_path / "x.wav")[0]
    assert np.array_equal(parts[0] + parts[1], song)


def test_json_says_what_was_done(tmp_path, run, noise, model):
    for name in ("a.wav", "b.flac"):
        noise(tmp_path / "in" / name, rate=22050, channels=2)
    arguments = ["-o", tmp_path / "out", "--model", model, "--json", "--seed", 3, "--sampler", "heun", "--steps", 2]
    result = run("enhance", tmp_path / "in", *arguments)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["output"] for record in records] == [[str(tmp_path / "out" / n)] for n in ("a.wav", "b.flac")]
    for record, name in zip(records, ("a.wav", "b.flac"), strict=True):
        assert record["input"] == str(tmp_path / "in" / name)
        assert record["seconds"] > 0
        assert record["rtf"] == pytest.approx(record["seconds"] / 0.7, rel=0.01)
        expected = {"nfe": 3, "sampler": "heun", "steps": 2, "seed": 3, "sample_rate": 22050, "channels": 2}
        assert {key: record[key] for key in expected} == expected
        assert record["model"] == model
    record = json.loads(run("enhance", tmp_path / "in" / "a.wav", "--model", model, "--json", "--steps", 0).stdout)
    assert (record["sampler"], record["steps"], record["nfe"]) == (None, 0, 0)


def test_existing_results(tmp_path, run, noise, model):
    noise(tmp_path / "x.wav")
    (tmp_path / "x.enhanced.wav").write_text("mine")
    result = run("enhance", tmp_path / "x.wav", "--model", model)
    assert result.exit_code == 2
    assert result.stderr == (
        f"exdiff: error: {tmp_path / 'x.wav'}: {tmp_path / 'x.enhanced.wav'} exists; "
        "use --overwrite or --skip-existing\n"
    )
    assert run("enhance", tmp_path / "x.wav", "--model", model, "--skip-existing").exit_code == 0
    assert (tmp_path / "x.enhanced.wav").read_text() == "mine"
    assert run("enhance", tmp_path / "x.wav", "--model", model, "--overwrite").exit_code == 0
    assert decode(tmp_path / "x.enhanced.wav")[1] == 16000
    both = run("enhance", tmp_path / "x.wav", "--skip-existing", "--overwrite")
    assert both.exit_code == 2
    assert "exclude each other" in both.stderr


def test_one_stem_that_exists_is_left_alone(tmp_path, run, noise, model):
    noise(tmp_path / "x.wav")
    (tmp_path / "x.vocals.wav").write_text("mine")
    for option, remedy in (("--skip-existing", "use --overwrite\n"), ("--stems", "--overwrite or --skip-existing\n")):
        result = run("enhance", tmp_path / "x.wav", "--model", model, "--stems", option)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "x.vocals.wav exists, the other stem does not; use" in result.stderr
        assert result.stderr.endswith(remedy)
    assert sorted(os.listdir(tmp_path)) == ["x.vocals.wav", "x.wav"]


def test_both_stems_or_none(tmp_path, run, noise, model):
    noise(tmp_path / "x.wav")
    (tmp_path / "x.accompaniment.wav").write_text("mine")
    (tmp_path / "x.vocals.wav").mkdir()
    result = run("enhance", tmp_path / "x.wav", "--model", model, "--stems", "--overwrite")
    assert result.exit_code == 2
    assert "a folder has that name" in result.stderr
    assert (tmp_path / "x.accompaniment.wav").read_text() == "mine"
    assert len(os.listdir(tmp_path)) == 3


def test_names_as_long_as_names_can_be(tmp_path, run, noise, model):
    noise(tmp_path / ("x" * 238 + ".wav"))  # 251 bytes with .enhanced
    noise(tmp_path / ("y" * 245 + ".wav"))  # too long with it
    result = run("enhance", tmp_path, "--model", model)
    assert result.exit_code == 1, result.stderr
    assert result.stderr.count("\n") == 1
    assert "too long" in result.stderr
    assert len(os.listdir(tmp_path)) == 3
    noise(tmp_path / "in" / "x.wav")
    for arguments in (
        ["z" * 300 + ".wav"],
        [tmp_path / "in", "-o", "z" * 300],
        [tmp_path / "in", "--model", "z" * 300],
    ):
        result = run("enhance", *arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_more_threads_than_there_are(tmp_path, run, noise, model, monkeypatch):
    noise(tmp_path / "x.wav")
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    result = run("enhance", tmp_path / "x.wav", "--model", model, "--threads", 100_000)
    assert result.exit_code == 0
    assert asked == [core_count()]
    assert "--threads 100000: this machine has" in result.stderr


def test_one_bad_file_does_not_stop_the_others(tmp_path, run, noise, model):
    noise(tmp_path / "good.wav")
    (tmp_path / "text.wav").write_text("no sound " * 99)
    (tmp_path / "empty.wav").touch()
    result = run("enhance", tmp_path, "-o", tmp_path / "out", "--model", model)
    assert result.exit_code == 1
    assert os.listdir(tmp_path / "out") == ["good.wav"]
    lines = result.stderr.splitlines()
    assert [line.split(": ")[:3] for line in lines] == [
        ["exdiff", "error", str(tmp_path / "empty.wav")],
        ["exdiff", "error", str(tmp_path / "text.wav")],
    ]


def spoil(tmp_path, noise):
    """Every kind of file that cannot be enhanced, by name."""
    (tmp_path / "text.wav").write_text("no sound " * 99)
    (tmp_path / "empty.wav").touch()
    noise(tmp_path / "cut.flac", seconds=3)
    data = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan] * 4000), 16000, subtype="FLOAT")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").touch()


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("text.wav", "not a readable audio"),
        ("empty.wav", "empty (0 bytes)"),
        ("cut.flac", "truncated or damaged"),
        ("nan.wav", "NaN or infinite"),
        ("folder", "holds no audio or video files"),
        ("nowhere.wav", "does not exist"),
        ("no*.wav", "matches no audio"),
    ],
)
def test_what_cannot_be_enhanced(tmp_path, run, noise, model, name, match):
    spoil(tmp_path, noise)
    before = sorted(os.listdir(tmp_path))
    result = run("enhance", tmp_path / name, "--model", model, "--steps", 0)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"exdiff: error: {tmp_path / name}")
    assert match in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_places_models_and_options_that_do_not_exist(tmp_path, run, noise, model):
    noise(tmp_path / "x.wav")
    (tmp_path / "file").touch()
    for arguments, match in [
        (["-o", tmp_path / "file" / "y.wav", "--model", model], "cannot write"),
        (["--model", "speeech"], "unknown model 'speeech'"),
        (["--model", model, "--sampler", "huen"], "did you mean 'heun'"),
        (["--model", model, "--device", "tpu"], "unknown device 'tpu'"),
        (["--model", model, "--device", "cpu:x"], "unknown device 'cpu:x'"),
        (["--model", model, "--steps", 0, "--sampler", "heun"], "with steps=0 no sampler is used"),
    ]:
        result = run("enhance", tmp_path / "x.wav", *arguments)
        assert result.exit_code == 2
        assert match in result.stderr
        assert result.stderr.count("\n") == 1
    for arguments in (["-o", ""], ["--strength", "2"], ["--steps", "-1"], ["--format", "wma"], ["--speed"]):
        assert run("enhance", tmp_path / "x.wav", *arguments).exit_code == 2
    assert sorted(os.listdir(tmp_path)) == ["file", "x.wav"]


def test_colliding_outputs_are_refused_before_any_work(tmp_path, run, noise):
    noise(tmp_path / "x.wav")
    noise(tmp_path / "x.flac")
    result = run("enhance", tmp_path, "-o", tmp_path / "out", "--format", "mp3", "--model", "none-is-loaded", "--json")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and "would both be written" in result.stderr
    assert ["would both be written" in json.loads(line)["error"] for line in result.stdout.splitlines()] == [True, True]
    assert not (tmp_path / "out").exists()


def test_a_collision_concerns_its_files_alone(tmp_path, run, noise, model):
    for name in ("p/a.wav", "p/a.flac", "p/b.flac", "c.wav"):
        noise(tmp_path / "in" / name)
    result = run("enhance", tmp_path / "in", "-o", tmp_path / "out", "--format", "wav", "--model", model, "--steps", 0)
    assert result.exit_code == 1
    pair = f"{tmp_path / 'in' / 'p' / 'a.flac'} and {tmp_path / 'in' / 'p' / 'a.wav'}"
    assert (
        result.stderr.startswith(f"exdiff: error: {pair} would both be written to") and result.stderr.count("\n") == 1
    )
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.*")) == ["b.wav", "c.wav"]


def test_a_rate_the_format_cannot_hold_is_said(tmp_path, run, noise, model):
    noise(tmp_path / "x.wav", rate=44100)
    result = run("enhance", tmp_path / "x.wav", "--format", "opus", "--model", model, "--steps", 0)
    assert result.exit_code == 0
    assert "warning" in result.stderr
    assert "44100 Hz" in result.stderr and "48000 Hz" in result.stderr
    assert decode(tmp_path / "x.enhanced.opus")[1] == 48000


def test_the_formats_offered_are_those_that_can_be_written():
    from exdiff.audio import FORMATS

    assert {"same", *FORMATS} == {choice.value for choice in command.OutputFormat}


def test_stems_of_the_model_for_speech_are_warned_of(tmp_path, run, noise):
    for name in ("in/x.wav", "out/x.vocals.wav", "out/x.accompaniment.wav"):
        noise(tmp_path / name)
    enhance = ("enhance", tmp_path / "in", "-o", tmp_path / "out", "--skip-existing")
    warning = "exdiff: warning: the model speech was not made for songs; use --model vocals or vocals-compact\n"
    for words in (enhance, ("batch", tmp_path / "in", tmp_path / "out")):
        for options in (["--stems"], ["--stem", "vocals"]):
            result = run(*words, *options)
            assert (result.exit_code, result.stderr) == (0, warning)
        assert run(*words, "--stems", "--model", "vocals").stderr == ""
    noise(tmp_path / "out" / "x.wav")
    assert run(*enhance).stderr == ""
