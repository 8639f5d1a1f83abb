"""Make a short song to try separation on: two of the example voices speak a verse over a computed band.

    python examples/make_song.py OUT

writes OUT/song.flac, and what it is the sum of: OUT/vocals.flac and OUT/accompaniment.flac, in stereo at 44.1 kHz. The
band (plucked strings, bass, drums) is arithmetic, so nobody has rights in it. The voices are credited in README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 44100  # Hz
BEAT = 60 / 96  # seconds
SECONDS = 10.0
VOICES = (("02_boat_0dB", 1), ("04_coffee_shop_0dB", 9))  # and the beat on which each begins
CHORDS = ((45, 57, 60, 64), (41, 57, 60, 65), (36, 55, 60, 64), (43, 55, 59, 62))  # MIDI notes, the bass first


def main(folder: Path) -> None:
    """Write the three files into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, samples in parts().items():
        soundfile.write(folder / f"{name}.flac", samples.T, RATE)


def parts() -> dict[str, np.ndarray]:
    """The vocals, the accompaniment and the song, int16 [2, T]; as whole numbers the first two add up exactly."""
    vocals, accompaniment = verse(), band()
    accompaniment *= np.sqrt(np.mean(vocals**2) / np.mean(accompaniment**2))
    gain = 32768 * 0.9 / np.abs(vocals + accompaniment).max()
    made = {"vocals": vocals, "accompaniment": accompaniment}
    whole = {name: np.round(gain * samples).astype(np.int16) for name, samples in made.items()}
    return whole | {"song": whole["vocals"] + whole["accompaniment"]}


def verse() -> np.ndarray:
    """Both voices in the centre, [2, T]."""
    track = np.zeros(round(SECONDS * RATE))
    for name, beat in VOICES:
        voice, rate = soundfile.read(Path(__file__).parent / "speech" / "clean" / f"{name}.flac")
        voice = soxr.resample(voice, rate, RATE)
        start = round(beat * BEAT * RATE)
        voice = voice[: len(track) - start]
        track[start : start + len(voice)] += voice / np.abs(voice).max()
    return np.stack([track, track])


def band() -> np.ndarray:
    """Four chords, eighths in the bass, sixteenths on plucked strings to both sides, drums; [2, T]."""
    random = np.random.default_rng(0)
    track = np.zeros((2, round(SECONDS * RATE) + RATE))
    for beat in range(int(SECONDS / BEAT) + 1):
        bass, *chord = CHORDS[beat // 4 % len(CHORDS)]
        play(track, beat, 0.9, 0.5, drum(random) if beat % 2 else kick())
        for half in range(2):
            play(track, beat + half / 2, 0.5, 0.5, pluck(bass, 0.5, random))
            play(track, beat + half / 2, 0.05, 0.65, hat(random))
        for quarter in range(4):
            note = chord[(2 * quarter + beat) % 3] + 12 * (quarter % 2)
            play(track, beat + quarter / 4, 0.25, 0.2 + 0.6 * (quarter % 2), pluck(note, 1.0, random))
    return track[:, : round(SECONDS * RATE)]


def play(track: np.ndarray, beat: float, gain: float, place: float, sound: np.ndarray) -> None:
    """Add a sound at a beat; its place is 0 on the left and 1 on the right."""
    start = round(beat * BEAT * RATE)
    sides = np.array([np.cos(place * np.pi / 2), np.sin(place * np.pi / 2)])
    stretch = track[:, start : start + len(sound)]
    stretch += gain * sides[:, None] * sound[: stretch.shape[1]]


def pluck(note: int, seconds: float, random: np.random.Generator) -> np.ndarray:
    """A string (Karplus and Strong 1983): noise goes round a loop that averages neighbours."""
    period = round(RATE / (440 * 2 ** ((note - 69) / 12)))
    loop, turns = random.uniform(-1, 1, period), []
    for _ in range(round(seconds * RATE) // period):
        turns.append(loop)
        loop = 0.498 * (loop + np.roll(loop, 1))
    return np.concatenate(turns) * np.linspace(1, 0, period * len(turns))


def kick() -> np.ndarray:
    """A sine that falls from 110 to 50 Hz."""
    time = np.arange(RATE // 4) / RATE
    return np.sin(2 * np.pi * (50 * time + 1.8 * (1 - np.exp(-time / 0.03)))) * np.exp(-time / 0.09)


def drum(random: np.random.Generator) -> np.ndarray:
    """A short burst of noise over a short tone."""
    time = np.arange(RATE // 4) / RATE
    noise = np.diff(random.normal(size=len(time)), prepend=0) * np.exp(-time / 0.06)
    return 0.15 * noise + 0.3 * np.sin(2 * np.pi * 180 * time) * np.exp(-time / 0.05)


def hat(random: np.random.Generator) -> np.ndarray:
    """A shorter burst, of high frequencies alone."""
    time = np.arange(RATE // 20) / RATE
    return np.diff(random.normal(size=len(time)), n=2, prepend=[0, 0]) * np.exp(-time / 0.012)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
