"""Any torch module as the extractor: the recipe names a factory to import, and layers whose outputs become latents."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from exdiff.config import nearest
from exdiff.extractors.bridge import BridgedExtractor
from exdiff.extractors.maps import named_axes, to_map


class ModuleExtractor(BridgedExtractor):
    """A module of somebody else's, its weights included in checkpoints, and trained or frozen like any extractor.

    Building it imports and calls what `factory` names: `runs_code`.

    Args:
        factory: "package.module:callable" that gives a `torch.nn.Module` from waveforms to waveforms.
        latents: names of layers as in `module.named_modules()`, finest first, or a table of names and the axes of their
            outputs, see `named_axes`. Of a layer that gives a tuple its first tensor counts; of one that runs several
            times, the last.
        options: arguments of the factory.
        sample_rate: Hz, of the model.
        rate: Hz, of the module; None is the model's.
        channel_axis: the module takes [B, 1, T] rather than [B, T].
        output: which entry is the estimate, where the module gives a tuple or a table; None says that it gives no
            estimate, and the mixture stands for it.
        source: which signal is the estimate, where the module gives several, [B, S, T].
        hop, linear: see `BridgedExtractor`.

    Raises:
        ValueError: the factory cannot be imported, a layer does not exist or does not run, or its output is no map.

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
        self.latent_channels = self._probe()

    def hear(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        heard: dict[str, Tensor] = {}
        # Hooked for this call only: hooks that stay would write into the original when a copy of the module runs.
        handles = [
            self.network.get_submodule(name).register_forward_hook(functools.partial(_keep, heard, name))
            for name in self.axes
        ]
        try:
            out = self.network(wave[:, None] if self.channel_axis else wave)
        finally:
            for handle in handles:
                handle.remove()
        for name in self.axes:
            if name not in heard:
                raise ValueError(f"the layer {name!r} did not run, or gives no tensor; name another")
        return self._estimate(out, wave), [to_map(name, heard[name], axes) for name, axes in self.axes.items()]

    def _estimate(self, out: Any, wave: Tensor) -> Tensor:
        if self.output is None:
            return wave
        if isinstance(out, (tuple, list, Mapping)):
            out = out[self.output]  # type: ignore[index]
        if not isinstance(out, Tensor) or out.ndim not in (2, 3):
            what = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"the module must give waveforms [B, T] or [B, S, T], got {what}; see output and source")
        return out if out.ndim == 2 else out[:, self.source]

    def _probe(self) -> tuple[int, ...]:
        """Channels of the latents, from a second of a tone."""
        training = self.network.training
        try:
            with torch.no_grad():
                self.eval()
                _, maps = self.hear(torch.sin(0.1 * torch.arange(self.rate))[None])
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
        made = found(**options)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"factory {factory!r} cannot be imported ({error}); is its package installed?") from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"factory {factory!r} gives a {type(made).__name__}, not a torch.nn.Module")
    return made


def _keep(heard: dict[str, Tensor], name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    if isinstance(output, Tensor):
        heard[name] = output
