"""Published SGMSE checkpoints: their hyper-parameters as a recipe, their averaged weights under our names.

As in the published code, the name of the network decides. `ncsnpp_v2` has the objectives and scalings of Richter et al.
2024; the others (Richter et al. 2023 and the 48 kHz model) predict minus their output.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from exdiff.checkpoints.interop.archive import read_checkpoint, read_tensors
from exdiff.checkpoints.interop.pickles import Stored
from exdiff.core.config import build, nearest
from exdiff.core.errors import CheckpointError, ConfigError
from exdiff.core.recipe import Recipe, Section
from exdiff.model.backbones import BACKBONES, NCSNpp
from exdiff.model.backbones.ncsnpp_names import from_published, published_names

Settings = Mapping[str, Any]

_NETWORKS = ("ncsnpp", "ncsnpp_48k", "ncsnpp_v2")
# Arguments that the published network and ours share, with equal names.
_KEPT = {
    "nf": int,
    "ch_mult": list,
    "num_res_blocks": int,
    "attn_resolutions": list,
    "image_size": int,
    "progressive": str,
    "progressive_input": str,
    "skip_rescale": bool,
    "fir_kernel": list,
    "fourier_scale": float,
    "centered": bool,
}
# Arguments that must have their default, the first.
_FIXED = {
    "nonlinearity": ("swish",),
    "resblock_type": ("biggan",),
    "progressive_combine": ("sum",),
    "embedding_type": ("fourier",),
    "conditional": (True,),
    "normalization": ("GroupNorm",),
    "attention_type": ("ddpm",),
}
_PREFIX = "dnn."


class Published(NamedTuple):
    """A checkpoint in our terms.

    Attributes:
        recipe: how to build and to sample the model.
        weights: the state of the whole model.
    """

    recipe: Recipe
    weights: dict[str, Tensor]


def read_sgmse(path: Path) -> Published:
    """Read a Lightning checkpoint of the published code, without that code; see `read_checkpoint` for what is refused.

    Raises:
        CheckpointError: not such a checkpoint, an unknown network or process, or damage.
    """
    table = read_checkpoint(path)
    settings, state = table.get("hyper_parameters"), table.get("state_dict")
    if not isinstance(settings, Mapping) or not isinstance(state, Mapping):
        raise CheckpointError(f"{path} is not an SGMSE checkpoint: it has no hyper_parameters or no state_dict")
    try:
        recipe = to_recipe(path.stem, settings)
        with torch.device("meta"):
            network = build(BACKBONES, recipe.backbone, in_channels=4, out_channels=2)
        assert isinstance(network, NCSNpp)
        chosen = averaged(path, table.get("ema"), _stored(state), set(published_names(network).values()))
        weights = from_published(network, read_tensors(path, chosen))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path}: {reason}") from None
    return Published(recipe, {f"backbone.{name}": tensor.float().contiguous() for name, tensor in weights.items()})


def to_recipe(name: str, settings: Settings) -> Recipe:
    """The recipe that hyper-parameters describe.

    Raises:
        ConfigError: an unknown network, process, objective or transform.

    Example:
        >>> recipe = to_recipe("vb", {"backbone": "ncsnpp", "sde": "ouve", "theta": 1.5, "nf": 64})
        >>> recipe.backbone, recipe.path["theta"], recipe.sampler["type"]
        ({'type': 'ncsnpp', 'nf': 64}, 1.5, 'predictor_corrector')
    """
    kind = _one_of("backbone", settings.get("backbone"), _NETWORKS)
    process = _one_of("sde", settings.get("sde"), ("ouve", "sbve"))
    return Recipe(
        name=name,
        description=f"Converted from a published SGMSE checkpoint ({kind}, {process})",
        licence="that of the checkpoint, see its source",
        sample_rate=_sample_rate(kind, settings),
        transform=_transform(settings),
        backbone=_backbone(kind, settings),
        path=_path(process, settings),
        model=_model(kind, settings),
        sampler=_sampler(process, settings),
        # In fp32 a file of up to one window (10 s) comes out as from the published code. Longer files do not: that code
        # enhances them as a whole, this one in overlapping windows, each with its own noise.
        enhancer={"precision": "fp32"},
    )


def _sample_rate(kind: str, settings: Settings) -> int:
    """The training code of the 48 kHz model stored no rate, or the 16 kHz default."""
    rate = int(settings.get("sr", 16000))
    return 48000 if kind == "ncsnpp_48k" and rate == 16000 and settings.get("n_fft", 510) > 1000 else rate


def _transform(settings: Settings) -> Section:
    law = _one_of("transform_type", settings.get("transform_type", "exponent"), ("exponent", "log", "none"))
    window = _one_of("window", settings.get("window", "hann"), ("hann", "sqrthann"))
    plain = law == "none"
    return {
        "type": "stft",
        "n_fft": int(settings.get("n_fft", 510)),
        "hop_length": int(settings.get("hop_length", 128)),
        "window": "sqrt_hann" if window == "sqrthann" else "hann",
        "exponent": float(settings.get("spec_abs_exponent", 0.5)) if law == "exponent" else 1.0,
        "factor": 1.0 if plain else float(settings.get("spec_factor", 0.15)),
        "law": "log" if law == "log" else "power",
        "framing": "reflected",
    }


def _backbone(kind: str, settings: Settings) -> Section:
    for key, allowed in _FIXED.items():
        if key in settings:
            _one_of(key, settings[key], allowed)
    section = {"type": kind, **{key: cast(settings[key]) for key, cast in _KEPT.items() if key in settings}}
    if settings.get("fir", True) is False:
        section["fir_kernel"] = [1, 1]
    if settings.get("scale_by_sigma", True) is False:
        section["divide_by_time"] = "nothing"
    return section


def _path(process: str, settings: Settings) -> Section:
    if process == "ouve":
        keys = {"theta": 1.5, "sigma_min": 0.05, "sigma_max": 0.5}
        section = {key: float(settings.get(key, value)) for key, value in keys.items()}
        return {"type": "ouve", **section, "t_min": float(settings.get("t_eps", 0.03))}
    # The bridge is sampled down to 1e-4, whatever the smallest time in training was.
    keys = {"k": 2.6, "c": 0.4}
    section = {key: float(settings.get(key, value)) for key, value in keys.items()}
    return {"type": "bridge", **section, "t_min": 1e-4, "guard": float(settings.get("eps", 1e-8))}


def _model(kind: str, settings: Settings) -> Section:
    # The published scripts divide by the mixture's peak, whatever the training did.
    _one_of("normalize", settings.get("normalize", "noisy"), ("noisy", "clean", "not"))
    objectives = ("score_matching", "denoiser", "data_prediction", "mse", "mae")
    objective = _one_of("loss_type", settings.get("loss_type", "score_matching"), objectives)
    return {
        "level": "peak",
        "anchor": "mixture",
        "output": "denoised" if objective == "data_prediction" else "score",
        "residual": False,
        "precondition": _precondition(objective, settings) if kind == "ncsnpp_v2" else {"c_out": "-1"},
        "frames_multiple": 64,
        "frames_padding": "zeros" if kind == "ncsnpp" else "reflected",
    }


def _precondition(objective: str, settings: Settings) -> Section:
    section = {
        "c_in": str(settings.get("c_in", "1")),
        "scaling": str(settings.get("network_scaling") or "1"),
        "sigma_data": float(settings.get("sigma_data", 0.1)),
    }
    if objective == "denoiser":
        return {**section, "c_out": "1/sigma^2", "c_skip": "-1/sigma^2"}
    return {**section, "c_out": str(settings.get("c_out", "1")), "c_skip": str(settings.get("c_skip", "0"))}


def _sampler(process: str, settings: Settings) -> Section:
    kind = settings.get("sampler_type", "pc" if process == "ouve" else "ode")
    if process == "ouve":
        steps = int(settings.get("N", 30))
        if kind == "ode":
            return {"type": "heun", "steps": steps}
        return {"type": "predictor_corrector", "steps": steps, "to_zero": True, "snr": 0.5, "corrector_steps": 1}
    steps = int(settings.get("N", 50))
    return (
        {"type": "bridge_sde", "steps": steps, "arrival": True}
        if kind == "sde"
        else {"type": "bridge_ode", "steps": steps}
    )


def _stored(state: Mapping[Any, Any]) -> dict[str, Stored]:
    """The network's tensors in the order of the file, which is the order of the published module's parameters."""
    table = {
        str(name).removeprefix(_PREFIX): value for name, value in dict(state).items() if str(name).startswith(_PREFIX)
    }
    return {name: value for name, value in table.items() if isinstance(value, Stored)}


def averaged(path: Path, ema: Any, stored: Mapping[str, Stored], wanted: set[str]) -> dict[str, Stored]:
    """The tensors by their published names, with the moving average of the weights in place of the weights.

    The average is a plain list, in the order of the module's parameters. Older versions of the package that computes it
    leave out what is not trained: the frequencies of the time embedding.
    """
    if stored.keys() != wanted:
        odd = sorted(stored.keys() ^ wanted)[0]
        side = "missing in" if odd in wanted else "unknown to the network of"
        raise ValueError(f"the weights do not fit the hyper-parameters: {odd} is {side} the checkpoint")
    chosen = dict(stored)
    shadow = ema.get("shadow_params") if isinstance(ema, Mapping) else None
    if not isinstance(shadow, list):
        warnings.warn(f"{path} holds no moving average of the weights; using the last weights", stacklevel=3)
        return chosen
    learn = [name for name in stored if name != "all_modules.0.W"]
    names = list(stored) if len(shadow) == len(stored) else learn
    if len(shadow) != len(names):
        raise ValueError(f"its moving average has {len(shadow)} tensors, the network {len(stored)}")
    for name, value in zip(names, shadow, strict=True):
        if not isinstance(value, Stored) or value.size != stored[name].size:
            raise ValueError(f"its moving average does not fit the network at {name}")
        chosen[name] = value
    return chosen


def _one_of(key: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise ConfigError(f"unknown {key} {value!r}{nearest(str(value), [str(a) for a in allowed])}")
    return value
