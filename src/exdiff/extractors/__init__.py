"""Discriminative models that hear the mixture once: an estimate, and latents for the diffusion model."""

from exdiff.extractors.base import Extraction, Extractor
from exdiff.extractors.compact import CompactExtractor

EXTRACTORS = {"compact": CompactExtractor}

__all__ = ["EXTRACTORS", "CompactExtractor", "Extraction", "Extractor"]
