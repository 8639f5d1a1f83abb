"""Wrong usage is one line and exit code 2, before anything is read."""

from __future__ import annotations

import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in", "in"], "lie within each other; name a target that is elsewhere"),
        (["in", "in/out"], "lie within each other"),
        (["in/sub", "in"], "lie within each other"),
        (["in", ""], "a place is empty"),
        (["empty", "out"], "empty/ holds no audio or video files"),
        (["nowhere", "out"], "/nowhere does not exist; name a folder or a URL"),
        (["in/a.wav", "out"], "a.wav is a file; name a folder, or use exdiff enhance"),
        (["in", "in/a.wav"], "lie within each other"),
        (["in", "file"], "is a file"),
        (["file://in", "out"], "a file URL has an absolute path"),
        (["gopher://in", "out"], "gopher://in cannot be used: ValueError: Protocol not known: gopher"),
        (["in", "out", "--address", "auto"], "use --engine ray"),
        (["in", "out", "--engine", "ray", "--address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
        (["memory://in", "out", "--engine", "ray"], "use --engine local"),
        (["in", "out", "--name", "{nonsense}"], "unknown field"),
        (["in", "out", "--stems", "--stem", "vocals"], "leave one out"),
        (["in", "out", "--part", "3/2"], "give I/N"),
        (["in", "out", "--model", "speeech"], "unknown model 'speeech'"),
        (["in", "s3://nobucket/out"], "cannot be written: FileNotFoundError: The specified bucket does not exist"),
        (["s3://nobucket/in", "out"], "s3://nobucket/in/ holds no audio or video files"),
    ],
)
def test_wrong_usage(run, songs, tmp_path, monkeypatch, server, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    result = run("batch", *arguments)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert result.stderr.startswith("exdiff: error: ") and message in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["--engine", "spark"], ["--workers", "0"], ["--retries", "-1"]])
def test_options_are_checked(run, songs, tmp_path, arguments):
    assert run("batch", songs, tmp_path / "out", *arguments).exit_code == 2


@pytest.mark.parametrize(
    ("package", "arguments", "remedy"),
    [
        ("ray", ["--engine", "ray"], "pip install 'exdiff[batch]'"),
        ("fsspec", [], "pip install 'exdiff[batch]'"),
        ("gcsfs", [], "pip install gcsfs"),
    ],
)
def test_a_missing_package_is_one_line(run, songs, tmp_path, monkeypatch, package, arguments, remedy):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    target = tmp_path / "out" if package == "ray" else "gs://songs/out"
    result = run("batch", songs, target, *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert f"needs the package {package}; type: {remedy}\n" in result.stderr
