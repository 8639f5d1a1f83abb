"""Mixing on the fly: each index gives one (clean, mixture) pair, the same on every worker and machine.

Speech is mixed with noise, music and the babble of other speakers, and passes through rooms, equalisers, band limits
and mild clipping. Some examples are clean and some hold no speech at all, so that the model learns to leave speech
alone and to return silence. The mixture is `clean + rest`, except where it is clipped or reverberant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from exdiff.core.config import from_table, limited
from exdiff.core.errors import DataError
from exdiff.data.augment import band_limit, clip_peaks, equalise, rms, room
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip
from exdiff.data.draws import WeightedChoice, check_ranges, pick

Array = np.ndarray
_SPEECH_RMS = 0.05  # of every clip in a string of clips, so that none is masked by its neighbours
Rng = np.random.Generator


@dataclass(frozen=True)
class Mix:
    """Probabilities and ranges of the mixing; the defaults are those of the embedded speech model."""

    snr_db: tuple[float, float] = (-6.0, 18.0)
    noise: float = limited(0.37, least=0)  # relative frequencies of what is mixed in
    music: float = limited(0.25, least=0)
    babble: float = limited(0.30, least=0)
    noise_and_music: float = limited(0.08, least=0)
    clean_share: float = limited(0.03, least=0, most=1)  # of examples with speech alone
    silent_share: float = limited(0.03, least=0, most=1)  # of examples without speech
    babble_speakers: tuple[int, int] = limited((1, 6), least=1)
    room_share: float = limited(0.2, least=0, most=1)
    equalise_share: float = limited(0.4, least=0, most=1)
    band_limit_share: float = limited(0.06, least=0, most=1)
    clip_share: float = limited(0.05, least=0, most=1)
    level_db: tuple[float, float] = (-40.0, -12.0)  # RMS of the mixture, dB re full scale

    def __post_init__(self) -> None:
        check_ranges(self)


class Mixer:
    """A data set of endless examples; `mixer[i]` -> (clean [T], mixture [T]) float32.

    Args:
        clips, cache: what to mix, in the same order.
        segment_seconds, sample_rate: length of an example in seconds, and its rate in Hz.
        seed: another seed gives other examples.
        source_weights: how often the speech of a source is the target, relative to the others; 1 by default.
        clean_ovrl: the DNSMOS score at which a clip is half as likely to be a target as a perfectly clean one (a
            logistic function of the score); None draws all clips equally often.
        mix: a table of `Mix` fields.

    Raises:
        DataError: no speech, or nothing to mix it with.
        ConfigError: an unknown key or a bad value in `mix`.
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
        self.mix = from_table(Mix, mix or {}, "mix")
        self._of_kind = {
            k: [i for i, c in enumerate(clips) if c.kind == k] for k in ("speech", "noise", "music", "rir")
        }
        if not self._of_kind["speech"]:
            raise DataError("no clip of kind 'speech' to train on")
        self._speakers = _group(self._of_kind["speech"], [c.speaker or c.source for c in clips])
        self._names = list(self._speakers)
        self._places = {name: place for place, name in enumerate(self._names)}
        weights = target_weights(clips, self._of_kind["speech"], source_weights or {}, clean_ovrl)
        self._choose_target = _choice(weights, "source_weights and clean_ovrl leave no speech to draw")
        self._choose_clip = {
            kind: _choice(cache.lengths[self._of_kind[kind]], f"the clips of kind {kind!r} hold no samples")
            for kind in ("noise", "music")
            if self._of_kind[kind]
        }
        self._kinds, self._choose_kind = self._interferences()

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        rng = np.random.default_rng((self.seed, index))
        mix = self.mix
        share = rng.uniform()
        clean, speaker = self._speech(rng)
        heard = clean
        if self._of_kind["rir"] and rng.uniform() < mix.room_share:
            impulse = self.cache.read(pick(rng, self._of_kind["rir"]))
            heard, clean = room(clean, impulse, self.sample_rate)
        if share < mix.clean_share:
            rest = np.zeros_like(clean)
        else:
            rest = self._interference(rng, speaker)
            rest *= rms(heard) / rms(rest) * 10 ** (-rng.uniform(*mix.snr_db) / 20)
        if share > 1 - mix.silent_share:
            clean, heard = np.zeros_like(clean), np.zeros_like(clean)
        return self._record(clean, heard + rest, rng)

    def _interferences(self) -> tuple[list[str], WeightedChoice]:
        """The kinds of interference that the clips allow."""
        have = {k for k, i in self._of_kind.items() if i}
        needs = {"noise": {"noise"}, "music": {"music"}, "noise_and_music": {"noise", "music"}}
        kinds = [k for k, need in needs.items() if need <= have]
        if len(self._speakers) > 1:
            kinds.append("babble")
        message = "nothing to mix speech with: add clips of kind 'noise' or 'music', or a second speaker"
        return kinds, _choice([getattr(self.mix, k) for k in kinds], message)

    def _speech(self, rng: Rng) -> tuple[Array, str]:
        """Clips of one speaker, one after another with pauses between, until the segment is full."""
        targets = self._of_kind["speech"]
        first = targets[self._choose_target(rng)]
        speaker = self.clips[first].speaker or self.clips[first].source
        return self._string(rng, first, self._speakers[speaker]), speaker

    def _string(self, rng: Rng, first: int, others: Sequence[int]) -> Array:
        out = np.zeros(self.length, np.float32)
        position = -int(rng.integers(0, max(1, self.cache.lengths[first] // 2)))
        clip = first
        while position < self.length:
            start = max(0, -position)
            begin = max(0, position)
            gain = _SPEECH_RMS / float(self.cache.levels[clip])  # the level of the whole clip: a quiet end stays quiet
            samples = self.cache.read(clip, start, self.length - begin) * gain
            out[begin : begin + len(samples)] = samples
            position += int(self.cache.lengths[clip]) + int(rng.uniform(0.1, 0.6) * self.sample_rate)
            clip = pick(rng, others)
        return out

    def _interference(self, rng: Rng, speaker: str) -> Array:
        kind = self._kinds[self._choose_kind(rng)]
        if kind == "babble":
            return self._babble(rng, speaker)
        if kind == "noise_and_music":
            noise, music = self._crop(rng, "noise"), self._crop(rng, "music")
            rest = noise / rms(noise) + music / rms(music) * 10 ** (rng.uniform(-6, 6) / 20)
        else:
            rest = self._crop(rng, kind)
        return equalise(rest, rng, self.sample_rate) if rng.uniform() < self.mix.equalise_share else rest

    def _babble(self, rng: Rng, speaker: str) -> Array:
        low, high = self.mix.babble_speakers
        total = np.zeros(self.length, np.float32)
        others = len(self._names) - 1
        for place in rng.choice(others, size=min(others, int(rng.integers(low, high + 1))), replace=False):
            name = self._names[int(place) + (place >= self._places[speaker])]  # all but the speaker's own place
            clips = self._speakers[name]
            total += self._string(rng, pick(rng, clips), clips) * 10 ** (rng.uniform(-3, 3) / 20)
        return total

    def _crop(self, rng: Rng, kind: str) -> Array:
        """A random section of one recording, drawn in proportion to its length; a short one is repeated."""
        clip = self._of_kind[kind][self._choose_clip[kind](rng)]
        spare = int(self.cache.lengths[clip]) - self.length
        samples = self.cache.read(clip, int(rng.integers(0, spare + 1)) if spare > 0 else 0, self.length)
        if len(samples) < self.length:
            samples = np.roll(np.resize(samples, self.length), int(rng.integers(0, self.length)))
        if rms(samples) < 1e-4:  # a pause in the recording: faint noise keeps the SNR defined
            samples = samples + rng.normal(0, 1e-3, self.length).astype(np.float32)
        return samples

    def _record(self, clean: Array, mixture: Array, rng: Rng) -> tuple[Array, Array]:
        """Recording: the same equaliser and band limit for both signals, clipping of the mixture alone, the level."""
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


def _choice(weights: ArrayLike, message: str) -> WeightedChoice:
    try:
        return WeightedChoice(weights)
    except ValueError as error:
        raise DataError(f"{message} ({error})") from None


def target_weights(
    clips: Sequence[Clip], speech: Sequence[int], sources: Mapping[str, float], clean_ovrl: float | None
) -> Array:
    """How often each clip of speech is a target, relative to the others.

    A clip without a score takes its speaker's mean score, or `clean_ovrl` if the speaker has none either.
    """
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
    return weights
