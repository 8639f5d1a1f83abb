"""Every engine and every storage gives what `exdiff enhance` gives; what is finished is not done again."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from exdiff.cli.batching.storage import Store

from ..conftest import records
from .conftest import both_engines, contents


@pytest.fixture
def expected(run, songs, tmp_path, model):
    """What `exdiff enhance` makes of the songs."""
    assert run("enhance", songs, "-o", tmp_path / "expected", "--model", model, "--steps", 0).exit_code == 0
    return contents(tmp_path / "expected")


@both_engines
def test_folders(engine, batch, songs, tmp_path, expected):
    result = batch(songs, f"file://{tmp_path}/out", *engine, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert contents(tmp_path / "out") == expected
    found = records(result.stdout)
    assert {record["input"] for record in found} == {str(songs / name) for name in expected}
    assert {record["output"][0] for record in found} == {str(tmp_path / "out" / name) for name in expected}
    again = batch(songs, tmp_path / "out", *engine, "--json", "--model", "no-model-is-loaded")
    assert (again.exit_code, again.output) == (0, "")


@both_engines
def test_an_object_store(engine, batch, songs, bucket, expected, tmp_path):
    bucket.fill(songs, "in")
    result = batch("s3://songs/in", "s3://songs/out", *engine, "--report", tmp_path / "r.jsonl")
    assert (result.exit_code, result.output) == (0, "")
    # Listing both, a file to try it, which is removed, and the table of failures likewise; one GET and one PUT a file.
    assert bucket.requests["GET"] == len(expected)
    assert bucket.requests["PUT"] == len(expected) + 1
    assert bucket.requests.total() <= 2 * len(expected) + 8
    assert bucket.content("out") == expected
    assert {r["input"] for r in records((tmp_path / "r.jsonl").read_text())} == {f"s3://songs/in/{n}" for n in expected}


@pytest.fixture
def memory(songs):
    """fsspec's file system in the memory of this process, with the songs below /in."""
    system = fsspec.filesystem("memory")
    for name, content in contents(songs).items():
        system.pipe(f"/in/{name}", content)
    yield system
    system.store.clear()


def test_memory(batch, memory, expected):
    result = batch("memory://in", "memory://out", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert {path.removeprefix("/out/"): memory.cat(path) for path in memory.find("/out")} == expected
    assert {record["input"] for record in records(result.stdout)} == {f"memory://in/{name}" for name in expected}


def test_stems_formats_parts_and_names(run, batch, songs, memory, tmp_path, model):
    options = ("--stems", "--format", "flac", "--seed", 3, "--name", "{what}/{stem}.{ext}{suffix}")
    for number in (1, 2):
        result = batch("memory://in", "memory://out", "--part", f"{number}/2", *options)
        assert (result.exit_code, result.output) == (0, "")
    run("enhance", songs, "-o", tmp_path / "expected", "--model", model, "--steps", 0, *options)
    found = {path.removeprefix("/out/"): memory.cat(path) for path in memory.find("/out")}
    assert len(found) == 10
    assert found == contents(tmp_path / "expected")


def test_what_is_missing_is_done(batch, songs, tmp_path, memory):
    """One stem of two counts as nothing; a file that came later is done; the failures of last time are forgotten."""
    assert batch("memory://in", "memory://out", "--stems").exit_code == 0
    kept = memory.cat("/out/sub/c.vocals.wav")
    memory.rm("/out/sub/c.vocals.wav")
    memory.pipe("/in/later.wav", memory.cat("/in/a.wav"))
    memory.pipe("/out/failures.jsonl", b"old")
    result = batch("memory://in", "memory://out", "--stems", "--report", tmp_path / "r.jsonl")
    assert (result.exit_code, result.output) == (0, "")
    assert memory.cat("/out/sub/c.vocals.wav") == kept
    status = {r["input"].removeprefix("memory://in/"): r["status"] for r in records((tmp_path / "r.jsonl").read_text())}
    done = {name for name in status if status[name] == "done"}
    assert (done, len(status)) == ({"later.wav", "sub/c.wav"}, 6)
    assert not memory.exists("/out/failures.jsonl")


def test_failures_are_listed(batch, songs, memory):
    memory.pipe("/in/bad.wav", b"no sound")
    memory.pipe("/in/same.flac", memory.cat("/in/b.flac"))
    memory.pipe("/in/same.wav", memory.cat("/in/a.wav"))
    memory.pipe("/in/call.vox", b"")
    result = batch("memory://in", "memory://out", "--format", "wav", "--json")
    lines = result.stderr.splitlines()
    assert result.exit_code == 1
    assert lines[0] == "exdiff: warning: 1 files are not read because of their suffix: .vox (1)"
    assert "same.flac and same.wav would both be written to same.wav" in lines[1]
    assert "memory://in/bad.wav: not a readable" in lines[2]
    assert lines[3:] == ["exdiff: 3 of 8 files failed, as memory://out/failures.jsonl lists"]
    table = records(memory.cat("/out/failures.jsonl").decode())
    assert {(row["input"], row["attempts"]) for row in table} == {
        ("memory://in/bad.wav", 1),
        ("memory://in/same.flac", 1),
        ("memory://in/same.wav", 1),
    }
    assert all(row["error"] and row["model"] for row in table)


@pytest.mark.parametrize("fails", ["get_file", "put_file"])
def test_a_store_that_fails_is_asked_again(batch, memory, expected, fails, monkeypatch, tmp_path):
    original, asked = getattr(type(memory), fails), []

    def flaky(self, source, target, **options):
        if "c.wav" in str(target):
            asked.append(target)
            if len(asked) < 3:
                raise TimeoutError("no\nanswer")
        return original(self, source, target, **options)

    monkeypatch.setattr(type(memory), fails, flaky)
    result = batch("memory://in", "memory://out", "--report", tmp_path / "r.jsonl")
    assert (result.exit_code, result.output, len(asked)) == (0, "", 3)
    assert {path.removeprefix("/out/"): memory.cat(path) for path in memory.find("/out")} == expected
    assert len(records((tmp_path / "r.jsonl").read_text())) == len(expected)


def test_a_store_that_fails_for_good_is_given_up(batch, memory, monkeypatch):
    original, asked = type(memory).get_file, []

    def broken(self, source, target, **options):
        if "c.wav" in str(target):
            asked.append(target)
            raise TimeoutError("no\nanswer")
        return original(self, source, target, **options)

    monkeypatch.setattr(type(memory), "get_file", broken)
    result = batch("memory://in", "memory://out", "--retries", 1)
    assert (result.exit_code, len(asked)) == (1, 2)
    assert result.stderr.splitlines()[0] == (
        "exdiff: error: memory://in/sub/c.wav: cannot be fetched: TimeoutError: no answer"
    )
    assert [row["attempts"] for row in records(memory.cat("/out/failures.jsonl").decode())] == [2]


def test_a_fetched_file_must_be_whole(memory, tmp_path):
    memory.pipe("/in/a.wav", b"1234")
    with pytest.raises(Exception, match="4 bytes came, but the listing said 5"):
        Store("memory://in").reading("a.wav", 5, tmp_path / "new")


def test_names_that_lead_elsewhere_are_refused(batch, bucket, songs, tmp_path):
    """Keys of an object store hold whatever somebody wrote there."""
    good = (songs / "a.wav").read_bytes()
    hostile = ["../evil.wav", "sub/../../evil.wav", "//etc/evil.wav", "a//b.wav", "./a.wav", "t\tab.wav", "nul\0.wav"]
    for name in ["good.wav", ".hidden.wav", ".hidden/x.wav", *hostile]:
        bucket.put(f"in/{name}", good)
    result = batch("s3://songs/in", tmp_path / "out" / "deep", "--workers", 1)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == len(hostile) + 1
    assert "s3://songs/in/nul\\x00.wav: its name holds a control character" in result.stderr
    assert "s3://songs/in/../evil.wav: a part of its name is '..'" in result.stderr
    assert contents(tmp_path / "out").keys() == {"deep/good.wav", "deep/failures.jsonl"}


class Stopped(Exception):
    """Stands for an interrupt; typer makes an exit code of a KeyboardInterrupt."""


@pytest.mark.parametrize("place", ["folder", "store"])
@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("failed", [True, False])
def test_a_run_that_is_not_done_leaves_the_failures_of_the_one_before(
    batch, songs, memory, tmp_path, monkeypatch, place, earlier, failed
):
    def stop(*arguments):
        raise Stopped

    monkeypatch.setattr("exdiff.cli.batching.engines._attempt_here", stop)
    target, table = (tmp_path / "out", tmp_path / "out" / "failures.jsonl")
    if place == "store":
        target, table = "memory://out", None
    if failed:  # before any work
        (songs / "b.wav").write_bytes((songs / "a.wav").read_bytes())
    if earlier and table is None:
        memory.pipe("/out/failures.jsonl", b"old")
    elif earlier:
        table.parent.mkdir()
        table.write_bytes(b"old")
    with pytest.raises(Stopped):
        batch(songs, target, "--format", "wav")
    if table is None:
        found = {path: memory.cat(path) for path in memory.find("/out")}
    else:
        found = {f"/out/{name}": content for name, content in contents(table.parent).items()}
    assert found.keys() == ({"/out/failures.jsonl"} if earlier or failed else set())
    assert not earlier or found["/out/failures.jsonl"] == b"old"


def test_a_model_that_cannot_be_loaded_leaves_them_too(run, memory):
    memory.pipe("/out/failures-2-of-2.jsonl", b"old")
    result = run("batch", "memory://in", "memory://out", "--model", "speeech", "--part", "2/2")
    assert (result.exit_code, "unknown model" in result.stderr) == (2, True)
    assert {path: memory.cat(path) for path in memory.find("/out")} == {"/out/failures-2-of-2.jsonl": b"old"}


def test_a_model_is_named_or_found_from_any_folder(run, songs, model, tmp_path, monkeypatch):
    """A folder of recordings may have the name of a model; workers may have another current folder."""
    given = []

    def run_batch(places, options, *_, **__):
        given.append(options)
        return 0

    monkeypatch.setattr("exdiff.cli.batching.run.run_batch", run_batch)
    monkeypatch.chdir(tmp_path)
    songs.rename("speech")
    Path("mine").symlink_to(model)
    Path("vocals").touch()
    for name in ("speech", "vocals", "nothing", "mine"):
        assert run("batch", "speech", "out", "--model", name).exit_code == 0
    assert [options.model for options in given] == ["speech", "vocals", "nothing", str(tmp_path / "mine")]
