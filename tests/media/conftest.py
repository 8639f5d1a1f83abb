"""The whole of `exdiff enhance` on one small file, with the network replaced by the identity."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests: make, faults, checks, identity

from checks import Outcome
from identity import enhance, save_tiny_model, use_identity
from make import Maker, long_sound, wave_file


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def maker(tmp_path_factory):
    """Makes files of the table in make.py once for all processes of a run."""
    place = tmp_path_factory.getbasetemp()
    if place.name.startswith("popen-"):  # pytest-xdist gives each of its processes a folder in the common one
        place = place.parent
    (place / "media").mkdir(exist_ok=True)
    return Maker(place / "media")


@pytest.fixture(scope="session")
def wide(maker):
    """A WAV file of `long_sound`."""
    return maker.keep("two-seconds.wav", wave_file(long_sound(), 48000))


@pytest.fixture
def identity(monkeypatch):
    use_identity(monkeypatch.setattr)


@pytest.fixture
def put_through(tmp_path, identity, tiny_model, capfd):
    """`put_through(source, *options)` -> Outcome of `exdiff enhance source -o out/`."""

    def call(source, *options):
        out = tmp_path / "out"
        code, stdout, stderr, error = enhance([source, "-o", out, "--model", tiny_model, *options])
        libraries = capfd.readouterr()
        return Outcome(Path(source), out, code, stdout, stderr, error, libraries.err + libraries.out)

    return call
