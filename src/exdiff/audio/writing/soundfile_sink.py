"""Write PCM and Vorbis with libsndfile, and put the metadata behind the samples."""

from __future__ import annotations

import base64
import errno
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from exdiff.audio.codecs import CONTAINERS
from exdiff.audio.layouts import default_layout, mask_of, reorder, vorbis_layout
from exdiff.audio.tags.chunks import append_chunks, set_mask
from exdiff.audio.tags.flac_blocks import replace_blocks
from exdiff.audio.tags.metadata import Metadata
from exdiff.audio.tags.ogg_comments import replace_comments
from exdiff.audio.tags.riff_tags import tag_chunks
from exdiff.audio.targets import Target
from exdiff.audio.writing.embed import copy_vorbis, picture_block, vorbis_comments
from exdiff.audio.writing.unfinished import second_temporary

_PIECE = 1 << 14  # samples per call: libsndfile's Vorbis encoder puts the samples of a call on its stack
_RIFF_LIMIT = (1 << 32) - (1 << 26)  # bytes; above it a WAV needs the 64-bit header
_FLOAT_BITS = {"pcm_f64le": 64, "pcm_f64be": 64, "pcm_mulaw": 8, "pcm_alaw": 8}
_SUBTYPES = {"u8": "PCM_U8", "s8": "PCM_S8", "f32": "FLOAT", "f64": "DOUBLE", "mulaw": "ULAW", "alaw": "ALAW"}
# Nominal kbit/s of two channels at 44.1 kHz for quality 0 to 10 (libvorbis).
_VORBIS_KBIT = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)
_VORBIS_QUALITY = 0.6


class SoundFileSink:
    """Takes [T, C] blocks: int32 of `target.bits` bits, or float32 if that is 0."""

    def __init__(
        self, path: Path, target: Target, channels: int, metadata: Metadata | None, frames: int | None
    ) -> None:
        self.path, self.target, self.metadata, self.notes = path, target, metadata or Metadata(), list[str]()
        self._order: tuple[str, ...] = ()
        plain = channels <= 2 or target.codec == "flac"  # what needs no mask in its usual layout
        self._mask = 0 if plain and target.layout == default_layout(channels) else mask_of(target.layout)
        options: dict[str, Any] = {
            "format": CONTAINERS[target.container].major or "FLAC",
            "subtype": subtype_of(target.codec, target.bits),
        }
        self._frame_bytes = channels * (target.bits or _FLOAT_BITS.get(target.codec, 32)) // 8
        if options["format"] == "WAV":
            if (frames or 0) * self._frame_bytes > _RIFF_LIMIT:
                options["format"] = "RF64"
            elif self._mask:
                options["format"] = "WAVEX"
        self._limit = _RIFF_LIMIT if options["format"] in ("WAV", "WAVEX", "AIFF") else float("inf")
        self._check_size(frames or 0)
        if target.container == "aifc" and target.codec.endswith("le"):
            options["endian"] = "LITTLE"
        self._written, self._frames = path, 0
        if target.codec == "vorbis":
            self._order = vorbis_layout(channels)
            options |= {"format": "OGG", "compression_level": 1 - vorbis_quality(target, channels)}
        if target.codec in ("vorbis", "flac") and (target.container not in ("ogg", "flac") or self._extras()):
            self._written = second_temporary(path)
        self.file = soundfile.SoundFile(self._written, "w", target.sample_rate, channels, **options)

    def write(self, data: np.ndarray, /) -> None:
        self._frames += len(data)
        self._check_size(self._frames)
        if self._order:
            data = reorder(data.T, self.target.layout, self._order).T
        if data.dtype == np.int32:
            data = data << (32 - self.target.bits)
        for start in range(0, len(data), _PIECE):
            self.file.write(np.ascontiguousarray(data[start : start + _PIECE]))

    def _check_size(self, frames: int) -> None:
        if frames * self._frame_bytes > self._limit:
            raise OSError(errno.EFBIG, f"{self.target.suffix} holds 4 GB; choose w64, rf64, caf or flac")

    def close(self) -> None:
        if self.file.closed:
            return
        self.file.close()
        if self._written != self.path:
            try:
                comments, pictures = self._extras() or ([], [])
                if self.target.container == "flac":
                    replace_blocks(self._written, self.path, comments, pictures)
                elif self.target.container == "ogg":
                    pairs = [("METADATA_BLOCK_PICTURE", base64.b64encode(picture).decode()) for picture in pictures]
                    replace_comments(self._written, self.path, comments + pairs)
                else:
                    copy_vorbis(self._written, self.path, self.target.container, self.metadata, self._frames)
            finally:
                self._written.unlink(missing_ok=True)
            return
        chunks = tag_chunks(self.metadata, self.target.container, self._mask)
        if chunks and not append_chunks(self.path, chunks):
            self.notes.append(f"{self.target.suffix} has no room for the tags; they are left out")
        if self._mask and self.target.container in ("wav", "rf64"):
            set_mask(self.path, self._mask)

    def abort(self) -> None:
        """Release the files; what was written is of no use."""
        try:
            self.file.close()
        finally:
            if self._written != self.path:
                self._written.unlink(missing_ok=True)

    def _extras(self) -> tuple[list[tuple[str, str]], list[bytes]] | None:
        """Comments and pictures of a FLAC or Vorbis file; None if there are none."""
        comments = vorbis_comments(self.metadata)
        if self._mask and self.target.codec == "flac":
            comments.append(("WAVEFORMATEXTENSIBLE_CHANNEL_MASK", f"0x{self._mask:04X}"))
        pictures = [picture_block(mime, image) for mime, image in self.metadata.covers]
        return (comments, pictures) if comments or pictures else None


def subtype_of(codec: str, bits: int) -> str:
    """The name of a codec in libsndfile.

    Example:
        >>> subtype_of("pcm_s24be", 24), subtype_of("pcm_f32le", 0), subtype_of("flac", 16)
        ('PCM_24', 'FLOAT', 'PCM_16')
    """
    name = codec.removeprefix("pcm_").removesuffix("le").removesuffix("be")
    if bits > 8 or codec == "flac":
        return f"PCM_{bits}" if bits > 8 else "PCM_S8"
    return _SUBTYPES.get(name, name.upper())


def vorbis_quality(target: Target, channels: int) -> float:
    """The quality of libvorbis, from 0 to 1, whose nominal bit rate is that of the target."""
    if target.bit_rate is None:
        return _VORBIS_QUALITY
    kbit = target.bit_rate / 1000 * 2 / channels * 44100 / min(target.sample_rate, 48000)
    return float(np.interp(kbit, _VORBIS_KBIT, np.linspace(0, 1, len(_VORBIS_KBIT))))
