"""Mixing: examples are a function of seed and index; mixture = clean + rest; shares and SNRs are as asked.

Speakers and interferences are tones, so that a spectrum tells who is in an example.
"""

from __future__ import annotations

import pickle
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from exdiff.core.config import build
from exdiff.core.errors import ConfigError, DataError
from exdiff.data.bank import DeviceBank, MappedBank
from exdiff.data.clips import Clip
from exdiff.data.datasets import DATASETS, ClipCache, Mixer, mix_clips
from exdiff.data.mixer import target_weights
from exdiff.data.mixing.mix import Mix

from .conftest import NoReadBack

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
EVERYTHING = {
    "speed": [0.8, 1.25],
    "made_noise": 0.3,
    "room_share": 0.6,
    "made_room_share": 0.5,
    "babble_room_share": 0.5,
    "equalise_share": 0.6,
    "band_limit_share": 0.3,
    "clip_share": 0.3,
    "clean_share": 0.1,
    "silent_share": 0.1,
}
CPU = torch.device("cpu")


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
    stored = ClipCache.stored

    def counted(self, index, start=0, stop=None):
        samples = stored(self, index, start, stop)
        frames.append(len(samples))
        return samples

    monkeypatch.setattr(ClipCache, "stored", counted)
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


def relative(made: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((made - wanted).abs().max() / wanted.abs().max().clamp(min=1e-9))


@pytest.mark.parametrize("bank_gb", [None, 1.0], ids=["mapped", "on the device"])
def test_eight_at_once_are_eight_one_by_one(make, bank_gb):
    mixer = make(seed=5, mix=EVERYTHING)
    batches = mixer.on(CPU, bank_gb=bank_gb)
    assert isinstance(batches._bank, DeviceBank if bank_gb else MappedBank)
    for first in (0, 8, 2**40):
        indices = range(first, first + 8)
        clean, mixture = batches.batch(indices)
        assert clean.shape == mixture.shape == (8, 1, round(SECONDS * RATE))
        for row, index in enumerate(indices):
            for made, wanted in zip((clean, mixture), mixer[index], strict=True):
                assert relative(made[row, 0], torch.from_numpy(wanted)) < 1e-5


def test_the_order_of_a_batch_does_not_matter(make):
    batches = make(mix=EVERYTHING).on(CPU)
    (_, one), (_, other) = batches.batch([3, 14, 15]), batches.batch([15, 3, 3, 9])
    assert relative(other[:3], one[[2, 0, 0]]) < 1e-5


def test_mixing_never_waits_for_the_device(make):
    """No value is read back on the CPU; and on a device that has no values everything still runs."""
    mixer = make(mix={**EVERYTHING, "mu_law_share": 0.5})
    for bank_gb in (None, 1.0):
        with NoReadBack():
            mixer.on(CPU, bank_gb=bank_gb).batch(range(24))
        clean, mixture = mixer.on(torch.device("meta"), bank_gb=bank_gb).batch(range(24))
        assert clean.shape == mixture.shape == (24, 1, round(SECONDS * RATE))
        assert clean.dtype == mixture.dtype == torch.float32
        assert clean.is_meta


def test_a_batch_of_many_takes_hardly_more_operators_than_one_of_few(make):
    class Count(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.calls += 1
            return func(*args, **(kwargs or {}))

    batches = make().on(CPU, bank_gb=1.0)
    counts = []
    for size in (32, 128):
        with Count() as count:
            batches.batch(range(size))
        counts.append(count.calls)
    assert counts[1] <= counts[0] + 20
    assert counts[1] < 600


def test_a_mixer_can_be_sent_to_another_process(make):
    mixer = make(mix=EVERYTHING)
    data = pickle.dumps(mixer)
    assert len(data) < 500_000
    np.testing.assert_array_equal(pickle.loads(data)[3][1], mixer[3][1])


def test_a_mixer_serves_several_threads(make):
    batches = make(mix=EVERYTHING).on(CPU)
    wanted = [batches.batch([i]) for i in range(16)]
    with ThreadPoolExecutor(4) as pool:
        for made, (clean, mixture) in zip(pool.map(lambda i: batches.batch([i]), range(16)), wanted, strict=True):
            assert torch.equal(made[0], clean)
            assert torch.equal(made[1], mixture)


def peak(x: np.ndarray) -> float:
    """The frequency of the loudest partial, in Hz."""
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)), 8 * len(x)))
    return float(np.argmax(spectrum) * RATE / (8 * len(x)))


def test_speeds_make_other_voices(make):
    mix = {**ONLY_NOISE, "speed": [0.8, 1.25], "speed_share": 0.5}
    pitches = np.array([peak(make(mix=mix)[i][0]) for i in range(120)])
    ratios = (pitches[:, None] / np.array([TONES[name] for name in ("ann", "bob", "cid")])).T
    own = (np.abs(ratios - 1) < 0.01).any(0)
    assert own.mean() == pytest.approx(0.5, abs=0.15)
    assert all(any(0.79 < r < 1.26 for r in column) for column in ratios.T)
    slow = [peak(make(mix={**mix, "speed": [0.8, 0.8], "speed_share": 1.0})[i][0]) for i in range(20)]
    assert {round(p / 8, -1) * 8 for p in slow} == {240, 400, 640}


def test_another_speed_leaves_the_rest_as_it_is(make):
    plain, other = (make(mix={**ONLY_NOISE, "speed": [s, s], "speed_share": 1.0})[4] for s in (1.0, 1.2))
    assert who(plain[1] - plain[0]) == who(other[1] - other[0]) == {"noise"}


def test_made_rooms_need_no_files(clips, cache):
    dry = [(c if c.kind != "rir" else Clip(c.path, "vocals")) for c in clips]

    def mixer(made: float) -> Mixer:
        mix = {**ONLY_NOISE, "room_share": 1.0, "made_room_share": made, "clean_share": 1.0}
        return Mixer(dry, cache, segment_seconds=SECONDS, sample_rate=RATE, mix=mix)

    for i in range(6):
        target, heard = mixer(1.0)[i]
        assert not np.allclose(target, heard), "reverberation is not part of the target"
        assert np.corrcoef(target, heard)[0, 1] > 0.3
        np.testing.assert_array_equal(*mixer(0.0)[i])


def test_babble_may_be_heard_in_a_room(make):
    mix = {**PLAIN, "noise": 0, "music": 0, "noise_and_music": 0, "babble": 1, "made_room_share": 1.0}
    for i in range(4):
        (clean, dry), (same, wet) = (make(mix={**mix, "babble_room_share": share})[i] for share in (0.0, 1.0))
        gain = np.dot(clean, same) / np.dot(clean, clean)
        np.testing.assert_allclose(same, gain * clean, atol=1e-5)
        assert np.abs(wet - same - gain * (dry - clean)).max() > 0.01 * np.abs(wet).max()


def test_made_noise_is_coloured_and_hums(make):
    mix = {**PLAIN, "noise": 0, "music": 0, "babble": 0, "noise_and_music": 0, "made_noise": 1}
    mixer = make(mix=mix, segment_seconds=1.0)
    humming, slopes = 0, []
    for i in range(60):
        clean, mixture = mixer[i]
        spectrum = np.abs(np.fft.rfft((mixture - clean) * np.hanning(RATE))) ** 2
        low = spectrum[45:300]
        humming += low.max() > 40 * np.median(low)
        slopes.append(10 * np.log10(spectrum[3000:4000].mean() / spectrum[700:950].mean()))  # two octaves
    assert 0.15 < humming / 60 < 0.6
    assert min(slopes) < -8
    assert -2 < max(slopes) < 2


def test_a_codec_leaves_few_values_in_the_mixture_alone(make):
    for share in (0.0, 1.0):
        mix = {**ONLY_NOISE, "noise": 0, "made_noise": 1, "mu_law_share": share}
        clean, mixture = make(mix=mix)[1]
        assert len(np.unique(mixture)) < 256 if share else len(np.unique(mixture)) > 1000
        plain = make(mix=mix | {"mu_law_share": 0.0})[1][0]
        np.testing.assert_allclose(clean, plain * np.abs(clean).max() / np.abs(plain).max(), atol=1e-6)


def test_pauses_in_a_recording_become_faint_noise(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone("ann", 1), RATE)
    soundfile.write(tmp_path / "n.wav", np.zeros(3 * RATE), RATE)
    quiet = [Clip(tmp_path / "a.wav", "speech", "ann"), Clip(tmp_path / "n.wav", "noise")]
    held = ClipCache(quiet, tmp_path / "cache", RATE)
    mixer = Mixer(quiet, held, segment_seconds=SECONDS, sample_rate=RATE, mix={**ONLY_NOISE, "snr_db": [5, 5]})
    rests = [m - c for c, m in (mixer[i] for i in range(4))]
    for (clean, _), rest in zip((mixer[i] for i in range(4)), rests, strict=True):
        assert level(clean) - level(rest) == pytest.approx(5, abs=0.1)
    assert abs(np.corrcoef(rests[0], rests[1])[0, 1]) < 0.1


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


def test_folders_do_without_a_manifest(clips, tmp_path, monkeypatch):
    monkeypatch.delenv("EXDIFF_DATA", raising=False)
    for kind in ("speech", "noise"):
        for clip in (c for c in clips if c.kind == kind):
            place = tmp_path / kind / (clip.speaker or "none") / clip.path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(clip.path.read_bytes())
    folders = {kind: [str(tmp_path / kind)] for kind in ("speech", "noise")}
    section = {"type": "mix", "manifest": None, "cache": str(tmp_path / "cache"), "folders": folders}
    mixer = build(DATASETS, section, sample_rate=RATE, seed=0, segment_seconds=SECONDS)
    assert Counter(c.kind for c in mixer.clips) == Counter(c.kind for c in clips if c.kind in folders)
    assert mixer[0][1].any()
    with pytest.raises(DataError, match="folders: unknown kind 'speach'; did you mean 'speech'"):
        section["folders"] = {"speach": folders["speech"]}
        build(DATASETS, section, sample_rate=RATE, seed=0, segment_seconds=SECONDS)


def test_the_manual_lists_every_option_with_its_default():
    manual = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    table = manual[manual.index("| key | default |") :].split("\n\n")[0]
    listed = {}
    for names, values in re.findall(r"^\| (`.*?`) \| (.*?) \|", table, re.MULTILINE):
        listed |= zip(re.findall(r"\w+", names), re.findall(r"\[.*?\]|[\d.]+", values), strict=True)
    assert listed.keys() == Mix.__dataclass_fields__.keys()
    for name, value in listed.items():
        default = getattr(Mix(), name)
        assert yaml.safe_load(value) == (list(default) if isinstance(default, tuple) else default), name
