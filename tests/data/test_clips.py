"""Manifests, folders and scores: what is read, and what is said about what is wrong."""

from __future__ import annotations

import pytest

from exdiff.data import expand, mix_clips
from exdiff.data.clips import Clip, read_folder, read_manifest, read_scores
from exdiff.errors import DataError

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
    for name in ("b/2.OGG", "b/1.wav", "a/3.flac", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    clips = read_folder(tmp_path, "music")
    assert [c.path.name for c in clips] == ["3.flac", "1.wav", "2.OGG"]
    assert [(c.kind, c.speaker, c.source) for c in clips] == [("music", s, s) for s in "abb"]


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
    assert expand("${EXDIFF_TEST_FOLDER}/x") == tmp_path / "x"
    monkeypatch.delenv("EXDIFF_TEST_FOLDER")
    with pytest.raises(DataError, match="set the environment variable"):
        expand("${EXDIFF_TEST_FOLDER}/x")
    monkeypatch.delenv("EXDIFF_DATA", raising=False)
    with pytest.raises(DataError, match="EXDIFF_DATA"):
        mix_clips(sample_rate=8000, seed=0, segment_seconds=0.5)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("EXDIFF_CACHE", raising=False)
    assert expand("${EXDIFF_CACHE}/x") == tmp_path / ".cache" / "exdiff" / "x"
