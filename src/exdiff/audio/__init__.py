"""Audio files: decode anything, encode six formats, resample. Codecs are used nowhere else."""

from exdiff.audio.decode import AudioInfo, AudioReader, decode, decode_mono
from exdiff.audio.encode import AudioWriter, clipping_message, encode
from exdiff.audio.formats import FORMATS, SUFFIXES, same_format
from exdiff.audio.resample import resample

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "clipping_message",
    "decode",
    "decode_mono",
    "encode",
    "resample",
    "same_format",
]
