"""What users install: complete, small, the same bytes from the tree and from the sdist, one version everywhere."""

from __future__ import annotations

import filecmp
import os
import re
import tarfile
import zipfile
from pathlib import Path

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import exdiff

ROOT = Path(__file__).parents[1]
LARGEST_WHEEL = 25e6  # bytes


def build(builder, target):
    return Path(next(builder.build(directory=str(target), versions=["standard"])))


def test_the_wheel_holds_what_users_need_and_no_more(tmp_path):
    wheel = build(WheelBuilder(str(ROOT)), tmp_path)
    assert wheel.name.startswith(f"exdiff-{exdiff.__version__}-py3-none-any")
    assert wheel.stat().st_size < LARGEST_WHEEL
    held = set(zipfile.ZipFile(wheel).namelist())
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "exdiff").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {Path(name).suffix for name in source} >= {".py", ".yaml", ".json", ".safetensors", ".html", ".typed"}
    about = f"exdiff-{exdiff.__version__}.dist-info"
    others = {f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    others |= {f"{about}/licenses/LICENSE", f"{about}/licenses/NOTICE"}
    others |= {f"exdiff-{exdiff.__version__}.data/data/share/man/man1/exdiff.1"}
    assert held == source | others, "no tests, no caches"


def test_builds_are_reproducible(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    wheel, sdist = (build(builder(str(ROOT)), tmp_path / "first") for builder in (WheelBuilder, SdistBuilder))
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    tree = tmp_path / sdist.name.removesuffix(".tar.gz")
    for path in tree.rglob("*"):  # what differs from one machine to the next
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path)
    for builder, first in ((WheelBuilder, wheel), (SdistBuilder, sdist)):
        second = build(builder(str(tree)), tmp_path / "second")
        assert filecmp.cmp(second, first, shallow=False), f"{first.name} differs"
    assert zipfile.ZipFile(wheel).getinfo("exdiff/__init__.py").date_time[:3] == (2023, 11, 14)
    assert (tree / "model_cards").is_dir(), "the documents link to them"


def test_one_version_everywhere():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", exdiff.__version__)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {exdiff.__version__}\n" in citation
