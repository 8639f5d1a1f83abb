"""Audio files: decode anything, encode what the source was, resample. Codecs are used nowhere else."""

from exdiff.audio.decode import AudioInfo, AudioReader, decode, decode_mono
from exdiff.audio.encode import AudioWriter, clipping_message, encode
from exdiff.audio.formats import FORMATS, SUFFIXES, same_format
from exdiff.audio.resample import resample
from exdiff.audio.tags.metadata import Metadata, read_metadata
from exdiff.audio.targets import Target, choose_target, plan_suffix

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "Metadata",
    "Target",
    "choose_target",
    "clipping_message",
    "decode",
    "decode_mono",
    "encode",
    "plan_suffix",
    "read_metadata",
    "resample",
    "same_format",
]
