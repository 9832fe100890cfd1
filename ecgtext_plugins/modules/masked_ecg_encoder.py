"""The ECG encoder of ECG-FM: spans of frames can be hidden from the transformer, and frames are pooled to a vector."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ecgtext_plugins.modules.ecg_encoder import EcgEncoder, EcgEncoderConfig
from ecgtext_plugins.modules.pooling import nonzero_mean
from ecgtext_plugins.modules.seeded_draws import fresh_seeds
from ecgtext_plugins.modules.span_masking import SpanMaskOptions, channel_spans, frame_spans, span_mask

MIN_SPANS = 2  # of frames in each ECG, as published


@dataclass
class MaskedEcgEncoderConfig(SpanMaskOptions, EcgEncoderConfig):
    """Sizes of ECG-FM's encoder, and its masks."""

    encoder_layers: int = field(default=12, metadata={"help": "transformer layers of the ECG encoder"})
    extractor_mode: str = field(
        default="default", metadata={"help": "norm of the stem: default, a group norm behind the first convolution"}
    )
    padding_as_published: bool = field(
        default=False,
        metadata={"help": "let padding into the stem's norm and the positional convolution, as fairseq-signals does"},
    )


class MaskedEcgEncoder(EcgEncoder):
    """`EcgEncoder` with a learned vector ``mask_emb`` for hidden frames, where the config masks any.

    Parameters
    ----------
    config : MaskedEcgEncoderConfig

    Raises
    ------
    ValueError
        For options that do not fit, naming them.
    """

    def __init__(self, config: MaskedEcgEncoderConfig):
        super().__init__(config)
        if config.extractor_mode != "default":
            raise ValueError(
                f"extractor_mode={config.extractor_mode!r}: expected default (layer_norm does not work in "
                "fairseq-signals either, so that no checkpoint has it)"
            )
        self.config = config
        self.padding_as_published = config.padding_as_published
        if self.layer_norm.normalized_shape[0] == config.encoder_embed_dim:
            self.post_extract_proj = nn.Identity()  # published models have no projection then
        self.frame_spans, self.channel_spans = frame_spans(config), channel_spans(config)
        self.hides_frames = config.apply_mask and config.mask_prob > 0
        self.zeroes_channels = config.apply_mask and config.mask_channel_prob > 0
        if self.hides_frames:
            self.mask_emb = nn.Parameter(torch.empty(config.encoder_embed_dim).uniform_())

    def hide(
        self,
        frames: Tensor,
        padding: Tensor | None = None,
        mask_seed: Tensor | None = None,
        mask_indices: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Hide frames (B, N, D) and zero channels, as the config says.

        Parameters
        ----------
        frames : Tensor, shape (B, N, D)
            Without position.
        padding : Tensor, shape (B, N), bool, optional
            True at padding, which is never hidden.
        mask_seed : Tensor, shape (B,), int64, optional
            What the masks are drawn from; None: torch's global generator.
        mask_indices : Tensor, shape (B, N), bool, optional
            Hide these frames instead of random ones.

        Returns
        -------
        (frames, mask) : tuple
            `mask` (B, N) is True where a frame is hidden; None where the config hides none.
        """
        if mask_seed is None and (self.zeroes_channels or (self.hides_frames and mask_indices is None)):
            mask_seed = fresh_seeds(len(frames), frames.device)
        if not self.hides_frames:
            mask_indices = None
        elif mask_indices is None:
            mask_indices = span_mask(mask_seed, frames.shape[1], self.frame_spans, "frame_mask", padding, MIN_SPANS)
        if mask_indices is not None:
            frames = torch.where(mask_indices[:, :, None], self.mask_emb.to(frames.dtype), frames)
        if self.zeroes_channels:
            channels = span_mask(mask_seed, frames.shape[2], self.channel_spans, "channel_mask")
            frames = frames.masked_fill(channels[:, None], 0.0)
        return frames, mask_indices

    def encode_masked(
        self, ecg: Tensor, padding_mask: Tensor | None = None, mask_seed: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As `encode_frames`, behind the masks of `hide`."""
        features, padding = self.stem(ecg, padding_mask)
        frames, _ = self.hide(self.project(features)[1], padding, mask_seed)
        return self.encode(self.add_position(frames, padding), padding), padding

    def encode_ecg(self, ecg: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Features of whole, unmasked ECGs: the mean of the frames, see `nonzero_mean`.

        Parameters
        ----------
        ecg : Tensor, shape (B, 12, T), leads I II III aVR aVL aVF V1..V6
        padding_mask : Tensor, shape (B, T), bool, optional
            True at padding, which stands at the end.

        Returns
        -------
        Tensor, shape (B, D)
        """
        return nonzero_mean(*self.encode_frames(ecg, padding_mask))
