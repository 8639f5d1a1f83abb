"""`exdiff data check`: each fault is found where it was put, and nothing where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from exdiff.audio import resample
from exdiff.core.errors import DataError
from exdiff.data.blocks import exact_blocks
from exdiff.data.check import check_data, save_json, to_text
from exdiff.data.check.measure import Measure

from .conftest import RATE, tone, write


def found(result):
    """Kind -> files."""
    return {kind: [fault["file"] for fault in faults] for kind, faults in result["problems"].items()}


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
@pytest.mark.parametrize(("subtype", "channels"), [("PCM_16", 1), ("PCM_24", 2), ("FLOAT", 2)])
def test_good_files_of_all_kinds(tmp_path, rate, subtype, channels):
    for n in range(2):
        write(tmp_path / f"{n}.wav", tone(n, 1.3, rate, channels), rate, subtype)
    result = check_data(tmp_path)
    assert result["problems"] == {}
    assert (result["signals"], result["faulty"], result["layout"]) == (2, 0, "files")
    assert (result["sample_rates"], result["channels"]) == ({str(rate): 2}, {str(channels): 2})
    assert result["encodings"] == {subtype: 2}
    assert result["rows"][0]["seconds"] == pytest.approx(1.3, abs=1e-3)
    assert "No problems." in to_text(result)


def test_layouts_are_known(voicebank, hq, musdb):
    assert check_data(voicebank)["layout"] == "pairs"
    assert check_data(hq)["layout"] == "songs"
    result = check_data(musdb)
    assert result["layout"] == "MUSDB18 stems"
    assert [row["role"] for row in result["rows"]] == ["vocals", "drums", "bass", "other", "mixture"]
    assert result["rows"][0]["file"] == "train/A - One.stem.mp4 [vocals]"
    for path in (voicebank, hq, musdb):
        assert check_data(path)["problems"] == {}


def test_faults_of_single_files(tmp_path):
    time = np.arange(2 * RATE) / RATE
    loud = np.clip(1.5 * np.sin(2 * np.pi * 200 * time), -1, 1)
    part = np.concatenate([np.zeros(int(1.9 * RATE)), tone(0, 0.1)[0]])
    for name, samples in {
        "clipped": loud,
        "silent": np.zeros(2 * RATE),
        "mostly": part,
        "offset": 0.05 + tone(1, 2.0)[0],
        "upsampled": resample(tone(2, 2.0, 8000)[0], 8000, RATE),
        "fine": tone(3, 2.0)[0],
        "copy": tone(3, 2.0)[0],
    }.items():
        write(tmp_path / f"{name}.wav", np.atleast_2d(samples), subtype="PCM_16")
    soundfile.write(tmp_path / "as_flac.flac", soundfile.read(tmp_path / "fine.wav")[0], RATE)
    broken = tone(4)
    broken[0, 5000] = np.nan
    write(tmp_path / "nan.wav", broken)
    (tmp_path / "broken.wav").write_bytes(b"RIFF and no more")
    (tmp_path / "empty.flac").touch()
    result = check_data(tmp_path)
    assert found(result) == {
        "unreadable": ["broken.wav", "empty.flac"],
        "nan": ["nan.wav"],
        "clipping": ["clipped.wav"],
        "silence": ["mostly.wav", "silent.wav"],
        "offset": ["offset.wav"],
        "bandwidth": ["upsampled.wav"],
        "duplicate": ["as_flac.flac"],
    }
    assert result["problems"]["duplicate"][0]["detail"] == "the same as copy.wav, fine.wav"
    assert result["problems"]["bandwidth"][0]["detail"].startswith(("nothing above 3.", "nothing above 4."))
    text = to_text(result, shown=1)
    assert "- broken.wav:" in text
    assert "empty.flac:" not in text
    assert "- ... and 1 more; --json FILE lists all" in text
    assert found(check_data(tmp_path, silence=0.96))["silence"] == ["silent.wav"]


def test_faults_of_pairs(voicebank):
    train = voicebank / "noisy_trainset_28spk_wav"
    write(train / "p0.wav", tone(77, 0.5))
    write(train / "p1.wav", soundfile.read(train / "p1.wav")[0][None, :-100])
    write(train / "p2.wav", tone(5, 1.0, 8000), 8000)
    write(voicebank / "noisy_testset_wav" / "p0.wav", tone(20, 0.5))
    write(voicebank / "noisy_testset_wav" / "p1.wav", tone(6, 0.75, channels=2))
    write(voicebank / "clean_testset_wav" / "lonely.wav", tone(8, 0.5))
    result = check_data(voicebank)
    assert found(result) == {
        "partner": ["clean_testset_wav/lonely.wav"],
        "rate": ["noisy_trainset_28spk_wav/p2.wav"],
        "channels": ["noisy_testset_wav/p1.wav"],
        "length": ["noisy_trainset_28spk_wav/p1.wav"],
        "unrelated": ["noisy_trainset_28spk_wav/p0.wav"],
        "identical": ["noisy_testset_wav/p0.wav"],
    }
    assert result["signals"] == 11, "the lonely file is listened to as well"
    assert result["layout"] == "pairs and other files"


def test_duplicates_across_training_and_test_data(voicebank):
    for side in ("clean", "noisy"):
        copy = voicebank / f"{side}_testset_wav" / "p0.wav"
        copy.write_bytes((voicebank / f"{side}_trainset_28spk_wav" / "p1.wav").read_bytes())
    faults = check_data(voicebank)["problems"]["duplicate"]
    assert len(faults) == 2
    assert all(fault["detail"].endswith("; in test and train") for fault in faults)


def test_a_mixture_of_other_stems_is_noticed(hq):
    write(hq / "test" / "C - Three" / "mixture.wav", tone(99, channels=2))
    result = check_data(hq)
    assert found(result) == {"unrelated": ["test/C - Three/mixture.wav"]}
    assert "the sum of its stems is 0.0" in result["problems"]["unrelated"][0]["detail"].replace("-", "")


def test_a_stem_file_without_all_streams(tmp_path):
    from .conftest import write_stems

    write_stems(tmp_path / "x.stem.mp4", [tone(k, 0.5, 44100, 2, 0.05) for k in range(4)])
    result = check_data(tmp_path)
    assert found(result)["unreadable"] == ["x.stem.mp4 [vocals]"]
    assert "has 4 audio streams, got stream 4" in result["problems"]["unreadable"][0]["detail"]


def test_a_manifest(tmp_path):
    lines = ["file,kind,pair,tier"]
    for n, kind in enumerate(("songs_x_vocals", "songs_x_accompaniment", "speech", "rir")):
        write(tmp_path / f"{n}.wav", tone(n, 1.0) * (0 if kind == "rir" else 1))
        lines.append(f"{n}.wav,{kind},{'1' if n < 2 else ''},C")
    write(tmp_path / "1.wav", tone(1, 0.9))
    (tmp_path / "manifest.csv").write_text("\n".join([*lines, "gone.wav,noise,,A", "2.wav,songs_y_vocals,7,A"]) + "\n")
    result = check_data(tmp_path / "manifest.csv")
    assert result["layout"] == "manifest"
    assert found(result) == {
        "unreadable": ["gone.wav"],
        "partner": ["2.wav"],
        "length": ["1.wav"],
    }


def test_one_file_and_nothing(tmp_path, musdb):
    write(tmp_path / "f" / "a.wav", tone(0))
    write(tmp_path / "f" / "b.wav", tone(0))
    assert check_data(tmp_path / "f" / "a.wav")["signals"] == 1
    assert check_data(next(musdb.rglob("*.mp4")))["signals"] == 5
    (tmp_path / "text.txt").touch()
    (tmp_path / "none").mkdir()
    for path, message in [
        (tmp_path / "text.txt", "is not a folder, manifest.csv or audio file"),
        (tmp_path / "none", "no audio in"),
        (tmp_path / "nowhere", "does not exist"),
    ]:
        with pytest.raises(DataError, match=message):
            check_data(path)
    (tmp_path / "none" / "shard-000000.tar").touch()
    with pytest.raises(DataError, match="shards cannot be checked"):
        check_data(tmp_path / "none")


def test_several_processes_find_the_same(voicebank):
    write(voicebank / "noisy_testset_wav" / "p0.wav", tone(20, 0.5))
    assert check_data(voicebank, workers=2) == check_data(voicebank)


def test_the_report_is_json(voicebank, tmp_path):
    result = check_data(voicebank)
    save_json(result, tmp_path / "out" / "check.json")
    assert json.loads((tmp_path / "out" / "check.json").read_text()) == result
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["check.json"]
    with pytest.raises(DataError, match="cannot write"):
        save_json(result, tmp_path / "out" / "check.json" / "x.json")


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
def test_blocks_change_nothing(size):
    samples = np.clip(3 * tone(0, 0.3, level=0.3, channels=2), -1, 1)
    samples[1, :50] = 1.0
    rows = []
    for blocks in ([samples], [samples[:, i : i + size] for i in range(0, samples.shape[-1], size)]):
        measure = Measure(RATE, 2)
        for block in exact_blocks(blocks, RATE):
            measure.add(block)
        measure.finish()
        rows.append(measure.row())
    assert rows[0] == rows[1]


def test_runs_are_counted_across_blocks():
    measure = Measure(RATE, 1)
    full = np.zeros((1, 40), np.float32)
    for start, length in ((0, 3), (8, 5), (17, 2), (38, 2)):
        full[0, start : start + length] = -1.0 if start == 8 else 1.0
    for start in range(0, 40, 10):
        measure.add(full[:, start : start + 10])
    measure.add(full[:, :1])
    measure.finish()
    assert (measure.runs, measure.clipped) == (3, 3 + 5 + 3), "the last one is cut by two blocks' borders"


def test_slow_falls_are_no_edges():
    spectrum = np.fft.rfft(tone(0, 4.0)[0])
    frequency = np.linspace(0, 1, len(spectrum))
    for slope_db in (20, 60, 90):
        audio = np.fft.irfft(spectrum * 10 ** (-slope_db * frequency / 20)).astype(np.float32)
        measure = Measure(RATE, 1)
        measure.add(audio[None])
        assert measure.bandwidth() == 8000
