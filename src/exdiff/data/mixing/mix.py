"""The options of mixing speech."""

from __future__ import annotations

from dataclasses import dataclass

from exdiff.core.config import limited
from exdiff.data.draws import check_ranges

EQUALISER_DB = (-6.0, 6.0)  # gains of an equaliser


@dataclass(frozen=True)
class Mix:
    """Probabilities and ranges of the mixing."""

    snr_db: tuple[float, float] = (-6.0, 18.0)
    noise: float = limited(0.37, least=0)  # relative frequencies of what is mixed in
    music: float = limited(0.25, least=0)
    babble: float = limited(0.30, least=0)
    noise_and_music: float = limited(0.08, least=0)
    made_noise: float = limited(0.0, least=0)  # coloured noise, with mains hum in two of five
    clean_share: float = limited(0.03, least=0, most=1)  # of examples with speech alone
    silent_share: float = limited(0.03, least=0, most=1)  # of examples without speech
    speed: tuple[float, float] = limited((1.0, 1.0), above=0)  # of playback of the target: other voices
    speed_share: float = limited(0.5, least=0, most=1)  # of examples with another speed
    babble_speakers: tuple[int, int] = limited((1, 6), least=1)
    babble_room_share: float = limited(0.0, least=0, most=1)  # of babble that is heard in a room
    room_share: float = limited(0.2, least=0, most=1)  # of examples whose target is heard in a room
    made_room_share: float = limited(0.0, least=0, most=1)  # of rooms that are made; the others were measured
    equalise_share: float = limited(0.4, least=0, most=1)
    band_limit_share: float = limited(0.06, least=0, most=1)
    clip_share: float = limited(0.05, least=0, most=1)
    mu_law_share: float = limited(0.0, least=0, most=1)  # of mixtures that pass through an 8-bit mu-law codec
    level_db: tuple[float, float] = (-40.0, -12.0)  # RMS of the mixture, dB re full scale

    def __post_init__(self) -> None:
        check_ranges(self)
