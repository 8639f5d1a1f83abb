"""One run alone writes a file: claims are exclusive, and those of dead processes are taken over."""

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from exdiff.audio.tags.metadata import Metadata
from exdiff.audio.writing.unfinished import new_temporary, unfinished
from exdiff.audio.writing.writer import AudioWriter
from exdiff.cli.enhancing import claims
from exdiff.cli.enhancing.claims import ClaimedError, claim_path, claimed
from exdiff.core.errors import AudioError

posix = pytest.mark.skipif(os.name != "posix", reason="processes are looked up as on POSIX systems")


def owner(**fields):
    return json.dumps(json.loads(claims._me()) | fields)


def test_a_claim_is_exclusive_and_leaves_nothing(tmp_path):
    outputs = [tmp_path / "new" / "a.wav", tmp_path / "new" / ("b" * 255)]
    with claimed(outputs):
        assert len(os.listdir(tmp_path / "new")) == 2
        who = rf"b+: another run writes it now \(process {os.getpid()} on "
        with pytest.raises(ClaimedError, match=who), claimed([tmp_path / "new" / "c.wav", outputs[1]]):
            pass
        assert len(os.listdir(tmp_path / "new")) == 2, "the claim on c.wav was given back"
        with claimed([tmp_path / "new" / "c.wav"]):
            pass
    assert os.listdir(tmp_path / "new") == []


def test_an_error_gives_claims_back(tmp_path):
    with pytest.raises(ZeroDivisionError), claimed([tmp_path / "a.wav"]):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


@posix
@pytest.mark.parametrize("death", ["exit", "kill"])
def test_a_claim_of_a_dead_process_is_taken_over(tmp_path, death):
    output = tmp_path / "a.wav"
    code = (
        "import os, sys, time; from pathlib import Path; from exdiff.cli.enhancing.claims import claimed\n"
        "claim = claimed([Path(sys.argv[1])]); claim.__enter__(); print('here', flush=True)\n"
        + ("os._exit(0)" if death == "exit" else "time.sleep(60)")
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(output)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"here"
    if death == "kill":
        with pytest.raises(ClaimedError, match=f"process {process.pid} on"), claimed([output]):
            pass
        process.kill()
        time.sleep(0.2)  # a zombie, which nobody has waited for, is dead too
    else:
        process.wait()
    with claimed([output]):
        assert json.loads(claim_path(output).read_text())["pid"] == os.getpid()
    process.communicate()
    assert os.listdir(tmp_path) == []


@posix
def test_what_a_dead_process_had_begun_is_removed(tmp_path):
    """And nothing else: neither what another process writes to that file nor what the dead one had begun of others."""
    output = tmp_path / "a.wav"
    code = (
        "import os, sys; from pathlib import Path; from exdiff.audio.writing.unfinished import new_temporary\n"
        "from exdiff.cli.enhancing.claims import claimed\n"
        "output = Path(sys.argv[1]); claim = claimed([output]); claim.__enter__()\n"
        "for path in (output, output, output.with_name('b.wav')): new_temporary(path).touch()\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(output)], check=True)
    dead = json.loads(claim_path(output).read_text())["pid"]
    kept = set(tmp_path.glob(".*.part")) - set(unfinished(output, dead))
    mine = new_temporary(output)
    mine.touch()
    assert len(os.listdir(tmp_path)) == 5 and len(kept) == 1
    with claimed([output]):
        assert set(tmp_path.glob(".*.part")) == kept | {mine}


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.opus", "a.mp3", "a.m4a", "a.mka"])
def test_everything_that_a_dead_process_may_leave_is_found(tmp_path, name):
    """Some formats are written in two steps."""
    writer = AudioWriter(tmp_path / name, 48000, 1, metadata=Metadata({"title": "A title"}))
    writer.write(np.zeros((1, 4800), np.float32))
    assert set(tmp_path.iterdir()) == set(unfinished(tmp_path / name, os.getpid())) != set()
    writer.discard()
    assert os.listdir(tmp_path) == []


@posix
@pytest.mark.parametrize(
    ("text", "age", "stale"),
    [
        (owner(start="another process had this number"), 0, True),
        (owner(pid=2**22 + 1), 0, True),
        (owner(pid="x"), 0, True),
        (owner(host="elsewhere"), 800, False),
        (owner(host="elsewhere"), 1000, True),
        (owner(), 10_000, False),
        ("", 5, False),
        ("", 60, True),
        ("[]", 60, True),
        ("null", 60, True),
    ],
    # Named, since the texts differ between the processes that run the tests.
    ids=["reused pid", "dead", "no pid", "elsewhere", "silent", "alive", "being written", "empty", "list", "null"],
)
def test_which_claims_are_stale(tmp_path, text, age, stale):
    claim = claim_path(tmp_path / "a.wav")
    claim.write_text(text)
    os.utime(claim, (time.time() - age,) * 2)
    if stale:
        with claimed([tmp_path / "a.wav"]):
            pass
        assert os.listdir(tmp_path) == []
    else:
        with pytest.raises(ClaimedError), claimed([tmp_path / "a.wav"]):
            pass
        assert claim.read_text() == text


@posix
def test_of_many_that_take_over_one_succeeds(tmp_path):
    """Rounds of threads that find the same stale claim at once: never two of them inside."""
    output = tmp_path / "a.wav"
    inside, most, won = [], [], []

    def attempt(barrier):
        barrier.wait()
        try:
            with claimed([output]):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.01)
                inside.pop()
                won.append(1)
        except ClaimedError:
            pass

    for _ in range(20):
        claim_path(output).write_text(owner(pid=2**22 + 1))
        barrier = threading.Barrier(6)
        threads = [threading.Thread(target=attempt, args=(barrier,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert max(most) == 1
    assert len(won) >= 20
    assert os.listdir(tmp_path) == []


def test_a_claim_taken_over_is_not_removed_by_its_first_owner(tmp_path):
    with claimed([tmp_path / "a.wav"]):
        claim_path(tmp_path / "a.wav").write_text("another's")
    assert claim_path(tmp_path / "a.wav").read_text() == "another's"


def test_claims_are_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "_RENEW_SECONDS", 0.02)
    monkeypatch.setattr(claims, "_RENEWER", claims._Renewer())
    with claimed([tmp_path / "a.wav"]):
        claim = claim_path(tmp_path / "a.wav")
        os.utime(claim, (0, 0))
        deadline = time.monotonic() + 10
        while claim.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - claim.stat().st_mtime < 60


def test_a_place_that_takes_no_claims(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AudioError, match=r"cannot write .*a.wav: "), claimed([tmp_path / "file" / "a.wav"]):
        pass
