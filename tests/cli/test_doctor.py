"""`exdiff doctor` tells what a bug report needs, whatever is broken."""

from __future__ import annotations

import base64
import hashlib
import json
import tomllib
from importlib.metadata import FileHash, PackageNotFoundError, PackagePath
from pathlib import Path

import numpy as np
import pytest

import exdiff
from exdiff.checkpoints.checkpoint import locate
from exdiff.cli import diagnosis, hardware
from exdiff.cli.diagnosis import SECTIONS, Fact
from exdiff.cli.doctor import public
from exdiff.inference import loading

ROOT = Path(__file__).parents[2]


@pytest.fixture
def only(monkeypatch):
    """`only("cache")` leaves this section alone; `only(cache=...)` puts another in its place."""

    def choose(*names, **replaced):
        monkeypatch.setattr(diagnosis, "SECTIONS", {name: SECTIONS[name] for name in names} | replaced)

    return choose


def found(run):
    result = run("doctor", "--json")
    return json.loads(result.stdout), result.exit_code


def test_a_healthy_machine(run):
    result = run("doctor")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "all that enhancing needs works"
    assert "BROKEN" not in result.stdout
    for line in (f"  exdiff:         {exdiff.__version__} in ", "  speech:         11.2 MB, ", "cpu", "Apache-2.0"):
        assert line in result.stdout
    assert result.stdout.count("the result is finite") == 1
    assert [line[:-1] for line in result.stdout.splitlines() if line.endswith(":")] == list(SECTIONS)


def test_json_holds_the_same(run, only):
    only("machine", "computing", "cache")
    report, code = found(run)
    assert code == 0
    assert (report.pop("ok"), report.pop("problems")) == (True, [])
    text = run("doctor").stdout
    for section, facts in report.items():
        assert f"{section}:" in text
        for name, value in facts.items():
            assert f"  {name + ':':<15} " in text
            assert value in text or name in ("memory", "disk"), "those two change"


def test_what_is_broken_hides_nothing_else(run, only):
    def broken():
        raise RuntimeError(f"no such\nthing in {Path.home() / 'x'}")

    def unlisted():
        raise ImportError("libgomp.so.1: cannot open")
        yield

    only(one=lambda: iter([Fact("first", broken), Fact("second", lambda: "fine")]))
    report, code = found(run)
    assert (report["ok"], code) == (True, 0), "enhancing works without it"
    assert report["one"] == {"first": f"BROKEN: RuntimeError: no such thing in {Path('~/x')}", "second": "fine"}
    only(one=lambda: iter([Fact("first", broken, needed=True)]), two=unlisted)
    report, code = found(run)
    assert (report["problems"], code) == (["one: first", "two: all"], 1)
    assert report["two"] == {"all": "BROKEN: ImportError: libgomp.so.1: cannot open"}
    assert run("doctor").stdout.splitlines()[-1] == "broken: one: first, two: all"


def test_the_home_folder_is_not_told(run, only, monkeypatch, tmp_path):
    home = tmp_path / "home" / "ada"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("EXDIFF_CACHE", str(home / "cache"))
    only("versions", "cache")
    result = run("doctor")
    assert "ada" not in result.stdout
    assert f"folder:         {Path('~/cache')}, not there yet" in result.stdout
    assert public(f"{home}x {home}-2 '{home}'") == f"{home}x {home}-2 '~'", "other folders stay"
    assert not (home / "cache").exists(), "a look changes nothing"


def test_precision_and_why(run, only, monkeypatch):
    only("computing")
    facts = found(run)[0]["computing"]
    assert facts["precision"].startswith(("bf16: here bf16 takes ", "fp32: here bf16 takes "))
    assert "channels last takes" in facts["memory format"]
    monkeypatch.setenv("EXDIFF_PRECISION", "fp32")
    facts = found(run)[0]["computing"]
    assert facts["precision"] == "fp32, because EXDIFF_PRECISION says so"
    assert "EXDIFF_PRECISION=fp32" in facts["settings"]
    monkeypatch.setenv("EXDIFF_PRECISION", "fp8")
    report, code = found(run)
    assert "unknown precision 'fp8'" in report["computing"]["precision"]
    assert (code, report["problems"]) == (1, ["computing: precision", "computing: memory format"])


def test_limits_of_a_container(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "_CGROUP", tmp_path)
    assert "container" not in hardware.cores() + hardware.memory()
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("2000000000\n")
    assert hardware.cores().endswith("for 1.5 cores' time (a container's limit)")
    if Path("/proc/meminfo").exists():
        assert hardware.memory().endswith("at most 2.0 GB in this container")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert "container" not in hardware.cores()


def test_weights_are_compared_with_the_record(run, only, monkeypatch):
    file = locate("speech") / "model.safetensors"
    good = base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode()
    entry = PackagePath(file)
    monkeypatch.setattr(PackagePath, "locate", lambda self: file, raising=False)
    monkeypatch.setattr(diagnosis.metadata, "files", lambda name: [entry])
    entry.hash = FileHash(f"sha256={good}")
    only("models")
    assert found(run)[0]["models"]["speech"].endswith("intact")
    entry.hash = FileHash("sha256=AAAA")
    report, code = found(run)
    assert "model.safetensors has changed since it was installed" in report["models"]["speech"]
    assert (code, report["problems"]) == (1, ["models: speech"])


def test_a_result_that_is_not_finite(run, only, monkeypatch):
    class Broken:
        def run(self, noise, rate):
            return np.full_like(noise, np.nan), None

    monkeypatch.setattr(loading, "load", lambda name: Broken())
    only("trial")
    report, code = found(run)
    assert code == 1
    assert "not finite" in report["trial"]["enhance"]
    assert "BROKEN" not in report["trial"]["files"]


def test_extras(run, only, monkeypatch):
    monkeypatch.setattr(diagnosis.metadata, "requires", lambda name: ["no-such-thing>=2; extra == 'compare'", "numpy"])
    only("extras")
    facts = found(run)[0]["extras"]
    assert facts["compare"] == (
        'not installed (no-such-thing): the page of `exdiff compare`; type: pip install "exdiff[compare]"'
    )
    assert facts["shards"] == "installed"

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(diagnosis.metadata, "metadata", missing)
    report, code = found(run)
    assert code == 0
    assert "unknown" in report["extras"]["all"]


def test_every_extra_has_a_purpose():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(diagnosis.PURPOSES) == set(project["optional-dependencies"]) - {"all", "dev", "docs"}
