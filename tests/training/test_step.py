"""A step never waits for its device, and a bad batch spoils nothing."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from exdiff.checkpoints import build_model
from exdiff.core.recipe import Recipe
from exdiff.model.diffusion import Keys
from exdiff.training.batches import MicroBatch
from exdiff.training.log import RunningMeans
from exdiff.training.options import Options
from exdiff.training.setup import _state_of
from exdiff.training.step import _update_average, train_step
from exdiff.training.world import World

NARROW = ["data={type: synthetic}", "extractor.channels=[8, 12]", "extractor.blocks=1", "extractor.middle=1"]
NARROW += ["extractor.hidden=8"]
SMALL = [*NARROW, "backbone.channels=[8, 12]", "backbone.hidden=8"]
JUDGES = "training.adversary={conditional: true, resolutions: [64, 256], periods: [3], start: 0}"
NORMED = "extractor={type: resunet30, channels: [4, 6], rate: 16000, n_fft: 64, hop_length: 32}"
EVERYTHING = "objective.weights={resolutions: 1.0, loudness: 1.0, loudness_symmetric: 1.0, squared: 1.0, waveform: 1.0}"
KINDS = {
    "debug": ("debug", []),
    "debug frozen": ("debug", ["objective.joint=false"]),
    "debug judged": ("debug", [JUDGES, EVERYTHING]),
    "debug noise": ("debug", ["model.output=noise"]),
    "debug accumulated": ("debug", ["training.accumulate=2"]),
    "debug without extractor": ("debug", ["extractor={}", "fusion={}", "objective.joint=false", "model.level=peak"]),
    "debug batch norm": ("debug", [NORMED]),
    "debug judged adamw": ("debug", ["training.adversary=true", "training.optimiser=adamw"]),
    "debug judged muon": ("debug", ["training.adversary=true", "training.optimiser=muon"]),
    "speech": ("speech", SMALL),
    "speech judged": ("speech", [*SMALL, "training.adversary=true"]),
    "speech frozen": ("speech", [*SMALL, "objective.joint=false"]),
    "speech frozen denoised": ("speech", [*SMALL, "objective.joint=false", "objective.denoise_targets=true"]),
    "speech joint denoised": ("speech", [*SMALL, "objective.denoise_targets=0.97", "objective.denoiser=speech"]),
    "speech-extractor": ("speech-extractor", NARROW),
}
LAST_STEP = {"debug last step": ("debug", ["objective.last_step=2", "path={type: brownian}"])}
READS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "item", "_unique2", "bincount")


class NoWaiting(TorchDispatchMode):
    """Raises where a GPU's host would wait: reading a value, and copies between host and device that are not queued."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        name, device = function.overloadpacket.__name__, arguments[0].device if _is_tensor(arguments) else None
        if name in READS and (device is None or device.type == self.device):
            raise AssertionError(f"{name} waits for the device")
        result = function(*arguments, **options)
        source = arguments[1].device if name == "copy_" else device
        if name in ("copy_", "_to_copy") and result.device.type != source.type and not options.get("non_blocking"):
            raise AssertionError(f"{name} from {source} to {result.device} waits for the device")
        return result

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device


def _is_tensor(arguments) -> bool:
    return bool(arguments) and isinstance(arguments[0], torch.Tensor)


class MetaWorld(World):
    """Tensors without values: whoever reads one gets an error."""

    def autocast(self):
        return nullcontext()


def prepared(kind: str, device: str):
    """State, batch, options and world of a run."""
    name, changes = (KINDS | LAST_STEP)[kind]
    recipe = Recipe.load(
        name, ["training.batch=2", "training.segment_seconds=0.2", "training.precision=fp32", *changes]
    )
    options = Options.of(recipe.training)
    world = (MetaWorld if device == "meta" else World)(torch.device(device), torch.float32)
    torch.manual_seed(0)
    state = _state_of(build_model(recipe), recipe, options, world)
    return state, batch_for(options, recipe, device), options, world


def batch_for(options: Options, recipe: Recipe, device: str) -> list[MicroBatch]:
    size, length = options.batch // options.accumulate, round(options.segment_seconds * recipe.sample_rate)
    parts = []
    for number in range(options.accumulate):
        clean = 0.1 * torch.randn(size, recipe.channels, length, generator=torch.Generator().manual_seed(number))
        mixture = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(9 + number))
        keys = Keys(torch.arange(size) + 10 * number)
        parts.append(MicroBatch(clean.to(device), mixture.to(device), Keys(keys.keys.to(device))))
    return parts


def short_lstm(self, rows, state=None):
    """One product in the place of torch's LSTM: one operator on a GPU, but thousands without values."""
    weights = torch.cat([getattr(self, f"weight_ih_l0{way}")[: self.hidden_size] for way in ("", "_reverse")])
    return torch.nn.functional.linear(rows, weights), state


@pytest.mark.parametrize("kind", KINDS | LAST_STEP)
def test_a_step_reads_no_value_of_its_device(kind, monkeypatch):
    enabled = torch.is_autocast_enabled
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind != "meta" and enabled(kind))
    monkeypatch.setattr(torch.nn.LSTM, "forward", short_lstm)
    state, batch, options, world = prepared(kind, "meta")
    train_step(state, batch, 1e-3, options, world)  # windows and bands are made once
    with NoWaiting("meta"):
        state.means.add(train_step(state, batch, 1e-3, options, world), 0.0)
    assert state.step == 2
    with pytest.raises(RuntimeError, match="meta"):
        state.means.read()


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_on_the_cpu_reads_nothing_either(kind):
    state, batch, options, world = prepared(kind, "cpu")
    train_step(state, batch, 1e-3, options, world)  # windows and bands are made once
    with NoWaiting("cpu"):
        state.means.add(train_step(state, batch, 1e-3, options, world), 0.0)
    sums, skipped = state.means.read()
    assert sums["loss"] != 0
    assert skipped == 0
    assert "adversary" in sums or state.adversary is None


def test_nor_does_a_step_in_bfloat16():
    state, batch, options, world = prepared("debug judged muon", "cpu")
    world.dtype = torch.bfloat16
    train_step(state, batch, 1e-3, options, world)
    with NoWaiting("cpu"):
        losses = train_step(state, batch, 1e-3, options, world)
    assert all(loss.isfinite() for loss in losses.values())


def test_whoever_reads_is_caught():
    with pytest.raises(AssertionError, match="_local_scalar_dense waits"), NoWaiting("cpu"):
        float(torch.ones(()))
    with pytest.raises(AssertionError, match="from cpu to meta waits"), NoWaiting("meta"):
        torch.ones(2).to("meta")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
def test_a_bad_batch_spoils_nothing(bad, optimiser):
    state, batch, options, world = prepared(f"debug judged {optimiser}", "cpu")
    train_step(state, batch, 1e-3, options, world)
    before = copy.deepcopy((state.model.state_dict(), state.adversary.state_dict(), state.optimiser.state_dict()))
    spoiled = MicroBatch(batch[0].clean * bad, batch[0].mixture, batch[0].noise)
    state.means.add(train_step(state, [spoiled], 1e-3, options, world), 0.0)
    assert state.means.read()[1] == 1
    after = state.model.state_dict(), state.adversary.state_dict(), state.optimiser.state_dict()
    for key, value in flat(before).items():
        assert torch.equal(flat(after)[key], value), key
    assert all(v.isfinite().all() for v in state.ema.module.state_dict().values())
    train_step(state, batch, 1e-3, options, world)
    assert any(not torch.equal(value, flat(before)[key]) for key, value in flat(state.model.state_dict(), "0").items())


def test_nor_the_running_averages_of_batch_norms():
    state, batch, options, world = prepared("debug batch norm", "cpu")
    train_step(state, batch, 1e-3, options, world)
    before = copy.deepcopy(dict(state.model.named_buffers()))
    spoiled = MicroBatch(batch[0].clean, batch[0].mixture * torch.inf, batch[0].noise)
    train_step(state, [spoiled], 1e-3, options, world)
    for module in (state.model, state.ema.module):
        assert all(torch.equal(value, before[key]) for key, value in module.named_buffers())
    train_step(state, batch, 1e-3, options, world)
    changed = [key for key, value in state.ema.module.named_buffers() if not torch.equal(value, before[key])]
    assert any(key.endswith("running_mean") for key in changed)


@pytest.mark.parametrize(("decay", "steps"), [(0.999, 100), (0.9, 500)])
def test_the_average_of_a_short_run_forgets_the_first_weights(decay, steps):
    """With weights that grow by one a step, it stays a few steps behind; a constant 0.999 would hold 90 % after 100."""
    state, *_ = prepared("debug", "cpu")
    averaged, weight = (next(iter(m.parameters())).detach() for m in (state.ema.module, state.model))
    averaged.fill_(-1e6)
    for state.step in range(steps):
        weight.fill_(float(state.step))
        _update_average(state, decay, torch.tensor(True))
    assert steps - 12 < float(averaged.flatten()[0]) < steps


def flat(value, prefix=""):
    """All tensors of a nested state by their place."""
    if isinstance(value, torch.Tensor):
        return {prefix: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else []
    return {k: v for key, part in pairs for k, v in flat(part, f"{prefix}.{key}" if prefix else str(key)).items()}


def test_sums_of_losses_are_saved_and_gone_on_with():
    means = RunningMeans()
    rows = [{"loss": torch.tensor(value), "grad_norm": torch.tensor(2.0)} for value in (1.0, torch.nan, 4.0)]
    for row in rows[:2]:
        means.add(row, 0.5)
    means.seconds = 2.0
    again = RunningMeans.of(means.state_dict())
    for either in (means, again):
        either.add(rows[2], 0.5)
        line = either.line(Options(batch=2, segment_seconds=2.0))
        assert line == {"loss": 2.5, "grad_norm": 2.0, "skipped": 1, "audio_per_second": 6.0, "waiting": 0.75}


def test_means_of_nothing_but_skipped_steps_say_so():
    means = RunningMeans()
    means.add({"loss": torch.tensor(torch.nan)}, 0.0)
    means.seconds = 1.0
    again = RunningMeans.of({**means.state_dict(), "sums": {}})  # as earlier versions saved it
    again.add({"loss": torch.tensor(torch.inf)}, 0.0)
    assert again.line(Options())["skipped"] == 2
    assert "loss" not in again.line(Options())
