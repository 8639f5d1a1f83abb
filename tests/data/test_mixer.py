"""Mixing: examples are a function of seed and index; mixture = clean + rest; shares and SNRs are as asked.

Speakers and interferences are tones, so that a spectrum tells who is in an example.
"""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from exdiff.core.config import build
from exdiff.core.errors import ConfigError, DataError
from exdiff.data import DATASETS, ClipCache, Mixer, mix_clips
from exdiff.data.clips import Clip
from exdiff.data.mixer import target_weights

RATE, SECONDS = 8000, 0.5
TONES = {"ann": 300, "bob": 500, "cid": 800, "noise": 2000, "music": 3000}
PLAIN = {
    "room_share": 0,
    "equalise_share": 0,
    "band_limit_share": 0,
    "clip_share": 0,
    "clean_share": 0,
    "silent_share": 0,
}
ONLY_NOISE = {**PLAIN, "noise": 1, "music": 0, "babble": 0, "noise_and_music": 0}


def tone(name: str, seconds: float) -> np.ndarray:
    return 0.2 * np.sin(2 * np.pi * TONES[name] * np.arange(round(seconds * RATE)) / RATE)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    made = []

    def add(name: str, wave: np.ndarray, kind: str, speaker: str = "", **facts) -> None:
        soundfile.write(folder / f"{name}.wav", wave, RATE)
        made.append(Clip(folder / f"{name}.wav", kind, speaker, speaker or kind, **facts))

    for speaker in ("ann", "bob", "cid"):
        add(f"{speaker}1", tone(speaker, 0.3), "speech", speaker)
        add(f"{speaker}2", 0.2 * tone(speaker, 1.2), "speech", speaker)
    add("noise1", tone("noise", 3), "noise")
    add("noise2", tone("noise", 0.2), "noise")
    add("music", tone("music", 2), "music")
    impulse = np.zeros(2000)
    impulse[[100, 300, 1500]] = 0.8, 0.3, 0.4
    add("room", impulse, "rir")
    return made


@pytest.fixture(scope="module")
def cache(clips, tmp_path_factory) -> ClipCache:
    return ClipCache(clips, tmp_path_factory.mktemp("cache"), RATE)


@pytest.fixture
def make(clips, cache):
    def made(**options) -> Mixer:
        return Mixer(clips, cache, **{"segment_seconds": SECONDS, "sample_rate": RATE, **options})

    return made


def power(x: np.ndarray, name: str) -> float:
    """Energy within 60 Hz of a tone, with a window that keeps the tones apart."""
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    frequency = np.fft.rfftfreq(len(x), 1 / RATE)
    return float(spectrum[np.abs(frequency - TONES[name]) < 60].sum() / spectrum.sum()) if spectrum.sum() else 0.0


def who(x: np.ndarray) -> set[str]:
    return {name for name in TONES if power(x, name) > 0.05}


def level(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(x, dtype=np.float64)) + 1e-20))


def test_an_example_is_a_function_of_seed_and_index(make):
    first, same, other = make(seed=1), make(seed=1), make(seed=2)
    list(map(first.__getitem__, (5, 3)))  # what was drawn before does not count
    for i in (0, 7, 123456):
        for a, b in zip(first[i], same[i], strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(first[i][1], other[i][1])
        assert not np.array_equal(first[i][1], first[i + 1][1])


def test_the_number_of_workers_does_not_matter(make):
    def batches(workers: int) -> list[torch.Tensor]:
        mixer = make(seed=3)
        loader = DataLoader(mixer, batch_size=2, sampler=range(6), num_workers=workers)  # type: ignore[arg-type]
        return [torch.stack(batch) for batch in loader]

    for a, b in zip(batches(0), batches(2), strict=True):
        assert torch.equal(a, b)


def test_examples_have_the_right_shape_and_level(make):
    mixer = make(mix={"level_db": [-30, -20]})
    for i in range(40):
        clean, mixture = mixer[i]
        assert clean.shape == mixture.shape == (round(SECONDS * RATE),)
        assert clean.dtype == mixture.dtype == np.float32
        assert np.isfinite(clean).all()
        assert -30.01 <= level(mixture) <= -19.99


def test_the_mixture_is_clean_plus_rest(make):
    mixer = make(mix=PLAIN)
    for i in range(30):
        clean, mixture = mixer[i]
        (speaker,) = who(clean)
        rest = who(mixture - clean)
        assert rest
        assert speaker not in rest, "neither is the target left in the rest, nor does its speaker babble"


def test_all_kinds_of_interference_come_up(make):
    mixer = make(mix={**PLAIN, "babble_speakers": [2, 2]})
    kinds = [frozenset(who(m - c)) for c, m in (mixer[i] for i in range(60))]
    speakers = {"ann", "bob", "cid"}
    seen = {k if not k & speakers else frozenset({"babble"}) for k in kinds}
    assert seen == {frozenset(k) for k in ({"noise"}, {"music"}, {"noise", "music"}, {"babble"})}
    assert any(len(k & speakers) == 2 for k in kinds)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 10.0])
@pytest.mark.parametrize("equalise", [0, 1])
def test_the_snr_is_as_asked(make, snr, equalise):
    mixer = make(mix={**ONLY_NOISE, "snr_db": [snr, snr], "equalise_share": equalise})
    for i in range(10):
        clean, mixture = mixer[i]
        got = level(clean) - level(mixture - clean)
        assert got == pytest.approx(snr, abs=13 if equalise else 0.1)  # an equaliser of +-6 dB changes it


def test_shares_are_as_asked(make):
    mixer = make(mix={**ONLY_NOISE, "clean_share": 0.3, "silent_share": 0.2}, segment_seconds=0.1)
    pairs = [mixer[i] for i in range(400)]
    clean = np.mean([np.array_equal(c, m) for c, m in pairs])
    silent = np.mean([not c.any() for c, _ in pairs])
    assert clean == pytest.approx(0.3, abs=0.06)
    assert silent == pytest.approx(0.2, abs=0.06)
    assert all(m.any() for _, m in pairs)


def test_targets_follow_their_scores_and_sources(clips, cache, make):
    scored = [Clip(c.path, c.kind, c.speaker, c.source, ovrl={"ann": 3.4, "bob": 1.8}.get(c.speaker)) for c in clips]
    options = {"segment_seconds": 0.1, "sample_rate": RATE, "mix": ONLY_NOISE}

    def shares(mixer: Mixer) -> dict[str, float]:
        found = [next(iter(who(mixer[i][0])), "") for i in range(400)]
        return {s: found.count(s) / 400 for s in ("ann", "bob", "cid")}

    even = shares(Mixer(scored, cache, clean_ovrl=None, **options))
    assert even == pytest.approx({"ann": 1 / 3, "bob": 1 / 3, "cid": 1 / 3}, abs=0.09)
    # Logistic with scale 0.2 around 2.6: ann 0.98, bob 0.02, cid (no score) 0.5.
    clean = shares(Mixer(scored, cache, clean_ovrl=2.6, **options))
    assert clean == pytest.approx({"ann": 0.655, "bob": 0.012, "cid": 0.333}, abs=0.09)
    weighted = shares(Mixer(scored, cache, clean_ovrl=None, source_weights={"ann": 4.0, "bob": 0.0}, **options))
    assert weighted == pytest.approx({"ann": 0.8, "bob": 0.0, "cid": 0.2}, abs=0.07)


def test_a_clip_without_a_score_takes_the_mean_of_its_speaker(clips):
    scored = [Clip(c.path, c.kind, c.speaker, c.source, ovrl=4.0 if c.path.stem == "ann1" else None) for c in clips]
    weight = target_weights(scored, range(6), {}, 3.0)
    assert weight[0] == weight[1] > weight[2] == weight[5]


def test_a_string_of_clips_has_one_level(make):
    """The short and the ten times quieter clip of a speaker, also where the first clip comes round again."""
    mixer = make(mix=ONLY_NOISE, segment_seconds=4)
    for i in range(12):
        clean, _ = mixer[i]
        frames = clean[: len(clean) // 200 * 200].reshape(-1, 200).std(1)
        loud = frames[frames > 0.7 * frames.max()]
        quiet = (frames > 0.05 * frames.max()) & (frames < 0.7 * frames.max())
        assert len(loud) > 10
        assert quiet.sum() <= 2 * (np.diff((frames > 0.05 * frames.max()).astype(int)) != 0).sum() + 2, i


def test_only_what_an_example_needs_is_read(clips, cache, monkeypatch):
    """A clip's level is known: a draw from a long recording reads no more than an example of it."""
    frames = []
    read = ClipCache.read

    def counted(self, index, start=0, length=None):
        samples = read(self, index, start, length)
        frames.append(len(samples))
        return samples

    monkeypatch.setattr(ClipCache, "read", counted)
    mixer = Mixer(clips, cache, segment_seconds=0.1, sample_rate=RATE, mix={**PLAIN, "noise": 0, "babble": 1})
    for i in range(20):
        mixer[i]
    assert len(frames) > 20
    assert max(frames) <= 0.1 * RATE < cache.lengths.min()


def test_rooms_keep_the_direct_sound_in_place(make):
    mixer = make(mix={**ONLY_NOISE, "room_share": 1.0, "clean_share": 1.0})
    for i in range(5):
        target, heard = mixer[i]
        assert not np.allclose(target, heard)
        lag = int(np.argmax(np.correlate(heard, target, "full"))) - len(target) + 1
        assert abs(lag) <= RATE // 300


def test_clipping_is_on_the_mixture_alone(make):
    plain, mixer = (make(mix={**ONLY_NOISE, "clip_share": s, "level_db": [-20, -20]}) for s in (0.0, 1.0))
    for i in range(5):
        (whole, unclipped), (clean, mixture) = plain[i], mixer[i]
        gain = np.dot(clean, whole) / np.dot(whole, whole)
        np.testing.assert_allclose(clean, gain * whole, atol=1e-5)
        limit = np.abs(mixture).max()
        assert (np.abs(gain * unclipped) > limit).mean() > 0.02
        np.testing.assert_allclose(mixture, np.clip(gain * unclipped, -limit, limit), atol=1e-5)


def test_band_limits_are_on_both(make):
    mixer = make(mix={**ONLY_NOISE, "band_limit_share": 1.0})
    cut = [who(m) for _, m in (mixer[i] for i in range(30))]
    assert any("noise" not in names for names in cut)
    assert any("noise" in names for names in cut)


def test_there_must_be_something_to_mix(clips, tmp_path):
    def mixer(*keep: str, **options) -> Mixer:
        chosen = [c for c in clips if c.path.stem in keep]
        held = ClipCache(chosen, tmp_path, RATE)
        return Mixer(chosen, held, segment_seconds=SECONDS, sample_rate=RATE, **options)

    with pytest.raises(DataError, match="no clip of kind 'speech'"):
        mixer("noise1")
    with pytest.raises(DataError, match="nothing to mix speech with"):
        mixer("ann1", "ann2")
    with pytest.raises(DataError, match="source_weights and clean_ovrl leave no speech to draw"):
        mixer("ann1", "noise1", source_weights={"ann": 0.0})
    with pytest.raises(ConfigError, match=r"mix: snr_db must be \[low, high\], got \[18, -6\]"):
        mixer("ann1", "noise1", mix={"snr_db": [18, -6]})
    assert mixer("ann1", "bob1")[0][1].any()
    assert mixer("ann1", "noise2")[0][1].any()


def test_a_data_section_is_built_from_files(clips, tmp_path, monkeypatch):
    root = clips[0].path.parent
    rows = [f"{c.path.name},{c.kind},{c.speaker},{c.source},A" for c in clips if c.kind in ("speech", "rir")]
    (root / "manifest.csv").write_text("\n".join(["file,kind,speaker,source,tier", *rows]))
    (root / "scores.csv").write_text("file,ovrl\nann1.wav,3.0\n")
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "n.wav").write_bytes((root / "noise1.wav").read_bytes())
    monkeypatch.setenv("EXDIFF_CACHE", str(tmp_path / "cache"))
    section = {
        "type": "mix",
        "manifest": f"{root}/manifest.csv",
        "scores": f"{root}/scores.csv",
        "folders": {"noise": [f"{tmp_path}/extra"]},
    }
    mixer = build(DATASETS, section, sample_rate=RATE, seed=0, segment_seconds=SECONDS)
    assert isinstance(mixer, Mixer)
    assert [c.ovrl for c in mixer.clips].count(3.0) == 1
    assert mixer[0][1].any()
    with pytest.raises(ConfigError, match="mix: unknown key 'snr'; did you mean 'snr_db'"):
        build(DATASETS, {**section, "mix": {"snr": [0, 1]}}, sample_rate=RATE, seed=0, segment_seconds=SECONDS)
    assert DATASETS["mix"] is mix_clips
