"""Uncertainty by hand, which sampling draws, and whether a correlation is found that is there."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr

from exdiff.core.errors import ConfigError
from exdiff.evaluation import Pair, to_markdown
from exdiff.evaluation.report import trust_tables
from exdiff.evaluation.statistics import clustered_correlation, spearman
from exdiff.evaluation.trust import (
    assess,
    check_samples,
    difference_db,
    edges_of,
    flags_of,
    predictive_value,
    sampling,
    spread_db,
)
from exdiff.model.diffusion import BrownianPath, OUVEPath
from exdiff.model.samplers import SAMPLERS

RATE = 100


class Enhancer:
    """A model that invents something in its second second, louder with every seed, unless it is the extractor."""

    def __init__(self, path=None, sampler="exponential", steps=1, extractor=True):
        self.model = SimpleNamespace(path=path or BrownianPath(), extractor=object() if extractor else None)
        self.sampler, self.steps, self.seen = SAMPLERS[sampler], steps, []

    def __call__(self, audio, rate, *, steps=None, seed=0, sampler=None):
        self.seen.append((steps, seed, sampler))
        invented = np.zeros_like(audio)
        if steps != 0:
            invented[..., rate : 2 * rate] = 0.5 * (seed + 1)
        return audio + invented


def test_the_spread_by_hand():
    a = np.ones(2 * RATE)
    b = np.concatenate([np.ones(RATE), np.full(RATE, 3.0)])
    # second 2: mean 2, variance 2 (of two values, unbiased), energy 4
    assert spread_db([a, b], RATE) == [-80.0, pytest.approx(10 * np.log10(2 / 4), abs=0.01)]
    assert spread_db([np.stack([a, a]), np.stack([b, b])], RATE)[1] == pytest.approx(-3.01)
    quiet = np.concatenate([np.ones(RATE), np.full(RATE, 1e-4)])
    # a pause is set against a thousandth of the mean energy, a half here, and not against itself
    assert difference_db(quiet, 0 * quiet, RATE, relative_to=quiet)[1] == pytest.approx(
        10 * np.log10(1e-8 / (1e-3 * 0.5)), abs=0.01
    )
    assert difference_db(a, a, RATE) == [-80.0, -80.0]
    assert difference_db(0 * a, 0 * a, RATE) == [-80.0, -80.0], "silence differs from silence by nothing"


def test_seconds_at_the_end():
    for total in (30, 100, 149, 150, 249, 251):
        edges = edges_of(total, RATE)
        assert edges[0] == 0 and edges[-1] == total
        assert len(spread_db([np.ones(total), np.zeros(total)], RATE)) == len(edges) - 1
        assert all(RATE // 2 <= size < 1.5 * RATE for size in np.diff(edges)) or total < RATE // 2


@pytest.mark.parametrize(
    ("path", "own", "steps", "expected"),
    [
        (BrownianPath(), "exponential", 1, {"sampler": "bridge_sde", "steps": 4}),
        (BrownianPath(), "exponential", 8, {"sampler": "bridge_sde", "steps": 8}),
        (BrownianPath(), "bridge_sde", 2, {"sampler": "bridge_sde", "steps": 2}),
        (BrownianPath(), "bridge_sde", 1, {"sampler": "bridge_sde", "steps": 4}),
        (OUVEPath(), "exponential", 1, {"sampler": "exponential", "steps": 1}),
        (OUVEPath(), "predictor_corrector", 30, {"sampler": "predictor_corrector", "steps": 30}),
        (BrownianPath(), "exponential", 0, None),
        (None, "exponential", 1, None),
    ],
)
def test_the_sampling_draws_or_says_that_there_is_none(path, own, steps, expected):
    enhancer = Enhancer(sampler=own, steps=steps)
    enhancer.model.path = path
    assert sampling(enhancer) == expected


def test_what_it_chooses_depends_on_the_seed():
    """On a real model: the deterministic bridge gives one answer, its posterior steps several."""
    import torch

    from exdiff.checkpoints.checkpoint import build_model
    from exdiff.core.recipe import Recipe
    from exdiff.inference.loading import from_recipe

    torch.manual_seed(0)
    overrides = ["path.type=brownian", "sampler.type=exponential", "sampler.steps=1", "sampler.t_end=0.0"]
    recipe = Recipe.load("debug", overrides)
    model = build_model(recipe)
    for weight in model.backbone.parameters():  # its last layer starts at zero, and says the same whatever it is asked
        torch.nn.init.normal_(weight, std=0.1)
    enhancer = from_recipe(model, recipe)
    noise = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    assert np.array_equal(enhancer(noise, 16000, seed=1), enhancer(noise, 16000, seed=2))
    one, two = (enhancer(noise, 16000, seed=seed, **sampling(enhancer)) for seed in (1, 2))
    assert not np.allclose(one, two)
    system = functools.partial(enhancer)
    table = assess(system, Pair("p", noise, noise, 16000), enhancer(noise, 16000), 2)
    assert len(table["uncertainty"]) == len(table["disagreement"]) == 1
    assert -80 < table["uncertainty"][0] < 80


def test_assess_draws_with_seeds_of_its_own_and_flags_what_was_invented():
    enhancer = Enhancer()
    mixture = np.ones(3 * RATE)
    pair = Pair("p", mixture, mixture, RATE)
    system = functools.partial(enhancer, seed=5)
    table = assess(system, pair, system(mixture, RATE), 3)
    assert enhancer.seen[1:] == [(4, 5, "bridge_sde"), (4, 6, "bridge_sde"), (4, 7, "bridge_sde"), (0, 5, None)]
    assert (table["samples"], table["sampler"], table["steps"]) == (3, "bridge_sde", 4)
    # draws of 4, 4.5 and 5: variance 0.25, mean 4.5
    assert table["uncertainty"][1] == pytest.approx(10 * np.log10(0.25 / 4.5**2), abs=0.01)
    assert table["uncertainty"][0] == table["disagreement"][0] == table["error"][0] == -80.0
    assert table["error"][1] == pytest.approx(20 * np.log10(3.0), abs=0.01)
    assert table["flags"] == [{"start": 1, "end": 2, "why": "disagreement"}]
    assert assess(functools.partial(Enhancer(extractor=False)), pair, mixture, 2)["disagreement"] is None
    held = functools.partial(enhancer, steps=6, sampler="heun")
    assert assess(held, pair, mixture, 2)["sampler"] == "bridge_sde" and enhancer.seen[-1] == (0, 0, None)
    for other in (lambda audio, rate: audio, functools.partial(Enhancer(), steps=0)):
        assert assess(other, pair, mixture, 2) is None


def test_flags_join_neighbouring_seconds():
    levels = [0.0, -20.0, -14.9, 3.0, -15.0, 1.0]
    assert [(f["start"], f["end"]) for f in flags_of({"u": levels}, -15.0)] == [(0, 1), (2, 4), (5, 6)]
    assert flags_of({"u": [], "v": [-90.0]}, -15.0) == []


def test_spearman_is_scipy_s_with_ties():
    rng = np.random.default_rng(0)
    for _ in range(5):
        x, y = rng.integers(0, 6, (2, 40))
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_the_interval_knows_that_seconds_of_one_file_belong_together():
    """Files that differ in level, and nothing within them: what pooled seconds call certain, few files leave open."""
    rng = np.random.default_rng(3)
    levels = rng.normal(0, 5, (2, 6))
    files = [(a + rng.normal(size=30), b + rng.normal(size=30)) for a, b in levels.T]
    singles = [(x[i : i + 1], y[i : i + 1]) for x, y in files for i in range(30)]
    clustered, pooled = clustered_correlation(files), clustered_correlation(singles)
    assert clustered["rho"] == pooled["rho"]
    width = [result["ci95"][1] - result["ci95"][0] for result in (clustered, pooled)]
    assert width[0] > 2 * width[1]
    assert clustered_correlation([]) == {"rho": None, "ci95": None}
    assert clustered_correlation(files[:5])["ci95"] is None


def test_predictive_value_and_its_table():
    def row(file, uncertainty, flags):
        table = {"uncertainty": uncertainty, "disagreement": None, "removed": uncertainty[::-1]}
        return {"file": file, "system": "s", "trust": table | {"error": [1.0, 2.0, 3.0], "flags": flags}}

    flags = [{"start": 0, "end": 2, "why": "disagreement"}, {"start": 1, "end": 2, "why": "uncertainty"}]
    rows = [row("1", [-9.0, -8.0, -7.0], flags), *(row(str(n), [-9.0, -8.5, -7.5], []) for n in range(2, 7))]
    value = predictive_value([*rows, {"file": "1", "system": "mixture"}], "s")
    assert (value["files"], value["seconds"]) == (6, 18)
    assert value["flagged"] == pytest.approx(2 / 18), "a second with two reasons counts once"
    assert value["uncertainty"]["rho"] > 0.9 and value["removed"]["rho"] < -0.9
    assert value["disagreement"]["rho"] is None
    gained = value["uncertainty"]["rho"] - value["removed"]["rho"]
    assert value["beyond_removed"]["rho"] == pytest.approx(gained)
    assert value["beyond_removed"]["ci95"][0] > 1.5, "resampled together, the two keep their distance"
    table = trust_tables({"s": value})[0].splitlines()[-1]
    assert table.startswith("| s | 18 | 11.1 % | +0.9") and "n/a" in table
    score = {"mean": 1.0, "ci95": None, "median": 1.0, "nan": 0}
    system = {"pesq": score, "rtf": None, "errors": 0}
    result = {"data": "d", "files": 2, "systems": {"s": system}, "paired": {}, "trust": {"s": value}}
    assert table in to_markdown(result)


def test_one_sample_is_no_spread():
    for wrong in (1, -2):
        with pytest.raises(ConfigError, match=f"samples must be 2 or more .* got {wrong}"):
            check_samples(wrong)
    check_samples(0)
