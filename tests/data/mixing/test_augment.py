"""Augmentations against what they are in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exdiff.data.mixing.augment import Spectrum, clip_peaks, convolve, delayed, early, fast_size, mu_law, on_rows, rms

RATE = 8000
CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spectrum(x: torch.Tensor) -> torch.Tensor:
    return torch.fft.rfft(x).abs()


def test_rms_is_never_zero():
    assert float(rms(torch.full((10,), 3.0))) == pytest.approx(3)
    assert rms(torch.zeros(2, 10)).tolist() == [[pytest.approx(1e-6)]] * 2


@pytest.mark.parametrize("rows", [[], [2], [0, 1, 2]])
def test_some_rows_are_changed(rows):
    x = noise(3, 5)
    seen = []

    def change(part):
        seen.append(len(part))
        return 2 * part

    made = on_rows(x, np.array(rows, np.int64), change)
    assert seen == ([len(rows)] if rows else []), "nothing is computed for the others"
    for row in range(3):
        assert torch.equal(made[row], 2 * x[row] if row in rows else x[row])


@pytest.mark.parametrize(("length", "kernel"), [(1, 1), (5, 9), (100, 33), (64, 64)])
@pytest.mark.parametrize("own", [True, False], ids=["a signal each", "one signal"])
def test_convolve_is_numpys_cut_to_length(length, kernel, own):
    x, k = noise(2, 3, length), noise(2, 3, kernel, seed=1)
    made = convolve(x if own else x[:, 0], k)
    for row in range(2):
        for column in range(3):
            wanted = np.convolve(x[row, column if own else 0], k[row, column])[:length]
            np.testing.assert_allclose(made[row, column], wanted, atol=1e-4)


@pytest.mark.parametrize("least", [1, 2, 97, 125685, 2**17 - 1])
def test_sizes_of_ffts_are_fast(least):
    size = fast_size(least)
    rest = size
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    assert (rest, size % 2) == (1, 0)
    assert least <= size <= 1.1 * least + 2


def test_the_target_keeps_early_reflections_and_loses_late_ones():
    response = torch.zeros(1, 3000)
    response[0, [0, 80, 2000]] = torch.tensor([1.0, 0.5, 0.25])  # 10 ms and 250 ms after the direct sound
    kept = early(response, RATE)[0]
    assert kept[[0, 80, 2000]].tolist() == [1.0, 0.5, 0.0]
    faded = early(torch.ones(1, 3000), RATE)[0]
    assert bool((faded[:290] == 1).all()), "flat"
    assert 0 < float(faded[350]) < 1, "then faded"
    assert float(faded[399]) == 0, "50 ms"


def test_an_equaliser_stays_in_its_range_and_is_linear():
    x, shape = noise(2, 2000), Spectrum(2000, RATE, CPU)
    gains = shape.equaliser(torch.tensor([[6.0, -6.0, 6.0, -6.0, 6.0, -6.0]]))
    made = shape.filter(x, gains)
    db = 20 * torch.log10(spectrum(made)[:, 1:-1] / spectrum(x)[:, 1:-1])
    assert float(db.abs().max()) < 6.1
    assert float(db.max() - db.min()) > 11
    np.testing.assert_allclose(made.sum(0), shape.filter(x.sum(0, keepdim=True), gains)[0], atol=1e-4)


def test_the_points_of_an_equaliser_are_spaced_evenly_on_a_logarithmic_axis():
    gains = 20 * torch.log10(Spectrum(8000, RATE, CPU).equaliser(torch.arange(6.0)[None]))[0]
    for point, frequency in enumerate(np.geomspace(60, 4000, 6)):
        assert float(gains[round(frequency)]) == pytest.approx(point, abs=0.05)
    assert gains[:31].tolist() == [pytest.approx(0, abs=1e-3)] * 31


def test_a_length_that_is_slow_to_transform_is_padded():
    x, shape = noise(1, 1999), Spectrum(1999, RATE, CPU)
    np.testing.assert_allclose(shape.filter(x, shape.equaliser(torch.zeros(1, 6))), x, atol=1e-5)


@pytest.mark.parametrize("cutoff", [0.25, np.inf])
def test_a_band_limit_removes_what_is_above(cutoff):
    shape, x = Spectrum(8000, RATE, CPU), noise(1, 8000)
    ratio = (spectrum(shape.filter(x, shape.band_limit(torch.tensor([[cutoff]])))) / spectrum(x))[0]
    np.testing.assert_allclose(ratio[:1000], 1, atol=1e-2)
    assert float(ratio[1110:].max()) == pytest.approx(0 if cutoff < 1 else 1, abs=1e-2)


def test_noise_gets_a_colour():
    gains = Spectrum(8000, RATE, CPU).colour(torch.tensor([[0.0], [1.0]]))
    assert bool((gains[0] == 1).all())
    np.testing.assert_allclose(gains[1, [100, 1000, 2000]], [10, 1, 0.5], rtol=1e-5)
    assert float(gains[1, 0]) == pytest.approx(50), "flat below 20 Hz"


def test_clip_peaks_by_hand():
    x = torch.tensor([[0.1, -1.0, 0.6], [2.0, 0.5, -2.0]])
    made = clip_peaks(x, torch.tensor([[0.5], [0.75]]))
    np.testing.assert_allclose(made, [[0.1, -0.5, 0.5], [1.5, 0.5, -1.5]])
    assert not clip_peaks(torch.zeros(1, 3), torch.tensor([[0.5]])).any()


def test_mu_law_has_255_values_that_are_denser_near_zero():
    x = torch.linspace(-2, 2, 100_001)[None]
    made = mu_law(x)
    values = np.unique(made.numpy())
    assert len(values) == 255
    np.testing.assert_allclose(values[[0, 127, -1]], [-2, 0, 2], atol=1e-6)
    assert float((made - x).abs().max()) < 0.05
    assert float((made - x)[x.abs() < 0.01].abs().max()) < 0.0005
    assert not mu_law(torch.zeros(1, 4)).any()


def test_delayed_by_hand():
    made = delayed(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), torch.tensor([[0], [2]]))
    assert made.tolist() == [[1, 2, 3], [0, 0, 4]]
