"""Finding DATA: the layouts, and what is wrong with a folder."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from exdiff.core.errors import AudioError, DataError
from exdiff.evaluation import Pair, find_pairs

from .conftest import RATE, signals, write


def test_speech_pairs_are_read_as_they_are(speech):
    pairs = find_pairs(speech)
    assert [pair.name for pair in pairs] == [f"{i:03d}_noise_+5dB" for i in range(3)]
    pair, (clean, mixture) = pairs[1].load(), signals(1)
    assert pair.sample_rate == RATE
    assert np.array_equal(pair.clean, clean)
    assert np.array_equal(pair.mixture, mixture)


def test_voicebank_names_and_other_suffixes(speech, tmp_path):
    for old, new in (("clean", "clean_testset_wav"), ("noisy", "noisy_testset_wav")):
        shutil.copytree(speech / old, tmp_path / "vb" / new)
    flac = tmp_path / "vb" / "noisy_testset_wav" / "000_noise_+5dB"
    flac.with_suffix(".wav").unlink()
    write(flac.with_suffix(".flac"), signals(0)[1])
    pairs = find_pairs(tmp_path / "vb")
    assert len(pairs) == 3
    assert pairs[0].item.mixture.path.suffix == ".flac"


def test_a_song_s_mixture_is_the_sum_of_its_stems(songs):
    pairs = find_pairs(songs)
    assert [pair.name for pair in pairs] == ["A [live]", "B - x.y"]
    pair, (vocals, accompaniment) = pairs[1].load(), signals(1, channels=2)
    assert np.array_equal(pair.clean, vocals)
    assert np.array_equal(pair.mixture, vocals + accompaniment)


def test_limit_draws_a_sorted_nested_sample(tmp_path):
    for index in range(60):
        for folder in ("clean", "noisy"):
            write(tmp_path / folder / f"{index:02d}.wav", np.zeros(10))
    every = [pair.name for pair in find_pairs(tmp_path)]
    draws = {limit: [pair.name for pair in find_pairs(tmp_path, limit)] for limit in (1, 6, 12, 60, 99)}
    assert all(names == sorted(names) and len(names) == min(limit, 60) for limit, names in draws.items())
    assert set(draws[1]) < set(draws[6]) < set(draws[12]) < set(every)
    assert draws[60] == draws[99] == every
    # names of data sets cycle through conditions: a draw must not land on one of them
    for period in (2, 3, 5):
        assert len({int(name) % period for name in draws[12]}) == period


def test_faults_of_the_folder_are_said(speech, songs, tmp_path):
    (speech / "noisy" / "001_noise_+5dB.wav").unlink()
    with pytest.raises(DataError, match=r"001_noise_\+5dB.wav' lacks its partner: '001_noise_\+5dB' is not in noisy/"):
        find_pairs(speech)
    (songs / "A [live]" / "accompaniment.wav").unlink()
    with pytest.raises(DataError, match=r"A \[live\]/vocals.wav' has no accompaniment"):
        find_pairs(songs)
    with pytest.raises(DataError, match="does not exist"):
        find_pairs(tmp_path / "nowhere")
    (tmp_path / "empty" / "clean").mkdir(parents=True)
    with pytest.raises(DataError, match="must hold clean/ and noisy/"):
        find_pairs(tmp_path / "empty")
    (tmp_path / "empty" / "noisy").mkdir()
    with pytest.raises(DataError, match="hold no audio files"):
        find_pairs(tmp_path / "empty")
    (tmp_path / "stems").mkdir()
    (tmp_path / "stems" / "song.stem.mp4").touch()
    with pytest.raises(AudioError, match="song.stem.mp4: empty"):
        find_pairs(tmp_path / "stems")[0].load()


def test_two_files_for_one_item_are_refused(speech):
    write(speech / "clean" / "001_noise_+5dB.flac", signals(1)[0])
    with pytest.raises(DataError, match="stand for the same item"):
        find_pairs(speech)


def test_what_does_not_fit_is_said_when_loaded(speech):
    path = speech / "noisy" / "000_noise_+5dB.wav"
    for samples, rate in [(signals(0)[1][:-1], RATE), (signals(0)[1], 8000), (signals(0, channels=2)[1], RATE)]:
        write(path, samples, rate)
        with pytest.raises(DataError, match="they must agree"):
            find_pairs(speech)[0].load()
    path.write_bytes(b"not audio")
    with pytest.raises(AudioError):
        find_pairs(speech)[0].load()
    with pytest.raises(DataError, match=r"\(3,\), mixture \(4,\)"):
        Pair("odd", np.zeros(3), np.zeros(4), RATE).load()


def test_musdb_brings_its_mixture(tmp_path):
    stems = {s: signals(n, channels=2)[0] for n, s in enumerate(("vocals", "drums", "bass", "other"))}
    for split in ("train", "test"):
        for stem, samples in {**stems, "mixture": 0.9 * sum(stems.values())}.items():
            write(tmp_path / split / "Song" / f"{stem}.wav", samples)
    (pair,) = find_pairs(tmp_path)
    assert (pair.name, pair.item.split) == ("Song", "test")
    loaded = pair.load()
    assert np.array_equal(loaded.clean, stems["vocals"])
    assert np.array_equal(loaded.mixture, 0.9 * sum(stems.values()))
    (tmp_path / "test" / "Song" / "mixture.wav").unlink()
    np.testing.assert_allclose(find_pairs(tmp_path)[0].load().mixture, sum(stems.values()), atol=1e-6)
