"""What a step computes does not depend on how it is divided."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exdiff.core.errors import ConfigError
from exdiff.data.datasets import Synthetic
from exdiff.model.diffusion import normal_like
from exdiff.training import Options, loop, train
from exdiff.training.batches import Batches, _batched, combined_seed, indices_of
from exdiff.training.world import World


class Numbers:
    """Example i holds the number i."""

    def __getitem__(self, index):
        return np.full(3, index, np.float32), np.full(3, -index, np.float32)


def alone(rank=0, count=1):
    world = World(torch.device("cpu"), torch.float32)
    world.rank, world.size = rank, count
    return world


@pytest.mark.parametrize(("count", "accumulate"), [(1, 1), (2, 1), (1, 3), (3, 2), (6, 2)])
def test_the_parts_are_the_whole_in_order(count, accumulate):
    options = Options(batch=12, accumulate=accumulate)
    parts = [part for rank in range(count) for part in indices_of(5, options, alone(rank, count))]
    assert len(parts) == count * accumulate
    assert [index for part in parts for index in part] == list(range(60, 72))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_process_gets_its_examples_and_their_noise(workers):
    options = Options(steps=4, batch=4, workers=workers, seed=7)
    noise = {}
    for rank in (0, 1):
        found = Batches(Numbers(), options, 2, alone(rank, 2))
        for step, (part,) in zip((2, 3), found, strict=True):
            indices = [4 * step + 2 * rank, 4 * step + 2 * rank + 1]
            assert part.clean[:, 0, 0].tolist() == indices
            assert torch.equal(part.mixture, -part.clean)
            noise |= dict(zip(indices, normal_like(part.clean, part.noise), strict=True))
        found.close()
    whole = list(Batches(Numbers(), Options(steps=4, batch=4, workers=0, seed=7), 2, alone()))
    for (part,) in whole:
        drawn = normal_like(part.clean, part.noise)
        for index, one in zip(part.clean[:, 0, 0].int().tolist(), drawn, strict=True):
            assert torch.equal(noise[index], one)
    assert len({float(n[0, 0]) for n in noise.values()}) == 8


def test_neighbouring_examples_begin_unlike():
    seeds = [combined_seed(0, index) for index in range(1000)]
    first = torch.cat([torch.rand(1, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    steps = torch.corrcoef(torch.stack([first[:-1], first[1:]]))[0, 1]
    assert abs(steps) < 0.1
    assert abs(first.mean() - 0.5) < 0.03


def test_accumulation_takes_the_same_steps(tmp_path, recipe, lines):
    # With other seeds, an example that is nearly silent may make a difference in rounding grow, also between two runs.
    plan = ["training.batch=4", "training.steps=8", "training.seed=3"]
    whole = train(recipe(*plan), tmp_path / "whole")
    parts = train(recipe(*plan, "training.accumulate=4"), tmp_path / "parts")
    a, b = (torch.cat([p.detach().flatten() for p in run.model.parameters()]) for run in (whole, parts))
    assert (a - b).norm() < 1e-4 * a.norm()
    for one, other in zip(lines(tmp_path / "whole"), lines(tmp_path / "parts"), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_examples_have_one_channel_or_more(shape):
    class Ones:
        def __getitem__(self, index):
            return np.ones(shape, np.float32), np.zeros(shape, np.float32)

    [part] = next(Batches(Ones(), Options(steps=1, batch=4, workers=0), 0, alone()))
    assert part.clean.shape == part.mixture.shape == (4, 2 if len(shape) == 2 else 1, 3)
    assert part.clean.all()
    assert not part.mixture.any()


@pytest.mark.parametrize(("count", "accumulate"), [(1, 1), (2, 1), (1, 2)])
def test_batches_made_on_the_device_hold_the_same_examples_and_noise(count, accumulate):
    source = Synthetic(segment_seconds=0.05, sample_rate=16000)
    for rank in range(count):
        host, device = (
            Batches(
                source, Options(steps=4, batch=4, workers=0, accumulate=accumulate, mixer=mixer), 1, alone(rank, count)
            )
            for mixer in ("host", "device")
        )
        for ours, theirs in zip(host, device, strict=True):
            assert len(ours) == len(theirs) == accumulate
            for a, b in zip(ours, theirs, strict=True):
                torch.testing.assert_close(a.clean, b.clean)
                torch.testing.assert_close(a.mixture, b.mixture)
                assert torch.equal(a.noise.keys, b.noise.keys)
        device.close()


def test_a_run_with_batches_made_ahead_is_resumed_to_the_bit(tmp_path, recipe, same, monkeypatch):
    plan = recipe("training.steps=4", "training.mixer=device")
    train(plan, tmp_path / "whole")
    step = loop.train_step

    def interrupted(state, *arguments):
        if state.step == 2:
            raise ConfigError("stop here")
        return step(state, *arguments)

    monkeypatch.setattr(loop, "train_step", interrupted)
    with pytest.raises(ConfigError, match="stop here"):
        train(plan, tmp_path / "cut")
    monkeypatch.setattr(loop, "train_step", step)
    train(plan, tmp_path / "cut", resume=True)
    same(tmp_path / "whole", tmp_path / "cut")


def test_a_data_set_without_batches_cannot_be_mixed_on_the_device():
    with pytest.raises(ConfigError, match="mixer=device, but Numbers cannot make batches .* use mixer=auto"):
        Batches(Numbers(), Options(workers=0, mixer="device"), 0, alone())
    assert next(Batches(Numbers(), Options(workers=0, mixer="auto"), 0, alone()))


def test_auto_mixes_on_every_device_but_the_cpu():
    source = Synthetic(segment_seconds=0.05, sample_rate=16000)
    for device, chosen in (("cpu", None), ("cuda", source), ("mps", source)):
        assert _batched(source, Options(), torch.device(device)) is chosen
        assert _batched(source, Options(mixer="host"), torch.device(device)) is None
        assert _batched(Numbers(), Options(), torch.device(device)) is None
