"""Standard input and output, FIFOs and devices: sound is written as it comes, since nothing can be rewound.

A WAV header holds sizes that are unknown here. They are set to the largest number, as FFmpeg sets them; programs that
read from pipes take that as "to the end". A FLAC header may leave the number of samples out.
"""

from __future__ import annotations

import io
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from exdiff.audio.info import AudioInfo
from exdiff.cli.ending import ENDING
from exdiff.cli.enhancing.options import PIPE, RAW_FORMATS
from exdiff.core.errors import AudioError


def open_input(path: Path) -> BinaryIO:
    """Standard input for `-`, otherwise the file, FIFO or device; its `name` is the path.

    Raises:
        AudioError: it cannot be opened, or is a terminal.
    """
    try:
        raw = io.FileIO(0 if str(path) == PIPE else path, "r", closefd=str(path) != PIPE)  # type: ignore[arg-type]
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror})") from error
    if raw.isatty():
        raise AudioError(f"{path}: a terminal; connect a file or a pipe, as in `exdiff enhance - -o - < FILE`")
    raw.name = str(path)  # type: ignore[misc]
    return io.BufferedReader(raw, 1 << 16)


def open_output(path: Path) -> BinaryIO:
    """Standard output for `-`, otherwise the FIFO or device.

    Raises:
        AudioError: it cannot be opened, or is a terminal.
    """
    try:
        file = io.FileIO(1 if str(path) == PIPE else path, "w", closefd=str(path) != PIPE)
    except OSError as error:
        raise AudioError(f"cannot write {path}: {error.strerror}") from error
    if file.isatty():
        raise AudioError(f"cannot write {path}: a terminal; connect a file or a pipe, as in `-o - > FILE`")
    return file  # type: ignore[return-value]


class PipeWriter:
    """Sound to something that cannot be rewound, with the interface of `AudioWriter`.

    Args:
        path: `-`, a FIFO or a device.
        info: of the source.
        format: "wav", "flac", or "raw".
        sample: a key of `RAW_FORMATS`; wav and flac take the little-endian ones.

    Attributes:
        clipped: number of samples beyond full scale, which an integer format cannot hold.
        exact: whether samples are integers.
        bits: of an integer sample; 0 for float.
    """

    def __init__(self, path: Path, info: AudioInfo, format: str, sample: str) -> None:
        self.path, self.format, self.sample = path, format, sample
        self.sample_rate, self.channels, self.clipped = info.sample_rate, info.channels, 0
        self.bits = RAW_FORMATS[sample][1]
        self.exact, self.notes = self.bits > 0, []
        with ExitStack() as stack:
            with ENDING.interruptible():  # whoever reads from it may never come
                self._file = open_output(path)
                stack.callback(self._file.close)
                self._flac = _FlacStream(self._file, info, self.bits) if format == "flac" else None
                if format == "wav":
                    self._put(wav_header(info, sample))
            self._closing = stack.pop_all()

    def write(self, block: np.ndarray) -> None:
        """Append float32 [C, T]."""
        if self.exact:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1))
            self.write_exact(self.quantise(block))
        else:
            self._put(np.ascontiguousarray(block.T).astype(RAW_FORMATS[self.sample][0]).tobytes())

    def quantise(self, block: np.ndarray) -> np.ndarray:
        """Float [C, T] as int32 [C, T] of `bits`, rounded."""
        scale = 2.0 ** (self.bits - 1)
        whole = np.rint(block.astype(np.float64) * scale)
        return np.clip(whole, -scale, scale - 1).astype(np.int32)

    def write_exact(self, block: np.ndarray) -> None:
        """Append int32 [C, T]."""
        if self._flac is not None:
            self._flac.write(block)
        else:
            self._put(_pack(np.ascontiguousarray(block.T), self.sample))

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:  # a pipe takes what it has room for
            view = view[self._file.write(view) or 0 :]

    def finish(self) -> None:
        """Write what is left."""
        if self._flac is not None:
            self._flac.close()
            self._flac = None

    def discard(self) -> None:
        """Do nothing: what was written cannot be taken back."""

    def __enter__(self) -> PipeWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()


def _pack(samples: np.ndarray, sample: str) -> bytes:
    """Int32 [T, C] as bytes of a raw format."""
    dtype = RAW_FORMATS[sample][0]
    if dtype.endswith("i3"):
        little = dtype.startswith("<")
        octets = samples.astype("<i4" if little else ">i4").view(np.uint8).reshape(-1, 4)
        return octets[:, slice(0, 3) if little else slice(1, 4)].tobytes()
    return (samples + 128 if dtype == "u1" else samples).astype(dtype).tobytes()


def wav_header(info: AudioInfo, sample: str) -> bytes:
    """The header of a WAV of unknown length (Microsoft's WAVEFORMATEXTENSIBLE where WAVEFORMAT is not enough)."""
    from exdiff.audio.layouts import mask_of

    bits = RAW_FORMATS[sample][1] or 8 * int(RAW_FORMATS[sample][0][-1])
    tag, block = 1 if RAW_FORMATS[sample][1] else 3, info.channels * bits // 8
    mask = mask_of(info.layout)
    wide = info.channels > 2 or (tag == 1 and bits > 16) or mask not in (0, 3, 4)
    form = struct.pack(
        "<HHIIHH", 0xFFFE if wide else tag, info.channels, info.sample_rate, info.sample_rate * block, block, bits
    )
    if wide:
        guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
        form += struct.pack("<HHI", 22, bits, mask) + guid
    elif tag == 3:
        form += struct.pack("<H", 0)
    unknown = b"\xff\xff\xff\xff"
    return b"RIFF" + unknown + b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + unknown


class _FlacStream:
    """FLAC through FFmpeg, which does not rewind."""

    def __init__(self, file: BinaryIO, info: AudioInfo, bits: int) -> None:
        import av

        from exdiff.audio.layouts import default_layout, ffmpeg_name

        if bits not in (16, 24):
            raise AudioError(
                f"FLAC in a pipe has 16 or 24 bits, got {bits or 'float'}; use --bit-depth, or --format wav"
            )
        if info.channels > 8:
            raise AudioError(f"FLAC holds 1 to 8 channels, got {info.channels}; use --format wav")
        self.shift, self.form = (0, "s16") if bits == 16 else (8, "s32")
        self.layout = ffmpeg_name(info.layout or default_layout(info.channels), info.channels)
        self.rate, self.position = info.sample_rate, 0
        self.container = av.open(_Forward(file), "w", format="flac")
        self.stream = self.container.add_stream("flac", rate=info.sample_rate, layout=self.layout)
        self.stream.format = self.form

    def write(self, block: np.ndarray) -> None:
        import av

        dtype = np.int16 if self.form == "s16" else np.int32
        packed: Any = np.ascontiguousarray((block << self.shift).T).astype(dtype).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format=self.form, layout=self.layout)
        frame.sample_rate, frame.pts = self.rate, self.position
        self.position += block.shape[-1]
        for packet in self.stream.encode(frame):
            self.container.mux(packet)

    def close(self) -> None:
        for packet in self.stream.encode(None):
            self.container.mux(packet)
        self.container.close()


class _Forward:
    """A file that PyAV can only append to."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]
        return len(data)


def default_sample(info: AudioInfo, format: str, bit_depth: str | None) -> str:
    """The sample format for a pipe: that of the source, or as chosen.

    Example:
        >>> default_sample(AudioInfo(8000, 1, None, "MPEG_LAYER_III"), "wav", None)
        's16le'
    """
    if bit_depth is not None:
        return "f32le" if bit_depth == "float" else f"s{bit_depth}le"
    if format == "raw" and info.container == "raw":
        return info.codec.removeprefix("pcm_")
    deep = info.codec.startswith("pcm_f")
    if format == "flac":
        return "s24le" if info.bits > 16 or deep else "s16le"
    if deep:
        return "f64le" if info.codec.startswith("pcm_f64") else "f32le"
    return {8: "u8", 24: "s24le", 32: "s32le"}.get(info.bits, "s16le")
