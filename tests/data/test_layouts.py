"""Which files belong together, in every layout."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from exdiff.audio import decode
from exdiff.audio.files import audio_files
from exdiff.core.errors import DataError
from exdiff.data.layouts import find_items, scan

from .conftest import tone, write


def names(items):
    return [item.name for item in items]


def test_voicebank_is_split_by_its_folders(voicebank):
    assert names(find_items(voicebank, "train")) == ["p0", "p1", "p2"]
    test = find_items(voicebank, "test")
    assert names(test) == ["p0", "p1"]
    assert {s.path.parent.name for item in test for s in item.sources} == {"clean_testset_wav", "noisy_testset_wav"}
    assert [s.role for s in test[0].sources] == ["clean", "mixture"]


def test_a_test_set_is_not_trained_on(voicebank):
    for folder in voicebank.glob("*trainset*"):
        shutil.rmtree(folder)
    for split in ("train", "valid"):
        with pytest.raises(DataError, match=f"holds only test data, nothing for the split '{split}'"):
            find_items(voicebank, split)
    with pytest.raises(DataError, match="unknown split 'tset'; did you mean 'test'"):
        find_items(voicebank, "tset")


def test_folders_named_by_split_and_without(tmp_path):
    for part in ("train", "valid"):
        for side in ("clean", "noisy"):
            write(tmp_path / part / side / f"{part}.wav", tone(0))
    assert names(find_items(tmp_path, "train")) == ["train"]
    assert names(find_items(tmp_path, "valid")) == ["valid"]
    assert names(find_items(tmp_path / "valid", "train")) == ["valid"], "named itself: nothing says what it is for"


def test_musdb_hq_has_a_mixture_of_its_own(hq):
    train = find_items(hq, "train")
    assert names(train) == ["A - One", "B - Two"]
    assert [s.role for s in train[0].sources] == ["vocals", "drums", "bass", "other", "mixture"]
    assert names(find_items(hq, "test")) == ["C - Three"]
    (hq / "train" / "A - One" / "mixture.wav").unlink()
    assert find_items(hq, "train")[0].mixture is None
    (hq / "train" / "A - One" / "bass.wav").unlink()
    with pytest.raises(DataError, match="nor drums.*, bass.* and other.*: only drums, other, vocals"):
        find_items(hq, "train")


def test_the_streams_of_a_stem_file(musdb):
    (item,) = find_items(musdb, "train")
    assert item.name == "A - One"
    assert names(find_items(musdb, "test", or_any=True)) == ["A - One"], "there is nothing else to evaluate on"
    assert [(s.role, s.stream) for s in item.sources] == [
        ("vocals", 4),
        ("drums", 1),
        ("bass", 2),
        ("other", 3),
        ("mixture", 0),
    ]
    audio = {s.role: decode(s.path, s.stream)[0] for s in item.sources}
    assert len({signal.shape for signal in audio.values()}) == 1
    mixture = audio.pop("mixture")
    assert np.corrcoef(sum(audio.values()).ravel(), mixture.ravel())[0, 1] > 0.8, "AAC"


def test_a_song_may_be_called_test(tmp_path):
    for stem in ("vocals", "accompaniment"):
        write(tmp_path / "test" / f"{stem}.wav", tone(0))
    assert names(find_items(tmp_path, "train")) == ["test"]


def test_hidden_files_are_left_out(voicebank):
    hidden = voicebank / "clean_testset_wav" / "._p0.wav"
    hidden.write_bytes(b"from macOS")
    shutil.copytree(voicebank / "noisy_testset_wav", voicebank / "noisy_testset_wav" / ".snapshot")
    assert hidden not in audio_files(voicebank)
    assert len(find_items(voicebank, "test")) == 2


def test_faults_are_collected_or_raised(voicebank):
    (voicebank / "noisy_testset_wav" / "p0.wav").unlink()
    (voicebank / "clean_trainset_28spk_wav" / "p1.wav").unlink()
    found = scan(voicebank)
    assert sorted(path.name for path, _ in found.faults) == ["p0.wav", "p1.wav"]
    assert len(found.items) == 3
    with pytest.raises(DataError, match=r"p0.wav' lacks its partner: 'p0' is not in noisy_testset_wav/ \(and 1 more"):
        find_items(voicebank, "train")
