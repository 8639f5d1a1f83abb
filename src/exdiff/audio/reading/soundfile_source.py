"""Decode with libsndfile (soundfile), from a window of a file whose header has been checked."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, BinaryIO

import numpy as np
import soundfile

from exdiff.audio.info import AudioInfo
from exdiff.audio.reading.integrity import Witness, verify
from exdiff.audio.reading.source import Source, check_header
from exdiff.core.errors import AudioError

_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "ALAC_16": 16, "ALAC_20": 20}
_BITS |= {"ALAC_24": 24, "ALAC_32": 32}
_CODECS = {"PCM_S8": "pcm_s8", "PCM_U8": "pcm_u8", "ULAW": "pcm_mulaw", "ALAW": "pcm_alaw", "VORBIS": "vorbis"}
_CODECS |= {"OPUS": "opus", "MPEG_LAYER_III": "mp3", "IMA_ADPCM": "adpcm_ima_wav", "MS_ADPCM": "adpcm_ms"}
_NUMBERS = {"PCM_16": "pcm_s16", "PCM_24": "pcm_s24", "PCM_32": "pcm_s32", "FLOAT": "pcm_f32", "DOUBLE": "pcm_f64"}


class _SequentialFile(soundfile.SoundFile):
    """soundfile seeks after each block of a seekable file, which makes libmpg123 print to standard error."""

    def seekable(self) -> bool:
        return False


class SoundFileSource(Source):
    """An audio stream that libsndfile decodes.

    Args:
        file: the whole file, or a window of it.
        name: for messages.
        container: short name of the container.
        layout: channel names in the order of the file.
        order: for each channel of the result, its number in the file; None to keep the order.
        bit_rate: in bits per second, if the codec is lossy and it is known.
        witnesses: independent records of the length.
        digest: MD5 sum of the samples, of zeros if it is not known.
        note: what was wrong with the header, "" for nothing.
        failure: what is already known to be wrong, "" for nothing.
        salvage: report what is missing instead of an error.

    Raises:
        soundfile.LibsndfileError: libsndfile does not read the file.
        AudioError: the header cannot be true.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        container: str,
        *,
        layout: tuple[str, ...] = (),
        order: list[int] | None = None,
        bit_rate: int | None = None,
        witnesses: tuple[Witness, ...] = (),
        digest: bytes = bytes(16),
        note: str = "",
        failure: str = "",
        salvage: bool = False,
    ) -> None:
        file.seek(0)
        self._failure = failure
        self.name, self._salvage, self._order = name, salvage, order
        self.file = _SequentialFile(file)
        rate, channels, subtype = self.file.samplerate, self.file.channels, self.file.subtype
        try:
            check_header(name, rate, channels)
        except AudioError:
            self.file.close()
            raise
        self.notes, self.missing = [note] if note else [], []
        # libsndfile gives an absurdly large number for an unknown length.
        frames = self.file.frames if 0 <= self.file.frames < 1 << 48 else None
        self._witnesses = list(witnesses)
        if self.file.format == "MP3":
            frames = None  # an estimate
        elif frames is not None and self.file.format != "OGG":
            self._witnesses.append(Witness("its header", frames))
        bits = _BITS.get(subtype, 0) if self.file.format != "OGG" or subtype.startswith("PCM") else 0
        self._digest = _Digest(digest, bits) if any(digest) and bits else None
        layout = layout if len(layout) == channels else ()
        self.info = AudioInfo(
            rate, channels, frames, subtype, _codec(self.file, container), container, bit_rate, layout, bits
        )

    def native(self, frames: int) -> Iterator[np.ndarray]:
        shift = 32 - self.info.bits if self.info.bits else 0
        total, failure = 0, self._failure
        while True:
            try:
                with self._quiet():
                    block = self.file.read(
                        frames, dtype="int32" if shift or self.info.bits else "float32", always_2d=True
                    )
            except (soundfile.LibsndfileError, RuntimeError) as error:
                failure = str(getattr(error, "error_string", error)).strip(" .\n")
                if not self._salvage:  # the message says where it ends, which is within the block that failed
                    with suppress(soundfile.LibsndfileError, RuntimeError):
                        total = max(total, self.file.tell())
                break
            if not len(block):
                break
            total += len(block)
            if self._digest is not None:
                self._digest.add(block)
            data: Any = block.T if self._order is None else block.T[self._order]
            yield np.ascontiguousarray(data >> shift if shift else data)
        if not failure and self._digest is not None and not self._digest.right():
            failure = "the MD5 sum of its samples is not that in its header"
        notes, missing = verify(
            self.name, self.info.sample_rate, total, self._witnesses, failure=failure, salvage=self._salvage
        )
        self.notes += notes
        self.missing += missing

    def _quiet(self) -> AbstractContextManager[None]:
        """Libmpg123 prints to standard error what it thinks of a damaged file."""
        return _no_stderr() if self.file.format == "MP3" else nullcontext()

    def add_witness(self, witness: Witness) -> None:
        """One more record of the length."""
        self._witnesses.append(witness)

    def close(self) -> None:
        self.file.close()


_STDERR = threading.Lock()  # of two threads, one would keep the other's replacement


@contextmanager
def _no_stderr() -> Iterator[None]:
    with _STDERR:
        kept = os.dup(2)
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nothing)


class _Digest:
    """MD5 of the samples as FLAC computes it: interleaved, little-endian, in as few bytes as they need."""

    def __init__(self, wanted: bytes, bits: int) -> None:
        self._wanted, self._bytes = wanted, -(-bits // 8)
        self._sum = hashlib.md5(usedforsecurity=False)

    def add(self, block: np.ndarray) -> None:
        """A block [T, C] of int32 whose samples fill the upper bits."""
        data = np.ascontiguousarray(block, "<i4").view(np.uint8).reshape(-1, 4)
        self._sum.update(np.ascontiguousarray(data[:, 4 - self._bytes :]).tobytes())

    def right(self) -> bool:
        return self._sum.digest() == self._wanted


def _codec(file: soundfile.SoundFile, container: str) -> str:
    """FFmpeg's name of the codec."""
    subtype = str(file.subtype)
    if file.format == "FLAC" or (file.format == "OGG" and subtype.startswith("PCM")):
        return "flac"
    if subtype in _NUMBERS:
        big = container in {"aiff", "aifc", "au"} or (container == "caf" and subtype.startswith(("PCM", "F", "D")))
        if file.endian in {"LITTLE", "BIG"}:
            big = file.endian == "BIG"
        return _NUMBERS[subtype] + ("be" if big else "le")
    return "alac" if subtype.startswith("ALAC") else _CODECS.get(subtype, subtype.lower())
