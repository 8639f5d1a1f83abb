"""Small data sets in the layouts of published ones."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from exdiff.data import decoding

RATE = 16000


def tone(seed, seconds=1.0, rate=RATE, channels=1, level=0.1):
    """Noise of its own for each seed, [C, T]."""
    rng = np.random.default_rng(seed)
    return (level * rng.normal(size=(channels, round(seconds * rate)))).astype(np.float32)


def write(path, samples, rate=RATE, subtype="FLOAT"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.T, rate, subtype=subtype)


def write_stems(path, stems, rate=44100):
    """A `.stem.mp4` as MUSDB18 has: one AAC stream a stem."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        streams = [container.add_stream("aac", rate=rate, layout="stereo") for _ in stems]
        for stream in streams:
            stream.bit_rate = 256000
        for stream, samples in zip(streams, stems, strict=True):
            for start in range(0, samples.shape[-1], 1024):
                part = np.ascontiguousarray(samples[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts = rate, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


@pytest.fixture
def decoded(monkeypatch):
    """Names of the clips that a cache decodes, as they are decoded."""
    names = []
    decode_clip = decoding.decode_clip

    def counted(clip, *options):
        names.append(clip.path.stem)
        return decode_clip(clip, *options)

    monkeypatch.setattr(decoding, "decode_clip", counted)
    return names


@pytest.fixture
def voicebank(tmp_path):
    """VoiceBank-DEMAND in small: three pairs to train on, two to test on."""
    for part, count in (("trainset_28spk", 3), ("testset", 2)):
        for i in range(count):
            clean, noise = tone(10 * count + i, 0.5 + 0.25 * i), tone(100 * count + i, 0.5 + 0.25 * i)
            write(tmp_path / "vb" / f"clean_{part}_wav" / f"p{i}.wav", clean)
            write(tmp_path / "vb" / f"noisy_{part}_wav" / f"p{i}.wav", clean + 0.5 * noise)
    return tmp_path / "vb"


@pytest.fixture
def hq(tmp_path):
    """MUSDB18-HQ in small: stereo, two songs to train on, one to test on."""
    for n, name in enumerate(("train/A - One", "train/B - Two", "test/C - Three")):
        stems = {s: tone(10 * n + k, 1.0, channels=2) for k, s in enumerate(("vocals", "drums", "bass", "other"))}
        for stem, samples in {**stems, "mixture": sum(stems.values())}.items():
            write(tmp_path / "hq" / name / f"{stem}.wav", samples)
    return tmp_path / "hq"


@pytest.fixture
def musdb(tmp_path):
    """MUSDB18 in small: one stem file to train on."""
    parts = [tone(k, 1.0, 44100, 2, 0.05) for k in range(4)]
    write_stems(tmp_path / "musdb" / "train" / "A - One.stem.mp4", [sum(parts), *parts])
    return tmp_path / "musdb"


class NoReadBack(TorchDispatchMode):
    """Refuses every operator that a GPU would have to be waited for, since its result decides something on the host."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero", "item")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        assert not name.startswith(self.WAITING), name
        if name.startswith("index"):
            masks = [i for a in args if isinstance(a, list | tuple) for i in a if i is not None]
            assert all(i.dtype == torch.int64 for i in masks), "an index that is a mask"
        return func(*args, **(kwargs or {}))
