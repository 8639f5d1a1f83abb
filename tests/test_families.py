"""Any part can be combined with any other: `section.type=KIND` works in any order and anywhere on the command line."""

from __future__ import annotations

from itertools import combinations, permutations, product

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from exdiff.audio import encode
from exdiff.checkpoints.checkpoint import build_model, load_recipe
from exdiff.cli import app
from exdiff.core.recipe import Recipe
from exdiff.data.datasets import DATASETS
from exdiff.inference import from_recipe
from exdiff.model.backbones import BACKBONES
from exdiff.model.diffusion import PATHS
from exdiff.model.extractors import EXTRACTORS
from exdiff.model.fusion import FUSIONS
from exdiff.model.samplers import SAMPLERS
from exdiff.training import train

FAMILIES = {
    "path": PATHS,
    "sampler": SAMPLERS,
    "backbone": BACKBONES,
    "extractor": EXTRACTORS,
    "fusion": FUSIONS,
    "data": DATASETS,
}
NCSNPP = ["backbone.nf=8", "backbone.ch_mult=[1, 2]", "backbone.num_res_blocks=1", "backbone.attn_resolutions=[]"]
# Keys besides the type: what is required, and sizes that make a test fast.
KEYS = {
    ("backbone", "compact"): ["backbone.channels=[8, 12]", "backbone.hidden=8"],
    **{("backbone", name): NCSNPP for name in BACKBONES if name != "compact"},
    ("extractor", "compact"): ["extractor.channels=[8, 12]", "extractor.hidden=8"],
    ("extractor", "causal"): ["extractor.channels=[8, 12]", "extractor.hidden=8"],
    ("extractor", "resunet30"): ["extractor.channels=[8, 12]", "extractor.n_fft=256", "extractor.hop_length=80"],
    ("extractor", "spleeter"): ["extractor.channels=[4, 6]", "extractor.frames=64", "extractor.overlap=0"],
    ("extractor", "module"): [
        "extractor.factory=torch.nn:Conv1d",
        "extractor.latents=['']",
        "extractor.options={in_channels: 1, out_channels: 1, kernel_size: 5, padding: 2}",
    ],
}
QUICK = ["training.steps=1", "training.batch=1", "training.segment_seconds=0.3", "training.workers=0"]
QUICK += ["training.validate_examples=0"]
# Rows that together have every type. Extractors of ONNX files and data in shards or manifests have tests of their own.
COVERING = [
    ("ouve", "predictor_corrector", "compact", "compact", "add", "synthetic"),
    ("bbed", "euler_maruyama", "ncsnpp", "resunet30", "gated", "pairs"),
    ("bridge", "bridge_sde", "ncsnpp_v2", "module", "film", "songs"),
    ("flow", "heun", "ncsnpp_48k", "causal", "cross_attention", "pairs"),
    ("brownian", "exponential", "compact", "spleeter", "concat", "synthetic"),
    ("bridge", "bridge_ode", "compact", "compact", "none", "synthetic"),
]


@pytest.mark.parametrize(("one", "other"), tuple(combinations(FAMILIES, 2)))
def test_two_types_in_any_order_give_the_same_recipe(one, other):
    debug = Recipe.load("debug").to_dict()
    for kinds in product(FAMILIES[one], FAMILIES[other]):
        chosen = dict(zip((one, other), kinds, strict=True))
        texts = [f"{section}.type={kind}" for section, kind in chosen.items()]
        first, second = (Recipe.load("debug", order).to_dict() for order in permutations(texts))
        assert first == second
        for section, before in debug.items():
            kind = chosen.get(section)
            unchanged = kind is None or kind == before["type"]
            assert first[section] == (before if unchanged else {"type": kind}), section


@pytest.mark.parametrize(("one", "other"), tuple(combinations(("path", "extractor", "backbone", "fusion"), 2)))
def test_every_part_of_a_model_builds_with_every_other(one, other):
    for kinds in product(FAMILIES[one], FAMILIES[other]):
        if "onnx" in kinds:  # needs a file
            continue
        recipe = Recipe.load("debug", overrides(dict(zip((one, other), kinds, strict=True))))
        with torch.device("cpu" if "module" in kinds else "meta"):
            model = build_model(recipe)
        assert type(model.path) is PATHS[recipe.path["type"]]
        assert type(model.fusion) is FUSIONS[recipe.fusion["type"]]
        assert type(model.extractor) is EXTRACTORS[recipe.extractor["type"]]
        assert model.backbone is not None


def overrides(chosen: dict[str, str]) -> list[str]:
    """Keys come before their types: the order must not matter."""
    keys = [text for pair in chosen.items() for text in KEYS.get(pair, [])]
    return keys + [f"{section}.type={kind}" for section, kind in chosen.items()]


def test_the_covering_rows_have_every_type():
    for column, (section, table) in enumerate(FAMILIES.items()):
        elsewhere = {"extractor": {"onnx"}, "data": {"mix", "shards"}}.get(section, set())
        assert {row[column] for row in COVERING} | elsewhere == set(table)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A folder for each kind of data."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0).normal
    for name in ("pairs/clean/a", "pairs/noisy/a", "songs/a/vocals", "songs/a/accompaniment"):
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(path, draw(0, 0.1, (1, 16000)).astype(np.float32), 16000)
    songs = [f"data.roots=[{folder / 'songs'}]", "data.channels=1"]
    return {"pairs": [f"data.roots={folder / 'pairs'}"], "songs": songs}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EXDIFF_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("row", COVERING, ids=lambda row: "-".join(row))
def test_a_mixture_of_types_trains_and_enhances(row, roots, tmp_path):
    chosen = dict(zip(FAMILIES, row, strict=True))
    recipe = Recipe.load("debug", [*QUICK, *roots.get(chosen["data"], []), *overrides(chosen)])
    state = train(recipe, tmp_path / "run", device="cpu")
    assert state.step == 1
    audio = np.random.default_rng(0).normal(0, 0.1, 4800).astype(np.float32)
    enhanced = from_recipe(state.model.eval(), recipe, steps=2, device="cpu")(audio, 16000)
    assert enhanced.shape == audio.shape
    assert np.isfinite(enhanced).all()
    assert not np.allclose(enhanced, audio, atol=1e-4)


SMALL = ["backbone.hidden=16", "backbone.channels=[8, 12]"]


@pytest.mark.parametrize(
    ("change", "section"),
    [
        (["path.type=ouve", *SMALL], {"path": {"type": "ouve"}}),
        (["backbone.nf=8", "backbone.type=ncsnpp"], {"backbone": {"type": "ncsnpp", "nf": 8}}),
        (["fusion.type=gated", *SMALL], {"fusion": {"type": "gated"}}),
        ([*SMALL, "sampler.type=heun"], {"sampler": {"type": "heun"}}),
    ],
)
@pytest.mark.parametrize("data_first", [True, False])
def test_the_speech_recipe_takes_other_parts_from_the_command_line(change, section, data_first, roots, tmp_path):
    data = ["data.type=pairs", *roots["pairs"]]
    small = ["extractor.channels=[8, 12]", "extractor.hidden=16", "training.adversary=false"]
    texts = [*data, *change] if data_first else [*change, *reversed(data)]
    command = ["train", "speech", *texts, *small, *QUICK, "--device", "cpu", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    stored = load_recipe(tmp_path / "run" / "model").to_dict()
    for name, expected in section.items():
        assert stored[name] == expected
    assert stored["data"] == {"type": "pairs", "roots": roots["pairs"][0].partition("=")[2]}
    encode(tmp_path / "x.wav", np.random.default_rng(0).normal(0, 0.1, (1, 4800)).astype(np.float32), 16000)
    result = CliRunner().invoke(app, ["enhance", str(tmp_path / "x.wav"), "--model", str(tmp_path / "run" / "model")])
    assert result.exit_code == 0, result.output
