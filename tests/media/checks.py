"""What must be true of every run: whole, or a clear error with nothing written, or a warning; never silently less."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
from make import BURST, LFE_TONE, tone

_OURS = "exdiff: "
_SNDFILE = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "FLAC")


@dataclass
class Outcome:
    """One run of the command on one file. `stray` is what libraries printed past it."""

    source: Path
    folder: Path
    code: int
    stdout: str
    stderr: str
    bug: BaseException | None
    stray: str

    @property
    def written(self) -> list[Path]:
        return sorted(p for p in self.folder.rglob("*") if p.is_file()) if self.folder.exists() else []

    @property
    def lines(self) -> list[str]:
        return self.stderr.splitlines()

    def check(self) -> str:
        """Check what holds for every file; returns "whole", "warning" or "error"."""
        assert self.bug is None, f"traceback: {self.bug!r}"
        assert "Traceback" not in self.stderr and "internal error" not in self.stderr, self.stderr
        assert self.stray == "", f"printed past us: {self.stray}"
        assert all(line.startswith(_OURS) for line in self.lines), self.stderr
        errors = [line for line in self.lines if line.startswith(_OURS + "error:")]
        if self.code:
            assert len(errors) == 1, f"exit {self.code} needs one line of error: {self.stderr}"
            assert self.source.name in errors[0], f"the error does not name the file: {errors[0]}"
            assert self.written == [], "an error leaves nothing behind"
            return "error"
        assert not errors, f"exit 0 with an error: {self.stderr}"
        assert len(self.written) == 1, f"one result, no partial files: {self.written}"
        return "warning" if self.lines else "whole"

    @property
    def result(self) -> Path:
        (path,) = self.written
        return path


@dataclass(frozen=True)
class Expected:
    """The sound that belongs in a result.

    Attributes:
        frames, rate, channels: of the result.
        clicks: where bursts begin.
        late, early: samples by which the clicks may be moved.
        longer, shorter: samples by which the length may differ.
        together: all clicks are moved alike.
        by_energy: the codec keeps no waveforms, so clicks are where the energy is.
    """

    frames: int
    rate: int
    channels: int
    clicks: tuple[int, ...]
    late: int = 3
    early: int = 3
    longer: int = 0
    shorter: int = 0
    together: bool = True
    by_energy: bool = False


def read(path: Path, stream: int = 0) -> tuple[np.ndarray, int]:
    """Float64 [T, C] in WAV order, decoded without our code: by libsndfile where it is exact, else by FFmpeg."""
    try:
        with soundfile.SoundFile(path) as file:
            # libsndfile leaves the channels of Ogg in their own order, and does not know the length of every MP3.
            if file.format in _SNDFILE or (file.format == "OGG" and file.channels <= 2):
                return file.read(dtype="float64", always_2d=True), file.samplerate
    except soundfile.LibsndfileError:
        pass
    try:
        return read_with_ffmpeg(path, stream)
    except av.error.InvalidDataError:  # free-format MP3
        return soundfile.read(path, always_2d=True)


def read_with_ffmpeg(path: Path, stream: int = 0) -> tuple[np.ndarray, int]:
    parts: list[np.ndarray] = []
    known = "ac3" if path.suffix == ".ac3" else None  # a file of one frame is not recognised
    with av.open(str(path), format=known, metadata_errors="ignore") as container:
        chosen = container.streams.audio[stream]
        resampler = av.AudioResampler(format="dbl")  # packed: PyAV reads past the planes of eight channels
        rate, last, base = 0, 0, chosen.time_base
        for frame in container.decode(chosen):
            rate, last = frame.sample_rate, frame.duration or 0
            parts += [plain.to_ndarray().reshape(-1, plain.layout.nb_channels) for plain in resampler.resample(frame)]
    whole = np.concatenate(parts)
    if path.suffix in (".m4a", ".m4b", ".mp4", ".mov") and last and base:  # the last packet is shorter than a frame
        whole = whole[: len(whole) - max(0, len(parts[-1]) - round(last * base * rate))]
    return whole, rate


def codec(path: Path) -> str:
    """FFmpeg's name of the first audio stream's codec."""
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            stream = container.streams.audio[0]
            name = stream.codec.canonical_name
            if name == "mp3":  # FFmpeg guesses the layer of MPEG audio in a transport stream
                return "mp2" if bytes(next(container.demux(stream)))[1] >> 1 & 3 == 2 else "mp3"
            return name
    except av.error.InvalidDataError:  # free-format MP3
        return {"MP3": "mp3"}[soundfile.info(path).format]


def find_clicks(samples: np.ndarray, by_energy: bool = False) -> list[int]:
    """Where bursts begin in [T], by correlation or by energy."""
    if by_energy:
        power = np.convolve(samples**2, np.ones(len(BURST)), "full")[len(BURST) - 1 :]
        match = np.maximum(power - 2 * np.median(power), 0)
        match[:1000] = 0  # speech codecs begin with a click of their own
    else:
        size = 1 << (len(samples) + len(BURST)).bit_length()
        spectrum = np.fft.rfft(samples, size) * np.fft.rfft(BURST, size).conj()
        match = np.abs(np.fft.irfft(spectrum, size)[: len(samples)])
    found: list[int] = []
    least = max(0.25 * match.max(), 1e-9)
    while len(found) < 100:
        place = int(match.argmax())
        if match[place] < least:
            break
        found.append(place)
        match[max(0, place - 1000) : place + 1000] = 0
    return sorted(found)


def tones(samples: np.ndarray, rate: int, quiet: slice) -> list[float]:
    """The strongest frequency of each channel of [T, C], in a stretch without clicks."""
    piece = samples[quiet] * np.hanning(len(samples[quiet]))[:, None]
    spectrum = np.abs(np.fft.rfft(piece, 1 << 15, axis=0))
    return [float(f) for f in spectrum.argmax(0) * rate / (1 << 15)]


def check_sound(path: Path, expected: Expected) -> np.ndarray:
    """Length, places of the clicks and order of the channels of a result; returns its samples [T, C]."""
    samples, rate = read(path)
    assert (rate, samples.shape[1]) == (expected.rate, expected.channels)
    low, high = expected.frames - expected.shorter, expected.frames + expected.longer
    assert low <= len(samples) <= high, f"{len(samples)} samples, expected {low} to {high}"
    found = find_clicks(samples[:, 0], expected.by_energy)
    assert len(found) == len(expected.clicks), f"clicks at {found}, expected {expected.clicks}"
    shifts = [got - wanted for got, wanted in zip(found, expected.clicks, strict=True)]
    assert all(-expected.early <= shift <= expected.late for shift in shifts), f"clicks moved by {shifts} samples"
    assert not expected.together or max(shifts) - min(shifts) <= 6, f"clicks moved by {shifts} samples"
    start = found[0] + 1500 if found else 0
    end = found[1] - 500 if len(found) > 1 else len(samples)
    for channel, got in enumerate(tones(samples, rate, slice(start, end))):
        wanted = tone(channel, expected.channels)
        near = 12 if wanted != LFE_TONE else 25
        assert abs(got - wanted) < near, f"channel {channel} has {got:.0f} Hz, not {wanted:.0f} Hz"
    return samples
