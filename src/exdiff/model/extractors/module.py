"""Any torch module as the extractor: the recipe names a factory to import, and layers whose outputs become latents."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from exdiff.core.config import nearest
from exdiff.model.extractors.maps import named_axes, to_map
from exdiff.model.extractors.resampled import ResampledExtractor

# Outputs of the latent layers in the call now running. Every thread has its own value, and a call within a call sets
# another: several threads may share one extractor.
_OUTPUTS: ContextVar[dict[nn.Module, Tensor] | None] = ContextVar("_OUTPUTS", default=None)


class ModuleExtractor(ResampledExtractor):
    """A third-party module; checkpoints include its weights, and it is trained or frozen like any extractor.

    Constructing it imports and calls `factory`: see `runs_code`. Several threads may call it at once.

    Args:
        factory: "package.module:callable" that returns a `torch.nn.Module` from waveforms to waveforms.
        latents: names of layers as in `module.named_modules()`, finest first, or a table of names and the axes of their
            outputs, see `named_axes`. If a layer returns a tuple, its first tensor is used; if it runs several times,
            its last output.
        options: arguments of the factory.
        sample_rate: Hz, of the model.
        rate: Hz, of the module; None is the model's.
        channel_axis: the module takes [B, 1, T] rather than [B, T].
        output: index or key of the estimate, if the module returns a tuple or a table; None if it returns no estimate:
            the mixture then takes its place.
        source: index of the estimate, if the module returns several signals, [B, S, T].
        hop, linear: see `ResampledExtractor`.

    Raises:
        ValueError: the factory cannot be imported or refuses the options, or a layer does not exist, does not run, or
            returns no map.

    Example:
        >>> extractor = ModuleExtractor(
        ...     "torch.nn:Conv1d", [""], {"in_channels": 1, "out_channels": 1, "kernel_size": 5, "padding": 2}
        ... )
        >>> extraction = extractor(torch.zeros(2, 1, 300))
        >>> extractor.latent_channels, extraction.estimate.shape
        ((1,), torch.Size([2, 1, 300]))
    """

    runs_code = True

    def __init__(
        self,
        factory: str,
        latents: Mapping[str, str] | Sequence[str],
        options: Mapping[str, Any] | None = None,
        sample_rate: int = 16000,
        rate: int | None = None,
        channel_axis: bool = True,
        output: int | str | None = 0,
        source: int = 0,
        hop: int = 1,
        linear: bool = True,
    ) -> None:
        super().__init__(sample_rate, rate or sample_rate, hop, linear)
        self.channel_axis, self.output, self.source = channel_axis, output, source
        self.axes = named_axes(latents)
        self.network = _make(factory, dict(options or {}))
        known = [name for name, _ in self.network.named_modules()]
        for name in self.axes:
            if name not in known:
                raise ValueError(f"{factory} has no layer {name!r}{nearest(name, known)}")
            self.network.get_submodule(name).register_forward_hook(_keep)
        self.latent_channels = self._probe()

    def extract(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        outputs: dict[nn.Module, Tensor] = {}
        token = _OUTPUTS.set(outputs)
        try:
            out = self.network(wave[:, None] if self.channel_axis else wave)
        finally:
            _OUTPUTS.reset(token)
        maps = []
        for name, axes in self.axes.items():
            layer = self.network.get_submodule(name)
            if layer not in outputs:
                raise ValueError(f"the layer {name!r} did not run, or returned no tensor; name another")
            maps.append(to_map(name, outputs[layer], axes))
        return self._estimate(out, wave), maps

    def _estimate(self, out: Any, wave: Tensor) -> Tensor:
        if self.output is None:
            return wave
        if isinstance(out, (tuple, list, Mapping)):
            out = out[self.output]  # type: ignore[index]
        if not isinstance(out, Tensor) or out.ndim not in (2, 3):
            what = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"the module must return waveforms [B, T] or [B, S, T], got {what}; see output and source")
        return out if out.ndim == 2 else out[:, self.source]

    def _probe(self) -> tuple[int, ...]:
        """Channels of the latents, measured on one second of a tone."""
        training = self.network.training
        try:
            with torch.no_grad():
                self.eval()
                _, maps = self.extract(torch.sin(0.1 * torch.arange(self.rate))[None])
        except (IndexError, KeyError, RuntimeError) as error:
            raise ValueError(f"the module does not run on a waveform: {' '.join(str(error).split())[:200]}") from error
        finally:
            self.train(training)
        return tuple(m.shape[1] for m in maps)


def _make(factory: str, options: dict[str, Any]) -> nn.Module:
    module, colon, name = factory.partition(":")
    if not (module and colon and name):
        raise ValueError(f"factory must look like package.module:callable, got {factory!r}")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        _check_options(factory, found, options)
        made = found(**options)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"factory {factory!r} cannot be imported ({error}); is its package installed?") from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"factory {factory!r} returns a {type(made).__name__}, not a torch.nn.Module")
    return made


def _check_options(factory: str, found: Any, options: dict[str, Any]) -> None:
    try:
        signature = inspect.signature(found)
    except ValueError:  # some compiled callables have none
        return
    try:
        signature.bind(**options)
    except TypeError as error:
        raise ValueError(f"the options do not fit the factory {factory!r}: {error}") from None


def _keep(layer: nn.Module, _inputs: Any, output: Any) -> None:
    """Forward hook of a latent layer: keep its output for the call now running in this thread, if there is one."""
    outputs = _OUTPUTS.get()
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    if outputs is not None and isinstance(output, Tensor):
        outputs[layer] = output
