"""Microphones and loudspeakers, through the package sounddevice (extra `live`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from exdiff.cli.enhancing.options import RawFormat
from exdiff.cli.live_streams import Reader
from exdiff.core.errors import AudioError, ConfigError


class Microphone(Reader):
    """A sound device.

    Attributes:
        gaps: how often samples were lost, because nobody fetched them.
    """

    def __init__(self, device: str, form: RawFormat) -> None:
        self._stream = _opened("RawInputStream", device, form, "low")
        self.latency, self.gaps = float(self._stream.latency), 0
        self._block = max(1, form.rate // 100)
        super().__init__(self._fetch, RawFormat("f32le", form.rate, form.channels), device=True)

    def _fetch(self) -> bytes:
        data, lost = self._stream.read(self._block)
        self.gaps += bool(lost)
        return bytes(data)


class Loudspeaker:
    """A sound device, with a buffer for the time that computing may take.

    Attributes:
        gaps: how often it had nothing to play.
    """

    def __init__(self, device: str, form: RawFormat, seconds: float) -> None:
        self._stream = _opened("RawOutputStream", device, form, seconds)
        self.latency, self.gaps = float(self._stream.latency), 0
        self._stream.write(bytes(4 * form.channels * self._stream.write_available))

    def write(self, block: np.ndarray) -> None:
        self.gaps += bool(self._stream.write(np.ascontiguousarray(block.T, "<f4").tobytes()))

    def close(self) -> None:
        """Play what is left."""
        self._stream.stop()


def check_device(kind: str, device: str, form: RawFormat) -> None:
    """Raise what opening a device would raise, without opening it: ConfigError or AudioError.

    Args:
        kind: input or output.
        device: number, part of a name, or default.
        form: rate and channels.
    """
    check = getattr(_sounddevice(), f"check_{kind}_settings")
    with _explained(device):
        check(device=_number(device), channels=form.channels, dtype="float32", samplerate=form.rate)


def _opened(kind: str, device: str, form: RawFormat, latency: float | str) -> Any:
    """A started stream of sounddevice, which is closed when the process ends."""
    make = getattr(_sounddevice(), kind)
    options = {"samplerate": form.rate, "channels": form.channels, "dtype": "float32", "latency": latency}
    with _explained(device):
        stream = make(device=_number(device), **options)
        stream.start()
    return stream


def _sounddevice() -> Any:
    try:
        import sounddevice  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError("sound devices need the package sounddevice; type: pip install 'exdiff[live]'") from None
    except OSError as error:  # PortAudio
        raise ConfigError(f"sound devices need PortAudio ({error}); install it, on Debian libportaudio2") from None
    return sounddevice


def _number(device: str) -> int | str | None:
    """As sounddevice names it."""
    return None if device == "default" else int(device) if device.isdecimal() else device


@contextmanager
def _explained(device: str) -> Iterator[None]:
    try:
        yield
    except (_sounddevice().PortAudioError, ValueError) as error:
        why = " ".join(str(error).split())
        raise AudioError(
            f"cannot open the sound device {device!r}: {why}; `python -m sounddevice` lists devices"
        ) from None
