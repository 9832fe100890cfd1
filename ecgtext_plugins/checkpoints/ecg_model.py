"""A loaded model of ECGs alone: ECG-FM's pretraining model, classifiers and identification."""

import torch
from torch import Tensor

from ecgtext_plugins.checkpoints.loaded_model import LoadedModel
from ecgtext_plugins.errors import BadCheckpoint


class EcgModel(LoadedModel):
    """A network of ECG-FM's family with its rate, window and labels; see `LoadedModel` for the attributes."""

    @torch.inference_mode()
    def encode_ecg(self, ecg: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """ECG (B, 12, T) float32, padding (B, T) True at the end -> pooled features (B, D)."""
        return self.model.encode_ecg(self.shown(ecg), padding_mask)

    @torch.inference_mode()
    def logits(self, ecg: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """ECG (B, 12, T) float32, padding (B, T) True at the end -> logits of the labels (B, K).

        Raises
        ------
        BadCheckpoint
            When the model has no labels.
        """
        if self.labels is None:
            raise BadCheckpoint(
                f"the model is a {self.family} without labels: expected ecg_transformer_classifier for logits; "
                "fine-tune it first"
            )
        return self.model(self.shown(ecg), padding_mask)["logits"]

    @torch.inference_mode()
    def attention_maps(
        self, ecg: Tensor, padding_mask: Tensor | None = None, layers: tuple[int, ...] = (-1,)
    ) -> Tensor:
        """ECG (B, 12, T) -> attention (B, len(layers), N, N) from each frame to each, averaged over heads."""
        return self.ecg_encoder.attention_maps(self.shown(ecg), padding_mask, layers)
