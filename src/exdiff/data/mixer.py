"""Mixing speech on the fly: each index gives one (clean, mixture) pair, the same in any batch and on any device.

Speech is mixed with noise, music and the babble of other speakers, and passes through rooms, equalisers, band limits
and mild clipping. Some examples are clean and some hold no speech at all, so that the model learns to leave speech
alone and to return silence. The mixture is `clean + rest`, except where it is clipped, coded or reverberant.

What is mixed is decided on the host, for all examples of a batch at once. The samples stay on the device: nothing is
read back from it, so mixing never waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from exdiff.core.config import from_table
from exdiff.core.errors import DataError
from exdiff.data.bank import Bank, open_bank
from exdiff.data.batched import put
from exdiff.data.cache import ClipCache
from exdiff.data.clips import Clip
from exdiff.data.draws import Draws, Part, between, choice, gain
from exdiff.data.mixing.augment import Spectrum, convolve, early, on_rows, rms
from exdiff.data.mixing.interference import KINDS, Crops, Interference
from exdiff.data.mixing.mix import Mix
from exdiff.data.mixing.playback import Playback, frames_needed
from exdiff.data.mixing.recording import record
from exdiff.data.mixing.rooms import Rooms
from exdiff.data.mixing.voices import Voices

Array = np.ndarray


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
        of_kind = {k: [i for i, c in enumerate(clips) if c.kind == k] for k in ("speech", "noise", "music", "rir")}
        if not of_kind["speech"]:
            raise DataError("no clip of kind 'speech' to train on")
        self.speech, self.rooms = np.array(of_kind["speech"]), of_kind["rir"]
        weights = target_weights(clips, of_kind["speech"], source_weights or {}, clean_ovrl)
        self.choose_target = choice(weights, "source_weights and clean_ovrl leave no speech to draw")
        self.voices = Voices(clips, cache, of_kind["speech"], sample_rate)
        self.crops = {k: Crops(cache, of_kind[k], self.length, k) for k in ("noise", "music") if of_kind[k]}
        self.choose_kind = choice(
            self._weights(), "nothing to mix speech with: add clips of kind 'noise' or 'music', or a second speaker"
        )
        self._on_host = self.on(torch.device("cpu"))

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        clean, mixture = self._on_host.batch([index])
        return clean[0, 0].numpy(), mixture[0, 0].numpy()

    def on(self, device: torch.device, *, bank_gb: float | None = None) -> MixerBatches:
        """Batches that are mixed on a device.

        Args:
            device: where to mix.
            bank_gb: gigabytes of its memory that the clips may take, see `open_bank`.
        """
        return MixerBatches(self, open_bank(self.cache, device, bank_gb))

    def _weights(self) -> list[float]:
        """Of each of KINDS, as far as the clips allow it."""
        have = {*self.crops, *(["babble"] if len(self.voices.clips) > 1 else [])}
        needs = {"noise_and_music": {"noise", "music"}, "made_noise": set()}
        return [getattr(self.mix, kind) * (needs.get(kind, {kind}) <= have) for kind in KINDS]


class MixerBatches:
    """Batches of a mixer, made on the device of a bank; without a state, so that several threads may use it.

    Args:
        mixer: what to mix, and how.
        bank: the clips of its cache.
    """

    def __init__(self, mixer: Mixer, bank: Bank) -> None:
        self._mixer, self._mix, self._bank, self.device = mixer, mixer.mix, bank, bank.device
        length, sample_rate = mixer.length, mixer.sample_rate
        self._needed = frames_needed(length, max(1.0, self._mix.speed[1]))
        self._string = mixer.voices.numbers_needed(self._needed)
        self._spectrum = Spectrum(length, sample_rate, self.device)
        self._rooms = Rooms(mixer.cache, mixer.rooms, self._mix.made_room_share, sample_rate, self.device)
        self._interference = Interference(
            self._mix,
            mixer.voices,
            mixer.crops,
            bank,
            self._spectrum,
            self._rooms,
            length=length,
            sample_rate=sample_rate,
        )

    @torch.no_grad()
    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(clean, mixture), both float32 [B, 1, T] on the device."""
        mixer, mix, device = self._mixer, self._mix, self.device
        draws = Draws(mixer.seed, indices, self._string)
        share, first, kind, snr, room, fast, speed = draws.part(Part.EXAMPLE)[:, :7].T
        target = mixer.speech[mixer.choose_target(first)]
        voice = self._voice(draws, target, np.where(fast < mix.speed_share, between(speed, mix.speed), 1.0))
        clean, heard = self._in_rooms(draws, voice, np.flatnonzero(room < mix.room_share))
        kind = np.where(share < mix.clean_share, -1, mixer.choose_kind(kind))
        rest = self._interference(draws, kind, target)
        rest = rest * (put(gain(-between(snr[:, None], mix.snr_db)), device) * rms(heard) / rms(rest))
        spoken = put(1.0 * (share[:, None] <= 1 - mix.silent_share), device)
        clean, mixture = record(clean * spoken, heard * spoken + rest, draws, mix, self._spectrum)
        return clean[:, None], mixture[:, None]

    def _voice(self, draws: Draws, target: Array, speed: Array) -> Tensor:
        """[B, T]."""
        voices, length = self._mixer.voices, self._mixer.length
        rows = np.flatnonzero(speed != 1)
        needed = self._needed if len(rows) else length
        sound = self._bank.read(voices.strings(target, draws.part(Part.STRING), needed), needed)
        if not len(rows):
            return sound[:, 0]
        where = put(rows, self.device)
        played = Playback(speed[rows], length, self.device)(sound.index_select(0, where))
        return sound[..., :length].index_copy(0, where, played)[:, 0]

    def _in_rooms(self, draws: Draws, voice: Tensor, rows: Array) -> tuple[Tensor, Tensor]:
        """(clean, heard), both [B, T]: what is heard in a room, and the part of it that is the target."""
        if len(rows):
            rows = rows[self._rooms.available(draws.of(rows))]
        if not len(rows):
            return voice, voice

        def reverberant(pair: Tensor) -> Tensor:
            response = self._rooms.responses(draws.of(rows))
            return convolve(pair[:, 0], torch.stack([early(response, self._mixer.sample_rate), response], 1))

        clean, heard = on_rows(torch.stack([voice, voice], 1), rows, reverberant).unbind(1)
        return clean, heard


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
