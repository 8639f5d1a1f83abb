"""The causal extractor, for calls: the compact extractor's design without a look ahead, frame by frame.

    latency = n_fft samples (32 ms): an output sample waits until the last frame that holds it is complete

Its level is its own: each frame is brought to one level by running averages of the power so far, and back. Whatever
scale the mixture has on top (transforms/levels.py in training, none in a live stream) thus hardly matters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.core.machine import fast_layout
from exdiff.model.extractors.base import Extraction, Extractor
from exdiff.model.nn.causal import CausalConv, CausalUNet, Memory
from exdiff.model.nn.layers import check_sizes, fold_frequency, frequency_code, unfold_frequency
from exdiff.model.transforms import CompressedSTFT

_AVERAGES = (0.05, 2.0)  # s: the larger of two averages follows an onset at once and forgets it slowly
_TARGET_RMS = 0.1
_FLOOR_RMS = 1e-4  # as in transforms/levels.py


class CausalExtractor(Extractor):
    """Mixture [B, C, T] -> estimate [B, C, T] and one latent map [B * C, ...] per level; channels are separate items.

    Args:
        sample_rate: Hz.
        channels: width of the levels, finest first.
        blocks: residual blocks per level, in the encoder and in the decoder.
        middle, hidden: number and width of the dual-path blocks.
        folding: number of neighbouring bins folded into channels.
        hop_length: samples; frames are twice as long.

    Attributes:
        latency: samples. An output sample depends on no input this far behind it, or further.

    Raises:
        ValueError: a size too small.

    Example:
        >>> extractor = CausalExtractor(channels=(8, 12), middle=1, hidden=4)
        >>> extraction = extractor(torch.zeros(1, 1, 1000))
        >>> tuple(extraction.estimate.shape), [tuple(m.shape) for m in extraction.latents]
        ((1, 1, 1000), [(1, 8, 64, 5), (1, 12, 32, 5)])
        >>> extractor.latency
        510
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        channels: Sequence[int] = (64, 80, 96),
        blocks: int = 1,
        middle: int = 2,
        hidden: int = 96,
        folding: int = 4,
        hop_length: int = 255,
    ) -> None:
        super().__init__()
        check_sizes(1, channels=channels, hidden=hidden, folding=folding)
        check_sizes(0, blocks=blocks, middle=middle)
        self.sample_rate, self.folding, self.hop_length = sample_rate, folding, hop_length
        self.latency = 2 * hop_length
        self.latent_channels = tuple(channels)
        self.transform = CompressedSTFT(2 * hop_length, hop_length, "sqrt_hann", exponent=0.5, factor=1.0)
        self.inlet = CausalConv(3 * folding + 6, channels[0])
        self.body = CausalUNet(channels, blocks, middle, hidden)
        self.outlet = CausalConv(channels[0], 4 * folding)
        nn.init.zeros_(self.outlet.weight)  # the first estimate is the mixture
        nn.init.zeros_(self.outlet.bias)  # type: ignore[arg-type]
        decays = [math.exp(-hop_length / (seconds * sample_rate)) for seconds in _AVERAGES]
        self.register_buffer("decays", torch.tensor(decays), persistent=False)
        self.decays: Tensor

    @property
    def alignment(self) -> int:
        return self.hop_length

    @property
    def ragged_hop(self) -> int:
        return self.hop_length  # nothing behind the end of a signal is heard before it

    def forward(self, mixture: Tensor) -> Extraction:
        batch, channels, length = mixture.shape
        wave = functional.pad(mixture.reshape(batch * channels, length), (0, -length % self.hop_length))
        # One hop more, which completes the last frame. The first hop that comes out precedes the signal.
        frames, _ = self._frames(functional.pad(wave, (0, self.hop_length)), None)
        pieces, maps = self._processed(frames, Memory(None))
        estimate, _ = self._added(pieces, None)
        estimate = estimate[:, self.hop_length :][:, :length]
        return Extraction(estimate.reshape(batch, channels, length), tuple(maps))

    def step(
        self, wave: Tensor, state: tuple[Tensor, ...] | None, *, bypass: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The next hops of a stream.

        Args:
            wave: [B, C, n * hop_length] with any n.
            state: that the call before returned; None at the beginning.
            bypass: the wave itself takes the place of its estimate, which costs next to nothing. Frames overlap, so the
                one fades into the other. The networks remember nothing of it.

        Returns:
            The estimate like `wave`, but of the stream one hop earlier (at first, of what precedes it), and the new
            state. With the hop that has to be complete before it can be given to `step`, this is `latency`.
        """
        past, tail, known = (None, None, ()) if state is None else (state[0], state[1], state[2:])
        frames, past = self._frames(wave.flatten(0, 1), past)
        if bypass:
            pieces = frames
        else:
            memory = Memory(known or None)
            pieces, _ = self._processed(frames, memory)
            known = memory.kept
        estimate, tail = self._added(pieces, tail)
        return estimate.reshape(wave.shape), (past, tail, *known)

    def _frames(self, wave: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Waveforms [R, n * hop] after the `past` hop -> windowed frames [R, n, 2 * hop], and the last hop."""
        hop = self.hop_length
        wave = functional.pad(wave, (hop, 0)) if past is None else torch.cat([past, wave], 1)
        return wave.unfold(1, 2 * hop, hop) * self.transform.window, wave[:, -hop:]

    def _added(self, pieces: Tensor, tail: Tensor | None) -> tuple[Tensor, Tensor]:
        """Undo `_frames`, one hop late: the windows' squares add up to one. `tail` is left of the last frame."""
        hop = self.hop_length
        pieces = pieces * self.transform.window
        before = pieces.new_zeros(len(pieces), hop) if tail is None else tail
        before = torch.cat([before[:, None], pieces[:, :-1, hop:]], 1)
        return (before + pieces[..., :hop]).flatten(1), pieces[:, -1, hop:]

    def _processed(self, frames: Tensor, memory: Memory) -> tuple[Tensor, list[Tensor]]:
        """Windowed frames [R, N, 2 * hop] -> those of the estimate, and the decoder's maps."""
        gain = self._gain(frames.detach(), memory)[..., None]
        spectrum = self.transform.compress(torch.fft.rfft(frames * gain).mT[:, None])
        maps = self.body(self._inlet(spectrum, memory), memory)
        output = unfold_frequency(self.outlet(maps[0], memory), self.folding)[:, :, : spectrum.shape[2]].float()
        mask_re, mask_im, rest_re, rest_im = output.unbind(1)
        estimate = torch.complex(1 + mask_re, mask_im) * spectrum[:, 0] + torch.complex(rest_re, rest_im)
        return self.transform.frames(self.transform.expand(estimate)) / gain, maps

    def _gain(self, frames: Tensor, memory: Memory) -> Tensor:
        """Frames [R, N, n_fft], windowed -> gain [R, N] that brings them to about one level, from what has been."""
        power = 2 * frames.square().mean(-1, keepdim=True)
        past = memory.recall()
        start = power[:, 0] if past is None else past
        age = torch.arange(frames.shape[1], device=frames.device)
        age = age[:, None] - age
        weights = (1 - self.decays) * self.decays ** age.clamp(min=0)[..., None] * (age >= 0)[..., None]
        averages = torch.einsum("ija,rj->ria", weights, power[..., 0])
        averages = averages + self.decays ** (age[:, :1] + 1) * start[:, None]
        memory.keep(averages[:, -1])
        return _TARGET_RMS / (averages.amax(-1) + _FLOOR_RMS**2).sqrt()

    def _inlet(self, spectrum: Tensor, memory: Memory) -> Tensor:
        x = torch.cat([spectrum.real, spectrum.imag, spectrum.abs()], 1)
        x = functional.pad(x, (0, 0, 0, -x.shape[2] % (self.folding * self.body.stride)))
        x = fold_frequency(x, self.folding)
        code = frequency_code(x.shape[2], x).expand(x.shape[0], -1, -1, x.shape[3])
        return self.inlet(fast_layout(torch.cat([x, code], 1)), memory)
