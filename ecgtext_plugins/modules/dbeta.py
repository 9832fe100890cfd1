"""D-BETA (ICML 2025, arXiv 2410.02131): masked ECG-text autoencoder: two encoders, fusion, four heads."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ecgtext_plugins.modules.conv_stem import parse_conv_layers
from ecgtext_plugins.modules.ecg_encoder import EcgEncoder, EcgEncoderConfig
from ecgtext_plugins.modules.fusion import FusionLayer
from ecgtext_plugins.modules.heads import MatchHead, Pooler, TokenHead
from ecgtext_plugins.modules.mem_decoder import MemDecoder
from ecgtext_plugins.modules.patch_masking import mask_patches

HEADS = ("mlm", "mem", "etm", "ets")


@dataclass
class DBetaConfig(EcgEncoderConfig):
    """Sizes and switches of D-BETA; the defaults are the released ones (321,387,330 parameters with Flan-T5-base)."""

    hidden_dim: int = field(default=768, metadata={"help": "width of fusion and heads"})
    num_heads: int = field(default=12, metadata={"help": "attention heads of the fusion layers"})
    num_top_layer: int = field(default=6, metadata={"help": "fusion layers"})
    drop_rate: float = field(default=0.1, metadata={"help": "dropout of the fusion layers"})
    mem_prob: float = field(default=0.75, metadata={"help": "share of ECG patches hidden from the encoder in training"})
    mem_layer: int = field(default=3, metadata={"help": "MEM decodes the ECG stream after this many fusion layers"})
    mem_decoder_hidden_dim: int = field(default=384, metadata={"help": "width of the MEM decoder"})
    mem_decoder_num_layers: int = field(default=4, metadata={"help": "layers of the MEM decoder"})
    mem_decoder_num_heads: int = field(default=6, metadata={"help": "attention heads of the MEM decoder"})
    text_attention_mask: bool = field(
        default=True, metadata={"help": "hide padding from the text encoder (false: attend to it, as the release does)"}
    )
    ets_normalize: bool = field(
        default=False, metadata={"help": "cosine instead of dot product between ECG and text features (release: false)"}
    )
    ets_learnable_scale: bool = field(
        default=False, metadata={"help": "learn logit scale and bias of ETS as SigLIP does (paper: fixed)"}
    )
    ets_logit_scale: float = field(default=1.0, metadata={"help": "logit scale of ETS, or its initial value"})
    ets_logit_bias: float = field(default=0.0, metadata={"help": "logit bias of ETS, or its initial value"})


class DBeta(nn.Module):
    """ECG encoder, text encoder, two-stream fusion and the four pretraining heads, in the released layout of keys.

    Parameters
    ----------
    config : DBetaConfig
    language_encoder : nn.Module
        A Hugging Face encoder (`T5EncoderModel`); its ``config.hidden_size`` and ``config.vocab_size`` set the
        projections.

    Raises
    ------
    ValueError
        For sizes that do not fit together, naming the keys.
    """

    def __init__(self, config: DBetaConfig, language_encoder: nn.Module):
        super().__init__()
        if not 1 <= config.mem_layer <= config.num_top_layer:
            raise ValueError(
                f"mem_layer={config.mem_layer} must lie between 1 and num_top_layer={config.num_top_layer}"
            )
        overlapping = [layer for layer in parse_conv_layers(config.conv_feature_layers) if layer[1] != layer[2]]
        if overlapping:
            raise ValueError(
                f"conv_feature_layers={config.conv_feature_layers!r} has a layer {overlapping[0]} whose kernel is not "
                "its stride: MEM predicts patches that do not overlap, so expected kernel = stride in every layer"
            )
        self.config = config
        width = config.hidden_dim
        self.class_embedding = nn.Parameter(torch.rand(config.encoder_embed_dim))
        self.ecg_encoder = EcgEncoder(config)
        self.language_encoder = language_encoder
        self.multi_modal_language_proj = nn.Linear(language_encoder.config.hidden_size, width)
        self.multi_modal_ecg_proj = nn.Linear(config.encoder_embed_dim, width)
        self.modality_type_embeddings = nn.Embedding(2, width)
        fusion = (width, config.num_heads, config.drop_rate)
        self.multi_modal_ecg_layers = nn.ModuleList(FusionLayer(*fusion) for _ in range(config.num_top_layer))
        self.multi_modal_language_layers = nn.ModuleList(FusionLayer(*fusion) for _ in range(config.num_top_layer))
        self.multi_modal_ecg_pooler = Pooler(width)
        self.multi_modal_language_pooler = Pooler(width)
        self.unimodal_ecg_pooler = Pooler(width)
        self.unimodal_language_pooler = Pooler(width)
        self.mlm_head = TokenHead(width, language_encoder.config.vocab_size)
        self.mim_head = MemDecoder(
            width,
            config.mem_decoder_hidden_dim,
            config.mem_decoder_num_layers,
            config.mem_decoder_num_heads,
            config.in_d,
            self.ecg_encoder.feature_extractor.samples_per_frame,
        )
        self.itm_head = MatchHead(width)
        for name, module in self.named_modules():
            if not name.startswith(("ecg_encoder", "language_encoder")):
                _initialise(module, config.initializer_range)
        if config.ets_learnable_scale:
            self.ets_log_scale = nn.Parameter(torch.tensor(math.log(config.ets_logit_scale)))
            self.ets_bias = nn.Parameter(torch.tensor(float(config.ets_logit_bias)))

    @property
    def samples_per_patch(self) -> int:
        """Samples of one ECG frame."""
        return self.ecg_encoder.feature_extractor.samples_per_frame

    def ets_scale_and_bias(self) -> tuple[Tensor | float, Tensor | float]:
        """Logit scale and bias of ETS: parameters when learnable, else the configured numbers."""
        if self.config.ets_learnable_scale:
            return self.ets_log_scale.exp(), self.ets_bias
        return self.config.ets_logit_scale, self.config.ets_logit_bias

    def _with_class_token(self, frames: Tensor) -> Tensor:
        return torch.cat([self.class_embedding.to(frames.dtype).expand(len(frames), 1, -1), frames], dim=1)

    def _ecg_tokens(self, frames: Tensor) -> Tensor:
        return self.multi_modal_ecg_proj(self.ecg_encoder.encode(self._with_class_token(frames)))

    def _text_tokens(self, text: Tensor, padding_mask: Tensor | None) -> Tensor:
        attention = None
        if padding_mask is not None:
            attention = (~padding_mask if self.config.text_attention_mask else torch.ones_like(padding_mask)).long()
        states = self.language_encoder(input_ids=text, attention_mask=attention).last_hidden_state
        return self.multi_modal_language_proj(states)

    def encode_ecg(self, ecg: Tensor) -> Tensor:
        """ECG features of whole, unmasked records (the released feature path).

        Parameters
        ----------
        ecg : Tensor, shape (B, 12, T), millivolt, leads I II III aVR aVL aVF V1..V6

        Returns
        -------
        Tensor, shape (B, D), each value in (-1, 1)
        """
        return self.unimodal_ecg_pooler(self._ecg_tokens(self.ecg_encoder.embed(ecg)))

    def encode_text(self, text: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Token ids (B, L), `padding_mask` (B, L) True at padding -> text features (B, D)."""
        return self.unimodal_language_pooler(self._text_tokens(text, padding_mask))

    def _fuse(self, text: Tensor, ecg: Tensor, padding_mask: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """Return both streams after every fusion layer; each layer reads the PREVIOUS layer's pair."""
        kinds = self.modality_type_embeddings.weight
        text, ecg = text + kinds[0], ecg + kinds[1]
        streams = []
        for text_layer, ecg_layer in zip(self.multi_modal_language_layers, self.multi_modal_ecg_layers, strict=True):
            text, ecg = text_layer(text, ecg, padding_mask, None), ecg_layer(ecg, text, None, padding_mask)
            streams.append((text, ecg))
        return streams

    def forward(
        self,
        ecg: Tensor,
        text: Tensor,
        text_padding_mask: Tensor | None = None,
        ecg_padding_mask: Tensor | None = None,
        mask: bool = True,
        mask_noise: Tensor | None = None,
        heads: Collection[str] = HEADS,
        mlm_positions: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Run what the named heads need.

        Parameters
        ----------
        ecg : Tensor, shape (B, 12, T), millivolt
        text : Tensor, shape (B, L), token ids, already masked for MLM
        text_padding_mask : Tensor, shape (B, L), bool, True at padding
        ecg_padding_mask : None
            ECGs of a batch have one length.
        mask : bool
            Hide a share `mem_prob` of the ECG patches; without it there is no MEM head.
        mask_noise : Tensor, shape (B, N), optional
            See `mask_patches`.
        heads : collection of {"mlm", "mem", "etm", "ets"}
        mlm_positions : Tensor, shape (B, L), bool, optional
            Tokens whose logits are wanted; all of them when not given.

        Returns
        -------
        dict
            ``ecg_features``, ``text_features`` (B, D); with fusion ``text_streams``, ``ecg_streams``, one a layer;
            ``mlm_logits`` (M, V) or (B, L, V); ``mem_logits`` (B, N, 12, P), ``mem_removed`` (B, N), ``mem_restore``
            (B, N); ``etm_features`` (B, 2 D), ``etm_logits`` (B, 2).

        Raises
        ------
        ValueError
            For unknown heads or padded ECGs.
        """
        unknown = sorted(set(heads) - set(HEADS))
        if unknown:
            raise ValueError(f"unknown heads {unknown}: expected some of {', '.join(HEADS)}")
        if ecg_padding_mask is not None and bool(ecg_padding_mask.any()):
            raise ValueError("a batch holds padded ECGs: expected one length; the collator crops to the shortest")
        frames, masked = self.ecg_encoder.embed(ecg), None
        if mask:
            masked = mask_patches(frames, self.config.mem_prob, mask_noise)
            frames = masked.kept
        ecg_tokens = self._ecg_tokens(frames)
        text_tokens = self._text_tokens(text, text_padding_mask)
        out = {
            "ecg_features": self.unimodal_ecg_pooler(ecg_tokens),
            "text_features": self.unimodal_language_pooler(text_tokens),
        }
        if set(heads) <= {"ets"}:
            return out
        streams = self._fuse(text_tokens, ecg_tokens, text_padding_mask)
        out["text_streams"], out["ecg_streams"] = zip(*streams, strict=True)
        text_tokens, ecg_tokens = streams[-1]
        if "mlm" in heads:
            out["mlm_logits"] = self.mlm_head(text_tokens if mlm_positions is None else text_tokens[mlm_positions])
        if "mem" in heads and masked is not None:
            out["mem_removed"], out["mem_restore"] = masked.removed, masked.restore
            out["mem_logits"] = self.mim_head(streams[self.config.mem_layer - 1][1], masked.restore)
        if "etm" in heads:
            pooled = [self.multi_modal_language_pooler(text_tokens), self.multi_modal_ecg_pooler(ecg_tokens)]
            out["etm_features"] = torch.cat(pooled, dim=-1)
            out["etm_logits"] = self.itm_head(out["etm_features"])
        return out


def _initialise(module: nn.Module, std: float) -> None:
    """BERT's initial weights: N(0, std) for linear layers and embeddings, zero biases."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=std)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
