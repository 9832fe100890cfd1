"""Fine-tuning networks on ECG-FM's encoder: what they share, and the classifier."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ecgtext_plugins.modules.dropout import Dropout
from ecgtext_plugins.modules.masked_ecg_encoder import MaskedEcgEncoder, MaskedEcgEncoderConfig
from ecgtext_plugins.modules.pooling import nonzero_mean


@dataclass
class EcgClassifierConfig(MaskedEcgEncoderConfig):
    """Keys of fine-tuning; the defaults are fairseq-signals': no dropout, and a stem that stays as it is."""

    feature_grad_mult: float = field(
        default=0.0, metadata={"help": "factor on the gradient that reaches the stem; 0 freezes it"}
    )
    dropout: float = field(default=0.0, metadata={"help": "dropout in the ECG transformer"})
    attention_dropout: float = field(default=0.0, metadata={"help": "dropout of its attention weights"})
    dropout_input: float = field(default=0.0, metadata={"help": "dropout of the projected frames"})
    final_dropout: float = field(default=0.0, metadata={"help": "dropout of the frames before they are pooled"})
    num_labels: int | None = field(default=None, metadata={"help": "labels or identities; null: as the task has"})
    freeze_finetune_updates: int = field(
        default=0,
        metadata={
            "help": "train the head alone for so many updates (several processes then need "
            "distributed_training.find_unused_parameters=true)"
        },
    )
    layer_lr_decay: float = field(
        default=1.0,
        metadata={"help": "factor on the learning rate from a layer to the one below it (needs optimizer=adamw)"},
    )


def decay_learning_rates(encoder: MaskedEcgEncoder, decay: float) -> None:
    """Give the encoder's parameters `lr_factor`, read by the optimizer adamw: decay ** (transformer layers above them).

    Stem, projection and positional convolution stand below all layers.

    Raises
    ------
    ValueError
        Unless 0 < decay <= 1.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"layer_lr_decay={decay}: expected more than 0, at most 1")
    layers = encoder.encoder.layers
    for parameter in encoder.parameters():
        parameter.lr_factor = decay ** len(layers)
    for above, layer in enumerate(reversed(layers)):
        for parameter in layer.parameters():
            parameter.lr_factor = decay**above


class FinetunedEncoder(nn.Module):
    """ECG-FM's encoder under ``encoder.``, pooled for a head.

    Parameters
    ----------
    config : EcgClassifierConfig
    """

    def __init__(self, config: EcgClassifierConfig):
        super().__init__()
        self.config, self.num_updates = config, 0
        self.encoder = MaskedEcgEncoder(config)
        self.final_dropout = Dropout(config.final_dropout)
        if config.layer_lr_decay != 1.0:
            decay_learning_rates(self.encoder, config.layer_lr_decay)

    def set_num_updates(self, num_updates: int) -> None:
        """Tell the update, for `freeze_finetune_updates`."""
        self.num_updates = num_updates

    def pooled(
        self, ecg: Tensor, padding_mask: Tensor | None = None, mask_seed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """ECG (B, 12, T), padding (B, T) -> frames (B, N, D), features (B, D).

        In training with `apply_mask`, frames are hidden: by `mask_seed` (B,), or by torch's global generator.
        """
        frozen = self.training and self.num_updates < self.config.freeze_finetune_updates
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            if self.training and self.config.apply_mask:
                frames, padding = self.encoder.encode_masked(ecg, padding_mask, mask_seed)
            else:
                frames, padding = self.encoder.encode_frames(ecg, padding_mask)
        return frames, nonzero_mean(self.final_dropout(frames), padding)

    def encode_frames(self, ecg: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """See `EcgEncoder.encode_frames`."""
        return self.encoder.encode_frames(ecg, padding_mask)

    def encode_ecg(self, ecg: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """See `MaskedEcgEncoder.encode_ecg`."""
        return self.encoder.encode_ecg(ecg, padding_mask)

    def attention_maps(self, ecg: Tensor, padding_mask: Tensor | None = None, layers=(-1,)) -> Tensor:
        """See `EcgEncoder.attention_maps`."""
        return self.encoder.attention_maps(ecg, padding_mask, layers)


def checked_labels(config: EcgClassifierConfig, num_labels: int | None) -> int:
    """Return `num_labels`, or the config's.

    Raises
    ------
    ValueError
        When neither says how many, or says fewer than 1.
    """
    found = config.num_labels if num_labels is None else num_labels
    if found is None or found < 1:
        raise ValueError(f"num_labels={found}: expected 1 or more")
    return found


class EcgClassifier(FinetunedEncoder):
    """A linear layer on the pooled frames, in the published layout of keys.

    Parameters
    ----------
    config : EcgClassifierConfig
    num_labels : int, optional
        K; None: as the config says.
    """

    def __init__(self, config: EcgClassifierConfig, num_labels: int | None = None):
        super().__init__(config)
        self.proj = nn.Linear(config.encoder_embed_dim, checked_labels(config, num_labels))
        nn.init.xavier_uniform_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(
        self, ecg: Tensor, ecg_padding_mask: Tensor | None = None, mask_seed: Tensor | None = None
    ) -> dict[str, Tensor]:
        """ECG (B, 12, T), padding (B, T) -> ``logits`` (B, K), ``frames`` (B, N, D), ``features`` (B, D)."""
        frames, features = self.pooled(ecg, ecg_padding_mask, mask_seed)
        return {"logits": self.proj(features), "frames": frames, "features": features}
