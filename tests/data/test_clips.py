"""Manifests, folders and scores: what is read, and what is said about what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exdiff.core.errors import DataError
from exdiff.data.clips import Clip, read_folder, read_manifest, read_scores
from exdiff.data.datasets import Pairs, expand_path, mix_clips

from .conftest import RATE, tone, write

TEXT = """file,kind,speaker,source,tier,ovrl
a/1.wav,speech,ann,x,A,3.5
a/2.wav,speech,bob,x,C,
b/3.wav,noise,,y,B,
b/4.wav,rir,,z,,
"""


def manifest(folder, text=TEXT):
    path = folder / "manifest.csv"
    path.write_text(text)
    return path


def test_a_manifest_is_read_by_tier_and_kind(tmp_path):
    path = manifest(tmp_path)
    clips = read_manifest(path)
    assert [c.path.relative_to(tmp_path).as_posix() for c in clips] == ["a/1.wav", "b/3.wav", "b/4.wav"]
    assert clips[0] == Clip(tmp_path / "a" / "1.wav", "speech", "ann", "x", "A", 3.5)
    assert clips[1].ovrl is None
    assert [c.speaker for c in read_manifest(path, tiers="ABC", kinds=["speech"])] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("file,speaker\na.wav,x\n", {}, "no column kind"),
        ("", {}, "no column file, kind"),
        (TEXT, {"tiers": ["D"], "kinds": ["speech"]}, r"no clip of kinds \['speech'\] and tiers \['D'\]"),
        (TEXT + "b/5.w\n", {}, "line 6: it ends before the columns file and kind"),
        ("kind,ovrl,file\nspeech,3.1,a.wav\nspeech,2\n", {}, "line 3: it ends before the columns file and kind"),
        (TEXT.replace("3.5", "good"), {}, "line 2: ovrl must be a number, got 'good'"),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(tmp_path, text, options, message):
    with pytest.raises(DataError, match=message):
        read_manifest(manifest(tmp_path, text), **options)


def test_a_missing_manifest_says_how_to_name_one(tmp_path):
    with pytest.raises(DataError, match=r"no manifest at .*manifest\.csv; name one with data.manifest=FILE"):
        read_manifest(tmp_path / "manifest.csv")


def test_a_folder_gives_its_audio_in_order(tmp_path):
    hidden = ("b/._1.wav", "__MACOSX/._3.flac", ".trash/4.wav")
    for name in ("b/2.OGG", "b/1.wav", "b/3.g722", "a/3.flac", "a/notes.txt", *hidden):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    clips = read_folder(tmp_path, "music")
    assert [c.path.name for c in clips] == ["3.flac", "1.wav", "2.OGG", "3.g722"]
    assert [(c.kind, c.speaker, c.source) for c in clips] == [("music", s, s) for s in "abbb"]


def test_links_cannot_form_a_loop(tmp_path):
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "1.wav").touch()
    (tmp_path / "data" / "a" / "2.wav").symlink_to(tmp_path / "data" / "a" / "1.wav")
    (tmp_path / "data" / "a" / "3.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "data" / "a" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for root in (tmp_path / "data", tmp_path / "link"):
        names = [c.path.relative_to(root).as_posix() for c in read_folder(root, "noise")]
        assert names == ["a/1.wav", "a/2.wav"]


def test_an_empty_or_missing_folder_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="no audio below"):
        read_folder(tmp_path, "music")
    with pytest.raises(DataError, match=r"no folder .* to read music from"):
        read_folder(tmp_path / "nowhere", "music")


def test_scores_are_found_by_the_path_of_the_manifest(tmp_path):
    scores = tmp_path / "scores.csv"
    scores.write_text("file,ovrl\na/1.wav,2.5\nb/1.wav,1.5\nb/2.wav,\n")
    clips = [Clip(tmp_path / n, "speech") for n in ("a/1.wav", "b/1.wav", "b/2.wav", "c/1.wav")]
    assert [c.ovrl for c in read_scores(clips, scores)] == [2.5, 1.5, None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,score\n", "no column ovrl"),
        ("file,ovrl\na.wav,x\n", "line 2: ovrl must be a number"),
        (None, "no scores at"),
    ],
)
def test_wrong_scores_say_what_is_wrong(tmp_path, text, message):
    if text is not None:
        (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_scores([Clip(tmp_path / "a.wav", "speech")], tmp_path / "scores.csv")


def test_variables_are_expanded_and_must_be_set(monkeypatch, tmp_path):
    monkeypatch.setenv("EXDIFF_TEST_FOLDER", str(tmp_path))
    assert expand_path("${EXDIFF_TEST_FOLDER}/x") == tmp_path / "x"
    monkeypatch.delenv("EXDIFF_TEST_FOLDER")
    with pytest.raises(DataError, match="the environment variable EXDIFF_TEST_FOLDER is not set; set it"):
        expand_path("${EXDIFF_TEST_FOLDER}/x")
    monkeypatch.delenv("EXDIFF_DATA", raising=False)
    with pytest.raises(DataError, match="EXDIFF_DATA"):
        mix_clips(sample_rate=8000, seed=0, segment_seconds=0.5)
    monkeypatch.setenv("EXDIFF_PRICE", "a$b")
    assert expand_path("x/$EXDIFF_PRICE/${EXDIFF_PRICE}c") == Path("x/a$b/a$bc"), "values are taken as they are"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_path("~/x") == tmp_path / "x"


@pytest.mark.parametrize(
    ("variable", "wanted"),
    [("EXDIFF_CACHE", "chosen/x"), ("XDG_CACHE_HOME", "chosen/exdiff/x"), (None, ".cache/exdiff/x")],
)
def test_the_cache_folder_has_a_default(monkeypatch, tmp_path, variable, wanted):
    for name in ("EXDIFF_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "chosen"))
    assert expand_path("${EXDIFF_CACHE}/x") == expand_path("$EXDIFF_CACHE/x") == tmp_path / wanted


def test_a_data_set_leaves_the_environment_and_the_place_of_models_alone(monkeypatch, tmp_path):
    from exdiff.checkpoints.catalogue import installed_folder

    monkeypatch.delenv("EXDIFF_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for part in ("clean", "noisy"):
        write(tmp_path / "data" / part / "a.wav", tone(0))
    before, models = dict(os.environ), installed_folder("vocals")
    data = Pairs(segment_seconds=0.5, sample_rate=RATE, roots=str(tmp_path / "data"))
    assert data[0][0].any()
    assert dict(os.environ) == before
    assert installed_folder("vocals") == models
    assert data.cache.folder.parent == models.parents[1] == tmp_path / "xdg" / "exdiff"
