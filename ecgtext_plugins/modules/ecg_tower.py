"""D-BETA's path from an ECG to its feature vector: all that embedding ECGs needs, without text, fusion and heads."""

import torch
from torch import Tensor, nn

from ecgtext_plugins.modules.dbeta_config import DBetaConfig, check_sizes
from ecgtext_plugins.modules.ecg_encoder import EcgEncoder, with_class_token
from ecgtext_plugins.modules.heads import Pooler


def initialise(module: nn.Module, std: float) -> None:
    """BERT's initial weights: N(0, std) for linear layers and embeddings, zero biases."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=std)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)


class EcgTower(nn.Module):
    """ECG encoder, class token, projection and pooler, with the released keys.

    Parameters
    ----------
    config : DBetaConfig

    Raises
    ------
    ValueError
        For sizes that do not fit together, naming the keys.
    """

    def __init__(self, config: DBetaConfig):
        super().__init__()
        check_sizes(config)
        self.config = config
        self.class_embedding = nn.Parameter(torch.rand(config.encoder_embed_dim))
        self.ecg_encoder = EcgEncoder(config)
        self.multi_modal_ecg_proj = nn.Linear(config.encoder_embed_dim, config.hidden_dim)
        self.unimodal_ecg_pooler = Pooler(config.hidden_dim)
        for module in (self.multi_modal_ecg_proj, *self.unimodal_ecg_pooler.modules()):
            initialise(module, config.initializer_range)

    @property
    def samples_per_patch(self) -> int:
        """Samples of one ECG frame."""
        return self.ecg_encoder.feature_extractor.samples_per_frame

    def ecg_tokens(self, frames: Tensor, padding: Tensor | None = None) -> Tensor:
        """Frames (B, N, D) with padding (B, N) -> the class token's and the frames' states (B, 1 + N, D)."""
        frames = torch.cat([self.class_embedding.to(frames.dtype).expand(len(frames), 1, -1), frames], dim=1)
        return self.multi_modal_ecg_proj(self.ecg_encoder.encode(frames, with_class_token(padding)))

    def encode_ecg(self, ecg: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """ECG features of whole, unmasked records (the released feature path).

        Parameters
        ----------
        ecg : Tensor, shape (B, 12, T), millivolt, leads I II III aVR aVL aVF V1..V6
        padding_mask : Tensor, shape (B, T), bool, optional
            True at padding, which stands at the end. A padded ECG has the features that it has alone.

        Returns
        -------
        Tensor, shape (B, D), each value in (-1, 1)
        """
        frames, padding = self.ecg_encoder.embed(ecg, padding_mask)
        return self.unimodal_ecg_pooler(self.ecg_tokens(frames, padding))
