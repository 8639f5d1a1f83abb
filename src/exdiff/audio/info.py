"""What an audio file is, as its reader found it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AudioInfo:
    """Properties of an audio file.

    Attributes:
        sample_rate: Hz.
        channels: number of channels in the chosen stream.
        frames: samples per channel, or None if the length is known only after decoding.
        subtype: libsndfile's name of the encoding ("PCM_16", "FLOAT", "VORBIS"), or FFmpeg's codec name.
        codec: FFmpeg's name of the codec ("mp3", "alac", "pcm_s24le").
        container: short name of the container ("wav", "mp4", "ogg").
        bit_rate: of the audio stream in bits per second, if it is lossy and says so.
        layout: names of the channels in the order of the samples, which is that of WAV ("FL", "FR", "FC", "LFE", ...);
            empty if the file does not say.
        bits: significant bits of an integer sample; 0 for float and lossy codecs.
    """

    sample_rate: int
    channels: int
    frames: int | None
    subtype: str
    codec: str = ""
    container: str = ""
    bit_rate: int | None = None
    layout: tuple[str, ...] = ()
    bits: int = 0
