"""The causal extractor: live and whole agree, nothing is heard beyond the latency, and levels hardly matter."""

from __future__ import annotations

import pytest
import torch

from exdiff.model.extractors import CausalExtractor

HOP = 63


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def extractor() -> CausalExtractor:
    torch.manual_seed(0)
    made = CausalExtractor(8000, channels=(8, 12), blocks=2, middle=1, hidden=6, hop_length=HOP)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval().requires_grad_(False)


def difference_db(estimate: torch.Tensor, expected: torch.Tensor) -> float:
    return float(10 * torch.log10((estimate - expected).square().mean() / expected.square().mean()))


@pytest.mark.parametrize("hops", [(1,) * 40, (7, 1, 20, 12), (40,)])
def test_step_by_step_is_the_whole(extractor, hops):
    mixture = noise(2, 2, 40 * HOP) * torch.linspace(0.01, 1, 40 * HOP)
    state, parts, start = None, [], 0
    for count in hops:
        part, state = extractor.step(mixture[..., start : start + count * HOP], state)
        parts.append(part)
        start += count * HOP
    # One hop late: the first one precedes the signal.
    live = torch.cat(parts, -1)
    assert difference_db(live[..., HOP:], extractor(mixture).estimate[..., :-HOP]) < -100


@pytest.mark.parametrize("place", [20 * HOP, 20 * HOP + 1, 20 * HOP + 40])
def test_nothing_depends_on_what_comes_after_the_latency(extractor, place):
    mixture = noise(1, 1, 40 * HOP)
    other = mixture.clone()
    other[..., place:] = noise(1, 1, 40 * HOP - place, seed=1)
    same = (extractor(mixture).estimate == extractor(other).estimate)[0, 0]
    assert extractor.latency == 2 * HOP
    assert same[: place - extractor.latency + 1].all()
    first = int((~same).nonzero()[0])
    assert place - extractor.latency < first <= place - extractor.latency + 2 * HOP, "the latency is not overstated"


def test_the_latency_is_reached(extractor):
    """The first sample of a hop depends on the last one of the frame that begins with it."""
    place = 20 * HOP - 1
    mixture = noise(1, 1, 40 * HOP)
    other = mixture.clone()
    other[..., place:] += 10
    changed = (extractor(mixture).estimate != extractor(other).estimate)[0, 0].nonzero()
    assert int(changed[0]) - (place - extractor.latency) in (1, 2), "the window is zero at its first sample"


@pytest.mark.parametrize("scale", [0.01, 0.1, 10.0])
def test_the_level_hardly_matters(extractor, scale):
    """In training the mixture is scaled (levels.py), in a stream it is not."""
    mixture = 0.1 * noise(1, 1, 40 * HOP)
    estimate = extractor(mixture).estimate
    assert difference_db(estimate, mixture) > -20, "otherwise nothing is tested"
    assert difference_db(extractor(scale * mixture).estimate / scale, estimate) < -50


def test_the_level_follows_an_onset_at_once_and_forgets_it_slowly(extractor):
    """What the network hears never is far above its level, and quiet speech after loud speech stays quiet a while."""
    heard = []
    hook = extractor.inlet.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    level = torch.cat([torch.full((8000,), 1e-3), torch.ones(8000), torch.full((8000,), 0.1)])
    extractor(level * noise(1, 1, 24000))
    hook.remove()
    rms = heard[0][:, 8:12].square().mean((0, 1, 2))  # compressed: linear in the waveform
    onset, steady, end = rms[8000 // HOP + 2], rms[15000 // HOP], rms[-5:].mean()
    assert onset < 10 * steady
    assert steady / 11 < rms[4000 // HOP] < 1.5 * steady
    assert steady / 30 < end < steady / 3


def test_the_state_does_not_grow_and_may_be_kept(extractor):
    block = noise(1, 1, HOP)
    _, first = extractor.step(block, None)
    _, second = extractor.step(block, first)
    assert [t.shape for t in second] == [t.shape for t in first]
    again, _ = extractor.step(block, first)
    assert torch.equal(again, extractor.step(block, first)[0]), "a state is not changed by its use"


def test_bypassed_it_fades_to_the_mixture_and_back_within_a_hop():
    extractor = CausalExtractor(8000, channels=(8, 12), middle=1, hidden=6, hop_length=HOP).requires_grad_(False)
    extractor.outlet.bias[: extractor.folding] = -0.5  # of the compressed magnitude: a quarter of the waveform
    mixture = noise(2, 1, 40 * HOP).abs() + 0.5
    state, parts = None, []
    for i, hop in enumerate(mixture.split(HOP, -1)):
        part, state = extractor.step(hop, state, bypass=i < 5 or 20 <= i < 30)
        parts.append(part)
    gain = (torch.cat(parts[1:], -1) / mixture[..., :-HOP])[:, 0].unflatten(-1, (39, HOP))
    rise = torch.hann_window(2 * HOP)[:HOP]
    expected = torch.full((39, HOP), 0.25)
    expected[:4] = expected[20:29] = 1.0
    expected[4] = expected[29] = 1 - 0.75 * rise
    expected[19] = 0.25 + 0.75 * rise
    torch.testing.assert_close(gain, expected.expand(2, -1, -1), rtol=0, atol=1e-3)
