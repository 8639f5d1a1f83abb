"""Mixing on the fly: each index gives one (clean, mixture) pair, the same one whatever the worker or the machine.

Speech meets noise, music, the babble of other speakers, rooms, equalisers, band limits and mild clipping; a share of
the examples is clean, and a share holds no speech at all, so that the model learns to leave both as they should be.
The mixture is `clean + rest`, except where it is clipped or reverberant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exdiff.data.augment import band_limit, clip_peaks, equalise, rms, room
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip
from exdiff.errors import DataError

Array = np.ndarray
_SPEECH_RMS = 0.05  # every clip of a string of them, so that none drowns
Rng = np.random.Generator


@dataclass(frozen=True)
class Mix:
    """Probabilities and ranges of the mixing; the defaults make the embedded speech model."""

    snr_db: tuple[float, float] = (-6.0, 18.0)
    noise: float = 0.37  # weights of what is mixed in ...
    music: float = 0.25
    babble: float = 0.30
    noise_and_music: float = 0.08
    clean_share: float = 0.03  # ... and shares of examples without it, or with nothing else
    silent_share: float = 0.03
    babble_speakers: tuple[int, int] = (1, 6)
    room_share: float = 0.2
    equalise_share: float = 0.4
    band_limit_share: float = 0.06
    clip_share: float = 0.05
    level_db: tuple[float, float] = (-40.0, -12.0)  # RMS of the mixture, re full scale


class Mixer:
    """A data set of endless examples; `mixer[i]` -> (clean [T], mixture [T]) float32.

    Args:
        clips, cache: what to mix from, same order.
        segment_seconds, sample_rate: size of an example.
        seed: another seed, other examples.
        source_weights: relative weight of a source of speech among the targets; 1 where not named.
        clean_ovrl: targets are preferred by the logistic function of their DNSMOS around this value (None: evenly).
        mix: probabilities, as a table of `Mix` fields.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        cache: ClipCache,
        *,
        segment_seconds: float,
        sample_rate: int,
        seed: int = 0,
        source_weights: Mapping[str, float] | None = None,
        clean_ovrl: float | None = 2.6,
        mix: Mapping[str, object] | None = None,
    ) -> None:
        self.clips, self.cache, self.seed, self.sample_rate = clips, cache, seed, sample_rate
        self.length = round(segment_seconds * sample_rate)
        self.mix = Mix(**(mix or {}))  # type: ignore[arg-type]
        self._of_kind = {
            k: [i for i, c in enumerate(clips) if c.kind == k] for k in ("speech", "noise", "music", "rir")
        }
        if not self._of_kind["speech"]:
            raise DataError("no clip of kind 'speech' to train on")
        self._speakers = _group(self._of_kind["speech"], [c.speaker or c.source for c in clips])
        self._target_weight = _target_weights(clips, self._of_kind["speech"], source_weights or {}, clean_ovrl)
        self._durations = {
            k: cache.lengths[i] / cache.lengths[i].sum()
            for k, i in self._of_kind.items()
            if i and k in ("noise", "music")
        }
        self._kinds, self._kind_weights = self._interferences()

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        rng = np.random.default_rng((self.seed, index))
        mix = self.mix
        share = rng.uniform()
        clean, speaker = self._speech(rng)
        heard = clean
        if self._of_kind["rir"] and rng.uniform() < mix.room_share:
            impulse = self.cache.read(int(rng.choice(self._of_kind["rir"])))
            heard, clean = room(clean, impulse, self.sample_rate)
        if share < mix.clean_share:
            rest = np.zeros_like(clean)
        else:
            rest = self._interference(rng, speaker)
            rest *= rms(heard) / rms(rest) * 10 ** (-rng.uniform(*mix.snr_db) / 20)
        if share > 1 - mix.silent_share:
            clean, heard = np.zeros_like(clean), np.zeros_like(clean)
        return self._record(clean, heard + rest, rng)

    def _interferences(self) -> tuple[list[str], Array]:
        have = {k for k, i in self._of_kind.items() if i}
        needs = {"noise": {"noise"}, "music": {"music"}, "noise_and_music": {"noise", "music"}}
        kinds = [k for k, need in needs.items() if need <= have]
        if len(self._speakers) > 1:
            kinds.append("babble")
        weights = np.array([getattr(self.mix, k) for k in kinds])
        if not kinds or weights.sum() <= 0:
            raise DataError("nothing to mix speech with: add clips of kind 'noise' or 'music', or a second speaker")
        return kinds, weights / weights.sum()

    def _speech(self, rng: Rng) -> tuple[Array, str]:
        """Clips of one speaker, end to end with pauses, until the segment is full."""
        targets = self._of_kind["speech"]
        first = targets[int(rng.choice(len(targets), p=self._target_weight))]
        speaker = self.clips[first].speaker or self.clips[first].source
        return self._string(rng, first, self._speakers[speaker]), speaker

    def _string(self, rng: Rng, first: int, others: Sequence[int]) -> Array:
        out = np.zeros(self.length, np.float32)
        position = -int(rng.integers(0, max(1, self.cache.lengths[first] // 2)))
        clip = first
        while position < self.length:
            start = max(0, -position)
            begin = max(0, position)
            whole = self.cache.read(clip)  # its level is that of all of it: a quiet tail stays quiet
            samples = whole[start : start + self.length - begin] * (_SPEECH_RMS / rms(whole))
            out[begin : begin + len(samples)] = samples
            position += int(self.cache.lengths[clip]) + int(rng.uniform(0.1, 0.6) * self.sample_rate)
            clip = int(rng.choice(others))
        return out

    def _interference(self, rng: Rng, speaker: str) -> Array:
        kind = self._kinds[int(rng.choice(len(self._kinds), p=self._kind_weights))]
        if kind == "babble":
            return self._babble(rng, speaker)
        if kind == "noise_and_music":
            noise, music = self._crop(rng, "noise"), self._crop(rng, "music")
            rest = noise / rms(noise) + music / rms(music) * 10 ** (rng.uniform(-6, 6) / 20)
        else:
            rest = self._crop(rng, kind)
        return equalise(rest, rng, self.sample_rate) if rng.uniform() < self.mix.equalise_share else rest

    def _babble(self, rng: Rng, speaker: str) -> Array:
        names = [s for s in self._speakers if s != speaker]
        low, high = self.mix.babble_speakers
        total = np.zeros(self.length, np.float32)
        for name in rng.choice(names, size=min(len(names), int(rng.integers(low, high + 1))), replace=False):
            clips = self._speakers[str(name)]
            total += self._string(rng, int(rng.choice(clips)), clips) * 10 ** (rng.uniform(-3, 3) / 20)
        return total

    def _crop(self, rng: Rng, kind: str) -> Array:
        """A random stretch of one recording, long ones more often; a short one is repeated."""
        clip = self._of_kind[kind][int(rng.choice(len(self._of_kind[kind]), p=self._durations[kind]))]
        spare = int(self.cache.lengths[clip]) - self.length
        samples = self.cache.read(clip, int(rng.integers(0, spare + 1)) if spare > 0 else 0, self.length)
        if len(samples) < self.length:
            samples = np.roll(np.resize(samples, self.length), int(rng.integers(0, self.length)))
        if rms(samples) < 1e-4:  # a pause of the recording: noise of its own keeps the mixture defined
            samples = samples + rng.normal(0, 1e-3, self.length).astype(np.float32)
        return samples

    def _record(self, clean: Array, mixture: Array, rng: Rng) -> tuple[Array, Array]:
        """The microphone and the file: equaliser and band limit on both, clipping on the mixture alone, level."""
        mix = self.mix
        if rng.uniform() < mix.equalise_share:
            state = rng.bit_generator.state
            clean = equalise(clean, rng, self.sample_rate)
            rng.bit_generator.state = state  # the same curve again
            mixture = equalise(mixture, rng, self.sample_rate)
        if rng.uniform() < mix.band_limit_share:
            cutoff = rng.uniform(0.4, 0.95) * self.sample_rate / 2
            clean, mixture = band_limit(clean, cutoff, self.sample_rate), band_limit(mixture, cutoff, self.sample_rate)
        if rng.uniform() < mix.clip_share:
            mixture = clip_peaks(mixture, rng.uniform(0.3, 0.9))
        level = 10 ** (rng.uniform(*mix.level_db) / 20) / rms(mixture)
        return (clean * level).astype(np.float32), (mixture * level).astype(np.float32)


def _group(indices: Sequence[int], names: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i in indices:
        groups.setdefault(names[i], []).append(i)
    return groups


def _target_weights(
    clips: Sequence[Clip], speech: Sequence[int], sources: Mapping[str, float], clean_ovrl: float | None
) -> Array:
    """How often each clip is a target. One without a score of its own takes the mean of its speaker, or the middle."""
    scores: dict[str, list[float]] = {}
    for i in speech:
        if (ovrl := clips[i].ovrl) is not None:
            scores.setdefault(clips[i].speaker or clips[i].source, []).append(ovrl)
    weights = np.ones(len(speech))
    for n, i in enumerate(speech):
        clip = clips[i]
        weights[n] = sources.get(clip.source, 1.0)
        if clean_ovrl is not None:
            known = scores.get(clip.speaker or clip.source)
            ovrl = clip.ovrl if clip.ovrl is not None else float(np.mean(known)) if known else clean_ovrl
            weights[n] *= 1 / (1 + np.exp(-(ovrl - clean_ovrl) / 0.2))
    return weights / weights.sum()
