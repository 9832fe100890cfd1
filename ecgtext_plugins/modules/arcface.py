"""Identification by additive angular margin (ArcFace, Deng et al. 2019)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgtext_plugins.modules.ecg_classifier import EcgClassifierConfig, FinetunedEncoder, checked_labels


class ArcFace(FinetunedEncoder):
    """Unit embeddings, and their cosines with one direction for each identity (``kernel``, (K, D)).

    Parameters
    ----------
    config : EcgClassifierConfig
    num_labels : int, optional
        K identities; None: as the config says.
    """

    def __init__(self, config: EcgClassifierConfig, num_labels: int | None = None):
        super().__init__(config)
        self.kernel = nn.Parameter(torch.empty(checked_labels(config, num_labels), config.encoder_embed_dim))
        nn.init.xavier_uniform_(self.kernel)

    def forward(
        self, ecg: Tensor, ecg_padding_mask: Tensor | None = None, mask_seed: Tensor | None = None
    ) -> dict[str, Tensor]:
        """ECG (B, 12, T), padding (B, T) -> ``features`` (B, D) of length 1, ``logits`` (B, K) cosines, ``frames``.

        Features and cosines are float32.
        """
        frames, features = self.pooled(ecg, ecg_padding_mask, mask_seed)
        features = functional.normalize(features.float(), dim=-1)
        cosines = features @ functional.normalize(self.kernel.float(), dim=-1).T
        return {"logits": cosines, "frames": frames, "features": features}

    def encode_ecg(self, ecg: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """ECG (B, 12, T), padding (B, T) -> embeddings of length 1 (B, D), float32."""
        return functional.normalize(super().encode_ecg(ecg, padding_mask).float(), dim=-1)


def arcface_logits(cosines: Tensor, identity: Tensor, scale: float = 32.0, margin: float = 0.5) -> Tensor:
    """Widen the angle to each ECG's own identity by `margin` (equation 3 of the paper), and scale.

    Where the widened angle would pass pi, the cosine goes on falling in a straight line instead, so that training
    always pulls the angle down.

    Parameters
    ----------
    cosines : Tensor, shape (B, K)
    identity : Tensor, shape (B,), int64
    scale : float
    margin : float
        Radians, from 0 to below pi.

    Returns
    -------
    Tensor, shape (B, K), float32

    Raises
    ------
    ValueError
        For a scale or margin that cannot be.
    """
    if not (scale > 0 and 0 <= margin < math.pi):
        raise ValueError(f"scale={scale}, margin={margin}: expected a scale above 0 and a margin from 0 to below pi")
    cosines = cosines.float()
    own = cosines.gather(1, identity[:, None]).clamp(-1.0, 1.0)
    sine = (1.0 - own.square()).clamp(min=1e-12).sqrt()
    widened = own * math.cos(margin) - sine * math.sin(margin)
    fallen = own - math.sin(margin) * margin
    return scale * cosines.scatter(1, identity[:, None], torch.where(own > -math.cos(margin), widened, fallen))


def arcface_loss(cosines: Tensor, identity: Tensor, scale: float = 32.0, margin: float = 0.5) -> Tensor:
    """Cross entropy of `arcface_logits`, summed over ECGs: scalar float32."""
    return functional.cross_entropy(arcface_logits(cosines, identity, scale, margin), identity, reduction="sum")
