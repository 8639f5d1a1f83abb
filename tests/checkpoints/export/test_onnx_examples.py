"""What is shown of exported files works: the example, the sampler in the documents, the page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import torch

import exdiff
from exdiff.checkpoints.export import export
from exdiff.checkpoints.export.graphs import Whole

ROOT = Path(__file__).parents[3]
EXAMPLE, PAGE = ROOT / "examples" / "onnx" / "enhance.py", ROOT / "examples" / "onnx" / "browser"


def test_the_example_needs_no_torch_and_gives_what_exdiff_gives(checkpoint, exported, tmp_path):
    """A stereo recording in four windows; both results are rounded to 16 bits."""
    noisy = np.random.default_rng(0).uniform(-0.05, 0.05, (16000 * 7 + 123, 2)).astype(np.float32)
    soundfile.write(tmp_path / "noisy.wav", noisy, 16000, subtype="FLOAT")
    code = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['exdiff'] = None; "
        f"sys.argv[1:] = {[str(exported.path), str(tmp_path / 'noisy.wav'), str(tmp_path / 'out.wav')]}; "
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    found, rate = soundfile.read(tmp_path / "out.wav")
    enhancer = exdiff.load(
        checkpoint / "model", device="cpu", precision="fp32", segment_seconds=3.0, overlap_seconds=1.2
    )
    wanted = np.asarray(enhancer(noisy, 16000, channels_last=True))
    assert (rate, found.shape) == (16000, noisy.shape)
    assert enhancer.last.windows > 3
    assert np.abs(found - wanted).max() < 4e-5 < 0.01 < np.abs(wanted).max()
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 40


def test_the_sampler_in_the_documents_is_the_models_own(checkpoint, small_speech, tmp_path, monkeypatch):
    model, recipe = small_speech("enhancer.floor_db=null")
    done = export(model, recipe, tmp_path / "speech.onnx", steps=1, parts=True)
    assert max(file.deviation_db for file in done) < -60
    whole = Whole(model, recipe, 4)
    noisy = whole.signal(0.7)
    soundfile.write(tmp_path / "noisy.flac", noisy[0].numpy(), 16000, subtype="PCM_24")
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    code = re.findall(r"^```py\n(import numpy.*?)^```$", text, re.MULTILINE | re.DOTALL)[-1]
    monkeypatch.chdir(tmp_path)
    variables = {}
    exec(compile(code, "docs/export.md", "exec"), variables)
    with torch.no_grad():
        wanted = whole(noisy)[0].numpy()
    assert np.linalg.norm(variables["enhanced"] - wanted) < 1e-3 * np.linalg.norm(wanted)


def test_the_page_reads_what_the_file_says(exported):
    about = onnxruntime.InferenceSession(exported.path).get_modelmeta().custom_metadata_map
    code = (PAGE / "worker.js").read_text(encoding="utf-8") + (PAGE / "app.js").read_text(encoding="utf-8")
    named = set(re.findall(r"about\.(\w+)", code)) | set(re.findall(r'"(\w+_samples)"', code))
    assert {"model", "sample_rate", "window_samples"} <= named <= about.keys()
    package = json.loads((PAGE / "package.json").read_text(encoding="utf-8"))
    assert all(re.fullmatch(r"[\d.]+", version) for version in package["dependencies"].values())
