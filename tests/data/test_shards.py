"""Shards: what is written is read, in an order that needs no history; and a foreign archive does no harm."""

from __future__ import annotations

import functools
import http.server
import io
import json
import pickle
import shutil
import tarfile
import threading
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from exdiff.core.errors import AudioError, ConfigError, DataError
from exdiff.core.recipe import Recipe
from exdiff.data.datasets import DATASETS, Shards
from exdiff.data.layouts import find_items
from exdiff.data.shards import Signals, access, examples_of, find_source, read_signals, write_shards
from exdiff.data.shards.order import Order

from .conftest import RATE, tone, write

OPTIONS = {"segment_seconds": 0.25, "sample_rate": RATE}


def signals(count, roles=("clean", "mixture"), **options):
    for n in range(count):
        yield Signals(f"s{n}", {role: tone(2 * n + k, 0.5) for k, role in enumerate(roles)}, RATE, **options)


@pytest.fixture
def shards(tmp_path):
    """Twelve pairs in several shards."""
    write_shards(signals(12), tmp_path / "shards", kind="pairs", size_mb=0.08)
    return tmp_path / "shards"


def index_of(folder):
    return json.loads((folder / "index.json").read_text())


def test_what_is_written_is_read_by_webdataset_too(shards):
    from webdataset.tariterators import group_by_keys, tar_file_expander

    index = index_of(shards)
    assert (index["kind"], index["samples"], index["seconds"]) == ("pairs", 12, 6.0)
    assert len(index["shards"]) > 2
    keys = []
    for shard in index["shards"]:
        path = shards / shard["name"]
        assert path.stat().st_size == shard["bytes"]
        with path.open("rb") as file:
            found = list(group_by_keys(tar_file_expander([{"url": path.name, "stream": file}])))
        assert len(found) == shard["samples"]
        for sample in found:
            about = json.loads(sample["json"])
            audio, rate = soundfile.read(io.BytesIO(sample["clean.flac"]), dtype="float32")
            number = int(about["name"][1:])
            np.testing.assert_allclose(audio, tone(2 * number, 0.5)[0], atol=2e-5)
            assert (rate, len(audio)) == (RATE, about["frames"])
            keys.append(number)
    assert keys == list(range(12))


def test_the_same_data_give_the_same_bytes(shards, tmp_path):
    write_shards(signals(12), tmp_path / "again", kind="pairs", size_mb=0.08)
    for path in shards.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_nothing_is_overwritten_or_left_half_done(shards, tmp_path):
    with pytest.raises(DataError, match="exists; name a new folder"):
        write_shards(signals(1), shards, kind="pairs")

    def breaks():
        yield from signals(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(breaks(), tmp_path / "new", kind="pairs")
    with pytest.raises(DataError, match="nothing to write"):
        write_shards([], tmp_path / "new", kind="pairs")
    assert [p.name for p in tmp_path.iterdir()] == ["shards"]


def test_deep_and_loud_signals_lose_nothing(tmp_path):
    loud = {"clean": 3 * tone(0, level=1.0), "mixture": tone(1, channels=2)}
    write_shards([Signals("x", loud, RATE, deep=True)], tmp_path / "s", kind="pairs")
    with tarfile.open(tmp_path / "s" / "shard-000000.tar") as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
    assert sorted(files) == ["000000000.clean.wav", "000000000.json", "000000000.mixture.flac"]
    clean, _ = soundfile.read(io.BytesIO(files["000000000.clean.wav"]), dtype="float32")
    np.testing.assert_array_equal(clean, loud["clean"][0])
    assert soundfile.info(io.BytesIO(files["000000000.mixture.flac"])).subtype == "PCM_24"


def test_items_are_cut_into_pieces(voicebank, hq):
    pieces = list(read_signals(find_items(voicebank, "train"), piece_seconds=0.4))
    assert [(p.name, p.start, p.signals["clean"].shape[-1]) for p in pieces] == [
        ("p0", 0, 8000),
        ("p1", 0, 6400),
        ("p1", 6400, 5600),
        ("p2", 0, 6400),
        ("p2", 6400, 6400),
        ("p2", 12800, 3200),
    ]
    (song, *_) = read_signals(find_items(hq, "train"))
    assert sorted(song.signals) == ["bass", "drums", "other", "vocals"]
    assert song.deep, "float files"


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [(tone(0, 0.4), RATE, "mixture has 6400 samples"), (tone(0, 0.5), 8000, "mixture has 8000 Hz")],
)
def test_items_that_do_not_fit_are_refused(voicebank, samples, rate, message):
    write(voicebank / "noisy_trainset_28spk_wav" / "p0.wav", samples, rate)
    with pytest.raises(DataError, match=message):
        list(read_signals(find_items(voicebank, "train")))
    (voicebank / "noisy_trainset_28spk_wav" / "p0.wav").write_bytes(b"x")
    with pytest.raises(AudioError):
        list(read_signals(find_items(voicebank, "train")))


def test_sources(voicebank, hq, tmp_path):
    assert find_source(voicebank)[0] == "pairs"
    assert find_source(hq)[0] == "songs"
    for kind in ("vocals", "accompaniment"):
        write(tmp_path / "m" / f"{kind}.wav", tone(0))
    text = "file,kind,pair\nvocals.wav,songs_x_vocals,1\n"
    (tmp_path / "m" / "manifest.csv").write_text(text)
    with pytest.raises(DataError, match="the song 'songs_x/1' has 1 parts"):
        find_source(tmp_path / "m" / "manifest.csv")
    (tmp_path / "m" / "manifest.csv").write_text(text + "accompaniment.wav,songs_x_accompaniment,1\n")
    kind, (item,) = find_source(tmp_path / "m" / "manifest.csv")
    assert (kind, [s.role for s in item.sources]) == ("songs", ["vocals", "accompaniment"])


def test_examples_of_a_recipe(tmp_path):
    recipe = Recipe.load("debug")
    write_shards(examples_of(recipe, 3, DATASETS), tmp_path / "s", kind="pairs")
    clean, mixture = DATASETS["synthetic"](segment_seconds=0.5, sample_rate=16000)[2]
    found = Shards(segment_seconds=0.5, sample_rate=16000, urls=str(tmp_path / "s"))
    assert any(
        np.allclose(found[i][0], clean, atol=1e-4) and np.allclose(found[i][1], mixture, atol=1e-4) for i in range(3)
    )
    with pytest.raises(ConfigError, match="it is the length of an example"):
        next(examples_of(Recipe("x"), 1, DATASETS))


def which(example):
    """The number of the sample that an example is of."""
    spectra = [np.correlate(tone(2 * n, 0.5)[0], example[0], "valid").max() for n in range(12)]
    return int(np.argmax(spectra))


def test_every_sample_comes_once_a_pass_and_crops_stay_aligned(shards):
    data = Shards(**OPTIONS, urls=str(shards), buffer=5)
    first = [which(data[i]) for i in range(12)]
    second = [which(data[i]) for i in range(12, 24)]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second != list(range(12))
    clean, mixture = data[3]
    at = int(np.correlate(tone(2 * first[3], 0.5)[0], clean, "valid").argmax())
    np.testing.assert_allclose(mixture, tone(2 * first[3] + 1, 0.5)[0, at : at + 4000], atol=2e-5)


def test_other_rates_and_channels(shards):
    clean, mixture = Shards(segment_seconds=0.25, sample_rate=24000, urls=str(shards), channels=2)[0]
    assert clean.shape == mixture.shape == (2, 6000)
    np.testing.assert_array_equal(clean[0], clean[1])
    clean, _ = Shards(segment_seconds=0.75, sample_rate=8000, urls=str(shards))[0]
    assert np.count_nonzero(clean) <= 4100, "shorter than the example: the rest is silence"


@pytest.fixture
def server(tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.skipif(shutil.which("curl") is None, reason="webdataset reads URLs with curl")
def test_urls_give_what_files_give_and_resume_exactly(shards, server):
    options = {**OPTIONS, "buffer": 4, "lanes": 2, "run": 3}
    local, remote = Shards(**options, urls=str(shards)), Shards(**options, urls=f"{server}/shards")
    resumed = pickle.loads(pickle.dumps(remote))
    for data, indices in ((remote, range(0, 20)), (resumed, range(13, 20)), (resumed, (2, 2**40))):
        for i in indices:
            for a, b in zip(local[i], data[i], strict=True):
                np.testing.assert_array_equal(a, b)
    with pytest.raises(DataError, match=r"nothing/index.json: cannot be read \(the command .* ended with code 22\)"):
        Shards(**OPTIONS, urls=f"{server}/nothing")


def test_commands_are_run_only_where_that_is_allowed(shards, monkeypatch):
    monkeypatch.delenv("EXDIFF_ALLOW_PIPE", raising=False)
    with pytest.raises(DataError, match="set EXDIFF_ALLOW_PIPE=1 if you trust the recipe"):
        Shards(**OPTIONS, urls=f"pipe:cat {shards}/{{name}}")
    monkeypatch.setenv("EXDIFF_ALLOW_PIPE", "1")
    piped, local = Shards(**OPTIONS, urls=f"pipe:cat {shards}/{{name}}"), Shards(**OPTIONS, urls=str(shards))
    for i in (0, 1, 9):
        np.testing.assert_array_equal(piped[i][0], local[i][0])
    with pytest.raises(DataError, match=r"write \{name\} where"):
        Shards(**OPTIONS, urls="pipe:cat x")
    with pytest.raises(DataError, match="ended with code 3"):
        Shards(**OPTIONS, urls="pipe:exit 3; {name}")
    with pytest.raises(DataError, match="unknown scheme 'ftp'"):
        Shards(**OPTIONS, urls="ftp://x/y")


def test_a_forked_process_opens_streams_of_its_own(shards, monkeypatch):
    monkeypatch.setenv("EXDIFF_ALLOW_PIPE", "1")
    opened = []
    stream = access._stream
    monkeypatch.setattr(access, "_stream", lambda address: (opened.append(address), stream(address))[1])
    data = Shards(**OPTIONS, urls=f"pipe:cat {shards}/{{name}}", buffer=2)
    data[0]
    monkeypatch.setattr(access.os, "getpid", lambda: -1)
    np.testing.assert_array_equal(data[2][0], Shards(**OPTIONS, urls=str(shards), buffer=2)[2][0])
    assert opened[1] == opened[2], "the shard is opened again, though its stream had come to the place"


def test_several_sets_are_one(shards, tmp_path):
    write_shards(signals(3), tmp_path / "more", kind="pairs")
    data = Shards(**OPTIONS, urls=[str(shards), str(tmp_path / "more")])
    assert sum(data.order.counts) == 15
    write_shards(signals(3, roles=("vocals", "drums")), tmp_path / "songs", kind="songs")
    with pytest.raises(DataError, match="shards of one kind are needed, got pairs and songs"):
        Shards(**OPTIONS, urls=[str(shards), str(tmp_path / "songs")])
    with pytest.raises(DataError, match="no shards in"):
        Shards(**OPTIONS, urls=str(tmp_path))


def test_songs_are_mixed_as_from_files(tmp_path):
    write_shards(signals(6, roles=("vocals", "drums", "bass")), tmp_path / "s", kind="songs")
    plain = {"gain_db": [0, 0], "clean_share": 0, "silent_share": 0, "level_db": [-20, -20]}
    for remix in (0.0, 1.0):
        data = Shards(**OPTIONS, urls=str(tmp_path / "s"), mix={**plain, "remix": remix})
        vocals, mixture = data[1]
        assert vocals.any()
        assert np.sqrt(np.mean(mixture**2)) == pytest.approx(0.1, rel=0.01)
        np.testing.assert_array_equal(data[1][1], mixture)
    for key, value in (("speed", [0.9, 1.1]), ("snr_db", [-10, 6])):
        with pytest.raises(DataError, match=f"mix: {key} needs whole songs, which shards do not hold"):
            Shards(**OPTIONS, urls=str(tmp_path / "s"), mix={**plain, key: value})
    with pytest.raises(ConfigError, match=r"mix: gain_db must be \[low, high\], got \[4, -4\]"):
        Shards(**OPTIONS, urls=str(tmp_path / "s"), mix={"gain_db": [4, -4]})
    with pytest.raises(ConfigError, match="mix: unknown key 'remx'; did you mean 'remix'"):
        Shards(**OPTIONS, urls=str(tmp_path / "s"), mix={"remx": 1})


def test_pairs_are_not_mixed(shards):
    with pytest.raises(DataError, match="leave out data.mix"):
        Shards(**OPTIONS, urls=str(shards), mix={"remix": 1.0})


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_each_lane_reads_shards_of_its_own_from_beginning_to_end(lanes):
    counts, run = [4, 7, 1, 5, 3, 6], 4
    order = Order(counts, seed=3, buffer=4, lanes=lanes, run=run)
    seen: dict[int, list] = {}
    for i in range(run * lanes * 40):
        seen.setdefault(i // run % lanes, []).append(order.sample(*order.locate(i)))
    shards = {lane: {shard for shard, _ in places} for lane, places in seen.items()}
    assert sum(map(len, shards.values())) == len(counts), "no shard is in two lanes"
    for lane, places in seen.items():
        total = sum(counts[s] for s in shards[lane])
        for turn in range(len(places) // total):
            once = Counter(places[turn * total : (turn + 1) * total])
            assert len(once) == total, "each sample once a pass"
        numbers = [order.locate(i)[0] for i in range(run * lanes * 40) if i // run % lanes == lane]
        assert all((a.turn, a.first) <= (b.turn, b.first) for a, b in pairwise(numbers))
        assert max(block.size for block in numbers) <= 4


def test_orders_differ_by_seed_and_pass_and_refuse_nonsense():
    places = [[Order([9, 9], seed=seed, buffer=9).locate(i) for i in range(18)] for seed in (0, 1)]
    assert places[0] != places[1]
    with pytest.raises(DataError, match="3 lanes need at least as many shards, got 2"):
        Order([9, 9], seed=0, buffer=4, lanes=3)
    with pytest.raises(DataError, match="buffer must be 1 or more, got 0"):
        Order([9, 9], seed=0, buffer=0)


def flac():
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(0)[0], RATE, format="FLAC")
    return buffer.getvalue()


def foreign(folder, members, samples=1, **index):
    """A set of one shard that somebody else made."""
    folder.mkdir()
    with tarfile.open(folder / "shard-000000.tar", "w", format=index.pop("tar", tarfile.USTAR_FORMAT)) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            else:
                info.type, info.linkname = tarfile.SYMTYPE, data
                tar.addfile(info)
    table = {"format": "exdiff-shards", "version": 1, "kind": "pairs"}
    table["shards"] = [{"name": "shard-000000.tar", "samples": samples}]
    (folder / "index.json").write_text(json.dumps(table | index))
    return str(folder)


GOOD = [("0.clean.flac", flac()), ("0.mixture.flac", flac())]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../../evil.clean.flac", flac())], r"refused, it has a member '../../evil.clean.flac'"),
        ([("/etc/passwd", b"x")], "refused, it has a member '/etc/passwd'"),
        ([("0.pyd", b"x")], "refused, it has a member '0.pyd'"),
        ([("0.vocals.flac", flac())], "refused, it has a member '0.vocals.flac'"),
        ([("0.clean.flac", "/etc/passwd")], "is a link or not a plain file"),
        ([("0.json", bytes((1 << 20) + 1))], "has 1048577 bytes, more than"),
        ([GOOD[0]], "sample '0' holds clean, not what pairs need"),
        ([GOOD[0], *GOOD], "'0' has two members 'clean'"),
        ([*GOOD, ("1.clean.flac", flac())], "holds more samples, index.json says 1"),
        ([], "holds 0 samples, index.json says 1"),
        ([("0.clean.flac", b"not audio"), GOOD[1]], "clean is not FLAC or WAV audio"),
        ([("0.clean.flac", flac()[:3000]), GOOD[1]], r"clean is (damaged|cut short)"),
    ],
)
def test_foreign_archives_are_refused(tmp_path, members, message, monkeypatch):
    url = foreign(tmp_path / "f", members)
    monkeypatch.setenv("EXDIFF_ALLOW_PIPE", "1")
    for urls in (url, f"pipe:cat {url}/{{name}}"):
        with pytest.raises(DataError, match=message):
            [Shards(segment_seconds=1.0, sample_rate=RATE, urls=urls)[i] for i in range(2)]


def test_long_names_and_unequal_partners_are_refused(tmp_path):
    with pytest.raises(DataError, match="refused"):
        Shards(**OPTIONS, urls=foreign(tmp_path / "a", [("x" * 300 + ".clean.flac", flac())], tar=tarfile.PAX_FORMAT))[
            0
        ]
    short = io.BytesIO()
    soundfile.write(short, tone(0)[0][:-5], RATE, format="FLAC")
    with pytest.raises(DataError, match="differs in rate or length"):
        Shards(**OPTIONS, urls=foreign(tmp_path / "b", [GOOD[0], ("0.mixture.flac", short.getvalue())]))[0]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"shards": [{"name": "../x.tar", "samples": 1}]}, "a shard is called '../x.tar'"),
        ({"shards": [{"name": "pipe:rm x.tar", "samples": 1}]}, "a plain NAME.tar is needed"),
        ({"shards": [{"name": "a.tar", "samples": -1}]}, "count of -1 is out of range"),
        ({"shards": [{"name": "a.tar", "samples": 1}] * 2}, "names a shard twice"),
        ({"shards": []}, "out of range"),
        ({"shards": [{"name": "a.tar"}]}, "no 'samples'"),
        ({"format": "other"}, "not an index of exdiff-shards"),
        ({"version": 2}, "its version is 2, this program reads 1"),
        ({"kind": "images"}, "its kind is 'images', known are pairs, songs"),
    ],
)
def test_foreign_indices_are_refused(tmp_path, index, message):
    with pytest.raises(DataError, match=message):
        Shards(**OPTIONS, urls=foreign(tmp_path / "f", GOOD, **index))


def test_a_shard_that_was_cut_short_or_lost(shards, monkeypatch):
    path = next(iter(sorted(shards.glob("*.tar"))))
    monkeypatch.setenv("EXDIFF_ALLOW_PIPE", "1")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for urls in (str(shards), f"pipe:cat {shards}/{{name}}"):
        with pytest.raises(DataError, match="not a whole tar file"):
            [Shards(**OPTIONS, urls=urls)[i] for i in range(12)]
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        [Shards(**OPTIONS, urls=str(shards))[i] for i in range(12)]
