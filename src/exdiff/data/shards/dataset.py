"""Training examples from shards: random crops, and for songs the same mixing as from files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import soundfile
import torch

from exdiff.audio import resample
from exdiff.core.config import from_table
from exdiff.core.errors import DataError
from exdiff.data.draws import Draws
from exdiff.data.mixing.song_mix import SongMix, SongMixer, Stems
from exdiff.data.pairs import crop, place
from exdiff.data.shards.access import find_shards, open_shards
from exdiff.data.shards.order import Order

Array = np.ndarray
_RATES = (1000, 768000)  # Hz; audio has no other rates
_CHANNELS = 8


class Shards:
    """A data set of endless examples; `shards[i]` -> (clean, mixture) float32, [T] or, in stereo, [2, T].

    The sample that belongs to index i, and how it is cropped and mixed, depend on the seed and these options alone, so
    that a run can resume at any index with any number of processes. `order` describes how samples are shuffled.

    Args:
        segment_seconds, sample_rate: length of an example, and its rate in Hz; other samples are resampled.
        seed: another seed gives other examples.
        urls: a folder, an https: or gs: URL, `pipe:COMMAND {name}`, or a list of these.
        channels: 1 or 2.
        buffer: samples that are shuffled together; with URLs each process holds that many in memory.
        lanes, run: ranks times loader processes, and the batch size, so that no two processes read the same shard.
        mix: for shards of songs, a table of `SongMix` fields; a remix takes its rest from a song of the same block.

    Raises:
        DataError: shards that are missing, damaged, or hold anything that is not allowed.
        ConfigError: an unknown key or a bad value in `mix`.
    """

    def __init__(
        self,
        *,
        segment_seconds: float,
        sample_rate: int,
        seed: int = 0,
        urls: str | Sequence[str],
        channels: int = 1,
        buffer: int = 256,
        lanes: int = 1,
        run: int = 1,
        mix: Mapping[str, object] | None = None,
    ) -> None:
        if channels not in (1, 2):
            raise DataError(f"channels must be 1 (mono) or 2 (stereo), got {channels}")
        self.length, self.sample_rate = round(segment_seconds * sample_rate), sample_rate
        self.seed, self.channels = seed, channels
        shards = find_shards([urls] if isinstance(urls, str) else urls)
        self.kind = shards[0].kind
        if mix and self.kind != "songs":
            raise DataError("these shards hold pairs, which are mixed already; leave out data.mix")
        for key in {"speed", "snr_db"} & set(mix or ()):
            raise DataError(f"mix: {key} needs whole songs, which shards do not hold; leave it out, or use type: songs")
        self.mix = from_table(SongMix, mix or {}, "mix")
        self.order = Order([shard.count for shard in shards], seed=seed, buffer=buffer, lanes=lanes, run=run)
        self._access = open_shards(shards)
        self._mixer = SongMixer(
            self.mix,
            channels=channels,
            length=self.length,
            sample_rate=sample_rate,
            device=torch.device("cpu"),
        )

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        rng = np.random.default_rng((self.seed, index))
        block, slot = self.order.locate(index)
        signals = self._crop(self._access.get(self.order, block, slot), rng)
        if self.kind == "pairs":
            return self._fit(signals["clean"]), self._fit(signals["mixture"])
        vocals, rest = signals.pop("vocals"), list(signals.values())
        if rng.uniform() < self.mix.remix:
            other = self._access.get(self.order, block, int(rng.integers(block.size)))
            rest = list(self._crop({role: other[role] for role in other if role != "vocals"}, rng).values())
        return self._mix_song(index, vocals, rest)

    @torch.no_grad()
    def _mix_song(self, index: int, vocals: Array, rest: Sequence[Array]) -> tuple[Array, Array]:
        mixed = self._mixer(Draws(self.seed, [index]), _stems([vocals]), _stems(rest))
        target, mixture = (signal[0].numpy() for signal in mixed)
        return (target[0], mixture[0]) if self.channels == 1 else (target, mixture)

    def _fit(self, audio: Array) -> Array:
        return place(audio, 0, self.length, self.channels)

    def _crop(self, sample: Mapping[str, bytes], rng: np.random.Generator) -> dict[str, Array]:
        """The same section of every signal, [C, T] of the example's length and rate, in a fixed order of roles."""
        out: dict[str, Array] = {}
        form: tuple[int, int] | None = None
        start = shift = want = 0
        for role in sorted(sample):
            with _open(sample[role], role) as file:
                if form is None:
                    form = file.samplerate, file.frames
                    want = -(-self.length * file.samplerate // self.sample_rate)
                    start, shift = crop(file.frames, want, rng)
                if form != (file.samplerate, file.frames):
                    raise DataError(
                        f"a sample's {role} differs in rate or length from its partners; make the shards again"
                    )
                audio = _read(file, start, min(want, file.frames), role)
            audio = audio if len(audio) <= 2 else audio.mean(axis=0, keepdims=True)
            audio = resample(audio, form[0], self.sample_rate)
            begin = shift * self.sample_rate // form[0]
            out[role] = place(audio, begin, self.length, len(audio)).reshape(len(audio), -1)
        return out


def _stems(signals: Sequence[Array]) -> Stems:
    """Signals [C, T], of which each has one or two channels."""
    stereo = np.array([len(signal) == 2 for signal in signals])
    channels = 2 if stereo.any() else 1
    sound = [torch.from_numpy(signal).expand(channels, -1) for signal in signals]
    return Stems(torch.stack(sound), stereo)


def _open(data: bytes, role: str) -> soundfile.SoundFile:
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except (soundfile.LibsndfileError, TypeError) as error:
        raise DataError(f"a sample's {role} is not FLAC or WAV audio ({error}); make the shards again") from None
    known = file.format in ("FLAC", "WAV", "WAVEX") and file.channels <= _CHANNELS
    if not known or not _RATES[0] <= file.samplerate <= _RATES[1] or file.frames < 1:
        raise DataError(
            f"a sample's {role} is refused: {file.format}, {file.frames} samples, {file.channels} channels at "
            f"{file.samplerate} Hz; make the shards again"
        )
    return file


def _read(file: soundfile.SoundFile, start: int, length: int, role: str) -> Array:
    try:
        file.seek(start)
        audio = file.read(length, dtype="float32", always_2d=True).T
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise DataError(f"a sample's {role} is damaged ({error}); copy the shards again") from None
    if audio.shape[-1] < length or not np.isfinite(audio).all():
        raise DataError(f"a sample's {role} is cut short or holds NaN; copy the shards again")
    return audio
