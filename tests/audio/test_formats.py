"""The tables of codecs and containers agree with the encoders and with themselves."""

import pytest
import soundfile

from exdiff.audio.codecs import CODECS, CONTAINERS, rate_of
from exdiff.audio.formats import FORMATS, SUFFIXES, check_channels, rate_for, same_format
from exdiff.audio.writing.soundfile_sink import subtype_of
from exdiff.core.errors import AudioError

PAIRS = [(name, codec) for name, container in CONTAINERS.items() for codec in container.codecs]


@pytest.mark.parametrize(("name", "codec"), [pair for pair in PAIRS if CONTAINERS[pair[0]].major])
def test_libsndfile_writes_its_containers(name, codec):
    for bits in CODECS[codec].bits or (0,):
        assert soundfile.check_format(CONTAINERS[name].major, subtype_of(codec, bits))


def test_every_codec_has_a_container_and_every_format_is_a_pair():
    assert {codec for _, codec in PAIRS} == set(CODECS)
    assert {(one.container, one.codec) for one in FORMATS.values()} <= set(PAIRS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_rate_that_the_format_has_stays(name):
    for rate in FORMATS[name].rates or (8000, 44100, 192000):
        assert rate_for(name, rate) == rate


@pytest.mark.parametrize("codec", CODECS)
def test_rates_are_increasing_and_never_lowered_without_need(codec):
    rates = CODECS[codec].rates
    assert list(rates) == sorted(set(rates))
    for rate in (7000, 11025, 44100):
        assert rate_of(codec, rate) >= rate


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_readable_suffix_has_a_format_to_stay_in(suffix):
    assert same_format(f".{suffix.upper()}") in FORMATS


def test_too_many_channels_are_refused_with_a_way_out():
    check_channels("mp3", 2)
    with pytest.raises(AudioError, match="mp3 holds 1 to 2 channels, got 3; choose wav or flac"):
        check_channels("mp3", 3)
