"""Invertible time-frequency transforms: waveform [B, C, T] <-> complex spectrogram [B, C, F, N]."""

from exdiff.transforms.stft import CompressedSTFT

TRANSFORMS = {"stft": CompressedSTFT}

__all__ = ["TRANSFORMS", "CompressedSTFT"]
