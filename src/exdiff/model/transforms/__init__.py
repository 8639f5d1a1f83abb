"""Invertible time-frequency transforms: waveform [B, C, T] <-> complex spectrogram [B, C, F, N]."""

from exdiff.model.transforms.frames import PADDINGS, pad_frames
from exdiff.model.transforms.stft import CompressedSTFT

TRANSFORMS = {"stft": CompressedSTFT}

__all__ = ["PADDINGS", "TRANSFORMS", "CompressedSTFT", "pad_frames"]
