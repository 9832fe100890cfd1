"""Zero-shot classification: classes are texts, scores are similarities of ECG and text embeddings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ecgtext_plugins.errors import BadCheckpoint


@dataclass(frozen=True)
class ZeroShotClassifier:
    """Linear classifier whose weights are embeddings of prompts.

    Attributes
    ----------
    names : list of str, length K
    weights : ndarray, shape (K, D), float32
    similarity : str
        ``dot`` as published for D-BETA (`example.ipynb`, no normalisation), or ``cosine``.
    """

    names: list[str]
    weights: np.ndarray
    similarity: str = "dot"

    def scores(self, embeddings: np.ndarray) -> np.ndarray:
        """Score ECG embeddings (n, D) against each class: (n, K) float32."""
        embeddings = np.asarray(embeddings, dtype=np.float32)
        if self.similarity == "cosine":
            embeddings = _unit(embeddings)
        return embeddings @ self.weights.T


def build_zero_shot_classifier(
    model: Any, prompts: dict[str, str | list[str]], center: bool = False
) -> ZeroShotClassifier:
    """Embed one or several prompts a class; several are averaged.

    Parameters
    ----------
    model : torch module
        From ``ecgtext_plugins.load``: ``encode_text(list of str) -> (B, D)``, ``config`` as trained: with
        ``model.ets_normalize`` the similarity is the cosine, prompts being normalised before and after averaging;
        without, the dot product.
    prompts : dict
        Class name to text or texts.
    center : bool
        Subtract the mean over classes from each class's embedding: what all prompts share then adds nothing.

    Raises
    ------
    BadCheckpoint
        When a prompt's embedding is not finite.
    """
    similarity = "cosine" if model.config["model"].get("ets_normalize", False) else "dot"
    names = list(prompts)
    weights = np.stack([_embed_class(model, name, prompts[name], similarity) for name in names])
    if center:
        weights = weights - weights.mean(axis=0)
    return ZeroShotClassifier(names, weights, similarity)


@torch.inference_mode()
def _embed_class(model: Any, name: str, texts: str | list[str], similarity: str) -> np.ndarray:
    """Embed one class: (D,) float32."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    vectors = model.encode_text(texts).float().cpu().numpy()
    if not np.isfinite(vectors).all():
        raise BadCheckpoint(
            f"the model's embedding of a prompt of class {name} is not finite: its training has diverged or its "
            "weights are damaged; use an earlier checkpoint"
        )
    if similarity == "cosine":
        return _unit(_unit(vectors).mean(axis=0))
    return vectors.mean(axis=0)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
