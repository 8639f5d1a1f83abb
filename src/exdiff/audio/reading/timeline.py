"""Where sound stands in time: holes in the time stamps, a late start, and padding at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exdiff.audio.reading.ffmpeg_info import attached_picture

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

    from exdiff.audio.reading.integrity import Witness

_HOLE_SECONDS = 0.010  # a shorter step is rounding or jitter: Matroska counts milliseconds
_BACK_SECONDS = 0.5  # time stamps that go back further begin anew, as in joined recordings
_LONGEST_HOLE = 30.0  # seconds; a longer one must fit into the length in the header
_NO_CLOCK = ("avi",)  # time stamps are counted from sizes, and say nothing


class Timeline:
    """Positions of the frames of one stream.

    Attributes:
        lead: samples of silence before the first sound.
        start: time stamp of sample 0 (of the silence, if there is any), in seconds.

    `lost` says that the first packets of the stream could not be decoded.
    """

    def __init__(
        self, container: InputContainer, stream: AudioStream, first: AudioFrame, notes: list[str], *, lost: bool = False
    ) -> None:
        self._rate, self._notes = first.sample_rate, notes
        self._mp4 = container.format.name.startswith("mov")
        self._base = stream.time_base
        self._trusted = not container.format.name.startswith(_NO_CLOCK)
        self._length = (container.duration or 0) / 1e6
        self._holes: list[tuple[float, float]] = []
        begin = _seconds(first)
        late = 0.0
        if begin is not None and self._trusted:
            late = begin - self._earliest(container, stream, begin, lost=lost)
        late = late if late > _HOLE_SECONDS and self._plausible(late, 0.0) else 0.0
        self.lead = round(late * self._rate)
        self.start = (begin or 0.0) - late
        self._origin = begin  # time stamp of sample `_offset`
        self._end = begin  # where the frame before ends
        self._offset = self.lead
        if self.lead and not lost:
            notes.append(f"the sound begins {late:.2f} s after the start: silence is put before it")

    def _earliest(self, container: InputContainer, own: AudioStream, begin: float, *, lost: bool) -> float:
        others = [stream for stream in container.streams if stream.type in {"video", "audio"}]
        starts = [
            float(stream.start_time * stream.time_base)
            for stream in others
            if (lost or stream.index != own.index) and not (stream.type == "video" and attached_picture(stream))
            if stream.start_time is not None and stream.time_base is not None
        ]
        # The time of an MP4 file begins at 0, whatever its tracks do; fragments of a broadcast begin far later.
        return min([*starts, begin, *([0.0] if self._mp4 and begin < _LONGEST_HOLE else [])])

    def _plausible(self, seconds: float, position: float) -> bool:
        return seconds <= _LONGEST_HOLE or position + seconds <= self._length + 1.0

    def steps_over(self, frame: AudioFrame, previous: AudioFrame) -> bool:
        """Whether there is a hole between `previous` and `frame`."""
        time, before = _seconds(frame), _seconds(previous)
        if time is None:
            return False
        end = self._end if before is None else before
        return end is not None and time - (end + previous.samples / self._rate) > _HOLE_SECONDS

    def hole_before(self, frame: AudioFrame, previous: AudioFrame, position: int, *, lost: bool) -> int:
        """Samples of silence between `previous` and `frame`, where `position` samples have been given."""
        if self._end is None or self._origin is None or not self._trusted:
            return 0
        before = _seconds(previous)
        self._end = (self._end if before is None else before) + previous.samples / self._rate
        time = _seconds(frame)
        if time is None:
            return 0
        step = time - self._end
        lag = (time - self._origin) * self._rate - (position - self._offset)
        if step < -_BACK_SECONDS or (step > _HOLE_SECONDS and not self._plausible(step, position / self._rate)):
            self._notes.append(
                f"the time stamps jump by {step:.2f} s at {position / self._rate:.2f} s: the parts follow each other"
            )
            self._origin, self._offset = time, position
            return 0
        if step <= _HOLE_SECONDS or lag <= _HOLE_SECONDS * self._rate:
            return 0
        hole = round(lag)
        if not lost:
            self._holes.append((position / self._rate, hole / self._rate))
        return hole

    def last_samples(self, frame: AudioFrame, witness: Witness | None, position: int) -> int:
        """How many samples of the last frame are sound; an MP4 records the padding.

        Its edit list gives the length in units of the movie's clock, often milliseconds; the duration of the last
        packet is exact.
        """
        samples = frame.samples
        if not self._mp4 or self._base is None:
            return samples
        if frame.duration:
            samples = max(1, min(samples, round(frame.duration * self._base * self._rate)))
        surplus = position + samples - self.lead - (witness.frames if witness else position + samples)
        if self._rate // 1000 + 1 < surplus < samples and witness is not None:
            samples -= surplus
        return samples

    def summary(self) -> list[str]:
        """One note about the holes that were filled."""
        if not self._holes:
            return []
        total = sum(length for _, length in self._holes)
        places = ", ".join(f"{start:.2f}" for start, _ in self._holes[:5])
        more = f" and {len(self._holes) - 5} more places" if len(self._holes) > 5 else ""
        return [f"{total:.2f} s of silence fill holes in the time stamps at {places} s{more}"]


def _seconds(frame: AudioFrame) -> float | None:
    return None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
