"""Discriminative models, run once per mixture: an estimate, and latents for the diffusion model."""

from exdiff.model.extractors.base import Extraction, Extractor
from exdiff.model.extractors.causal import CausalExtractor
from exdiff.model.extractors.compact import CompactExtractor
from exdiff.model.extractors.module import ModuleExtractor
from exdiff.model.extractors.onnx import OnnxExtractor
from exdiff.model.extractors.resampled import ResampledExtractor, Resampler
from exdiff.model.extractors.resunet30 import ResUNet30Extractor
from exdiff.model.extractors.spleeter import SpleeterExtractor

EXTRACTORS = {
    "compact": CompactExtractor,
    "causal": CausalExtractor,
    "resunet30": ResUNet30Extractor,
    "spleeter": SpleeterExtractor,
    "module": ModuleExtractor,
    "onnx": OnnxExtractor,
}

__all__ = [
    "EXTRACTORS",
    "ResampledExtractor",
    "CausalExtractor",
    "CompactExtractor",
    "Extraction",
    "Extractor",
    "ModuleExtractor",
    "OnnxExtractor",
    "ResUNet30Extractor",
    "Resampler",
    "SpleeterExtractor",
]
