"""D-BETA (ICML 2025, arXiv 2410.02131): masked ECG-text autoencoder: two encoders, fusion, four heads."""

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.dropout import replace_dropout
from ecgtext_plugins.modules.ecg_encoder import with_class_token
from ecgtext_plugins.modules.ecg_tower import EcgTower, initialise
from ecgtext_plugins.modules.fusion import FusionLayer
from ecgtext_plugins.modules.heads import MatchHead, Pooler, TokenHead
from ecgtext_plugins.modules.mem_decoder import MemDecoder
from ecgtext_plugins.modules.patch_masking import mask_patches

HEADS = ("mlm", "mem", "etm", "ets")


class DBeta(EcgTower):
    """ECG encoder, text encoder, two-stream fusion and the four pretraining heads, in the released layout of keys.

    Parameters
    ----------
    config : DBetaConfig
    language_encoder : nn.Module
        A Hugging Face encoder; its ``config.hidden_size`` and ``config.vocab_size`` set the projections.

    Raises
    ------
    ValueError
        For sizes that do not fit together, naming the keys.
    """

    def __init__(self, config: DBetaConfig, language_encoder: nn.Module):
        super().__init__(config)
        width = config.hidden_dim
        self.language_encoder = language_encoder
        replace_dropout(language_encoder)
        self.multi_modal_language_proj = nn.Linear(language_encoder.config.hidden_size, width)
        self.modality_type_embeddings = nn.Embedding(2, width)
        fusion = (width, config.num_heads, config.drop_rate)
        self.multi_modal_ecg_layers = nn.ModuleList(FusionLayer(*fusion) for _ in range(config.num_top_layer))
        self.multi_modal_language_layers = nn.ModuleList(FusionLayer(*fusion) for _ in range(config.num_top_layer))
        self.multi_modal_ecg_pooler = Pooler(width)
        self.multi_modal_language_pooler = Pooler(width)
        self.unimodal_language_pooler = Pooler(width)
        self.mlm_head = TokenHead(width, language_encoder.config.vocab_size)
        self.mim_head = MemDecoder(
            width,
            config.mem_decoder_hidden_dim,
            config.mem_decoder_num_layers,
            config.mem_decoder_num_heads,
            config.in_d,
            self.samples_per_patch,
        )
        self.itm_head = MatchHead(width)
        for name, module in self.named_modules():
            if not name.startswith(("ecg_encoder", "language_encoder", "multi_modal_ecg_proj", "unimodal_ecg_pooler")):
                initialise(module, config.initializer_range)
        if config.ets_learnable_scale:
            self.ets_log_scale = nn.Parameter(torch.tensor(math.log(config.ets_logit_scale)))
            self.ets_bias = nn.Parameter(torch.tensor(float(config.ets_logit_bias)))
        if config.checkpoint_activations:
            self.ecg_encoder.encoder.checkpoint_activations = True
            # transformers 5 renamed it on the way
            old = language_encoder.gradient_checkpointing_enable
            getattr(language_encoder, "activation_checkpointing_enable", old)({"use_reentrant": False})
        if config.compile_layers:
            for layer in (
                *self.ecg_encoder.encoder.layers,
                *self.multi_modal_ecg_layers,
                *self.multi_modal_language_layers,
            ):
                layer.compile(dynamic=True)  # in place: keys stay; lengths change from step to step

    def ets_scale_and_bias(self) -> tuple[Tensor | float, Tensor | float]:
        """Logit scale and bias of ETS: parameters when learnable, else the configured numbers."""
        if self.config.ets_learnable_scale:
            return self.ets_log_scale.exp(), self.ets_bias
        return self.config.ets_logit_scale, self.config.ets_logit_bias

    def _text_tokens(self, text: Tensor, padding_mask: Tensor | None) -> Tensor:
        attention = None
        if padding_mask is not None:
            attention = (~padding_mask if self.config.text_attention_mask else torch.ones_like(padding_mask)).long()
        states = self.language_encoder(input_ids=text, attention_mask=attention).last_hidden_state
        return self.multi_modal_language_proj(states)

    def encode_text(self, text: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Token ids (B, L), `padding_mask` (B, L) True at padding -> text features (B, D)."""
        return self.unimodal_language_pooler(self._text_tokens(text, padding_mask))

    def _fusion_layer(self, layer: Callable, *inputs: Any) -> Tensor:
        if self.config.checkpoint_activations and self.training and torch.is_grad_enabled():
            return checkpoint(layer, *inputs, use_reentrant=False)
        return layer(*inputs)

    def _fuse(
        self,
        streams: tuple[Tensor, Tensor],
        paddings: tuple[Tensor | None, Tensor | None],
        depth: int,
        queries: Callable | None,
    ) -> list[tuple[Tensor, Tensor]]:
        """Text and ECG stream after each of the first `depth` layers; each reads the PREVIOUS layer's pair.

        Of the last layer of all, only the tokens that `queries` takes of (text, ecg) are computed, if it is given.
        """
        kinds = self.modality_type_embeddings.weight
        text, ecg = streams[0] + kinds[0], streams[1] + kinds[1]
        after = []
        layers = zip(self.multi_modal_language_layers, self.multi_modal_ecg_layers, strict=True)
        for number, (text_layer, ecg_layer) in enumerate(list(layers)[:depth], start=1):
            last = queries is not None and number == len(self.multi_modal_ecg_layers)
            text_query, ecg_query = queries(text, ecg) if last else (None, None)
            text, ecg = (
                self._fusion_layer(text_layer, text, ecg, *paddings, text_query),
                self._fusion_layer(ecg_layer, ecg, text, *paddings[::-1], ecg_query),
            )
            after.append((text, ecg))
        return after

    def forward(
        self,
        ecg: Tensor,
        text: Tensor,
        text_padding_mask: Tensor | None = None,
        ecg_padding_mask: Tensor | None = None,
        mask: bool = True,
        mask_noise: Tensor | None = None,
        heads: Collection[str] = HEADS,
        text_plan: dict[str, Any] | None = None,
    ) -> dict[str, Tensor]:
        """Run what the named heads need.

        Parameters
        ----------
        ecg : Tensor, shape (B, 12, T), millivolt
        text : Tensor, shape (B, L), token ids, already masked for MLM
        text_padding_mask : Tensor, shape (B, L), bool, True at padding
        ecg_padding_mask : Tensor, shape (B, T), bool, True at padding, which stands at the end
        mask : bool
            Hide a share `mem_prob` of the ECG patches; without it there is no MEM head.
        mask_noise : Tensor, shape (B, N), optional
            See `mask_patches`.
        heads : collection of {"mlm", "mem", "etm", "ets"}
        text_plan : dict, optional
            What the heads will read and what need not be computed twice, as `ecgtext_plugins.data.text_plan` makes
            it. With it the last fusion layer computes only these tokens; without it every token gets its MLM logits,
            every patch its prediction, and all streams are returned.

        Returns
        -------
        dict
            ``ecg_features``, ``text_features`` (B, D); ``mlm_logits`` (M, V) at the planned tokens, or (B, L, V);
            ``mem_logits`` (B, R, 12, P) of the patches ``mem_places`` (B, R), ``mem_removed`` (B, R) 1.0 where such a
            patch was hidden; ``etm_features`` (B, 2 D), ``etm_logits`` (B, 2); without a plan ``text_streams`` and
            ``ecg_streams``, one a layer.

        Raises
        ------
        ValueError
            For unknown heads.
        """
        unknown = sorted(set(heads) - set(HEADS))
        if unknown:
            raise ValueError(f"unknown heads {unknown}: expected some of {', '.join(HEADS)}")
        frames, ecg_padding = self.ecg_encoder.embed(ecg, ecg_padding_mask)
        masked = mask_patches(frames, self.config.mem_prob, mask_noise, ecg_padding) if mask else None
        shown, shown_padding = (masked.kept, masked.kept_padding) if mask else (frames, ecg_padding)
        ecg_tokens = self.ecg_tokens(shown, shown_padding)
        out = {"ecg_features": self.unimodal_ecg_pooler(ecg_tokens)}
        wants_mem = "mem" in heads and masked is not None
        deep = bool({"mlm", "etm"} & set(heads))
        depth = len(self.multi_modal_ecg_layers) if deep else self.config.mem_layer if wants_mem else 0
        parts = []
        for group in _groups(text_plan, text):
            start, stop, length = group[:3]
            padding = None if text_padding_mask is None else text_padding_mask[start:stop, :length]
            tokens = self._group_tokens(text, text_padding_mask, text_plan, group)
            part = {"text_features": self.unimodal_language_pooler(tokens)}
            if depth:
                part |= self._group_fusion(
                    (tokens, ecg_tokens[start:stop]),
                    (padding, None if shown_padding is None else with_class_token(shown_padding)[start:stop]),
                    depth,
                    None if text_plan is None else text_plan["query"][start:stop],
                )
            parts.append(part)
        for name in parts[0]:
            if name == "streams":
                out["text_streams"], out["ecg_streams"] = zip(*parts[0][name], strict=True)
            else:
                out[name] = torch.cat([part[name] for part in parts]) if len(parts) > 1 else parts[0][name]
        if "mlm" in heads:
            tokens = out["text_tokens"]
            out["mlm_logits"] = self.mlm_head(
                tokens if text_plan is None else tokens.flatten(0, 1)[text_plan["places"]]
            )
        if wants_mem:
            out |= self.mim_head(out["mem_tokens"], masked, ecg_padding, everything=text_plan is None)
        if "etm" in heads:
            pooled = [
                self.multi_modal_language_pooler(out["text_tokens"]),
                self.multi_modal_ecg_pooler(out["fused_ecg_tokens"]),
            ]
            out["etm_features"] = torch.cat(pooled, dim=-1)
            out["etm_logits"] = self.itm_head(out["etm_features"])
        for name in ("text_tokens", "fused_ecg_tokens", "mem_tokens"):
            out.pop(name, None)
        return out

    def _group_tokens(self, text: Tensor, padding_mask: Tensor | None, plan: dict | None, group: tuple) -> Tensor:
        """Encode a group's reports, each distinct one once."""
        start, stop, length, first, last = group
        if plan is None:
            return self._text_tokens(text, padding_mask)
        rows = plan["rows"][first:last]
        tokens = self._text_tokens(text[rows, :length], None if padding_mask is None else padding_mask[rows, :length])
        return tokens if last - first == stop - start else tokens[plan["place"][start:stop] - first]

    def _group_fusion(
        self,
        streams: tuple[Tensor, Tensor],
        paddings: tuple[Tensor | None, Tensor | None],
        depth: int,
        query: Tensor | None,
    ) -> dict[str, Any]:
        """Fuse a group of rows: what MEM reads, what MLM and ETM read."""

        def queries(text: Tensor, ecg: Tensor) -> tuple[Tensor, Tensor | None]:
            wanted = text.gather(1, query[:, :, None].expand(-1, -1, text.shape[-1]))
            return wanted, None if self.config.mem_layer == depth else ecg[:, :1]  # MEM reads all of its layer

        after = self._fuse(streams, paddings, depth, None if query is None else queries)
        part = {"text_tokens": after[-1][0], "fused_ecg_tokens": after[-1][1]}
        if depth >= self.config.mem_layer:
            part["mem_tokens"] = after[self.config.mem_layer - 1][1]
        return part if query is not None else part | {"streams": after}


def _groups(plan: dict | None, text: Tensor) -> list[tuple[int, int, int, int, int]]:
    """Rows (start, stop), their longest text, and their places among the distinct rows."""
    return [(0, *text.shape, 0, len(text))] if plan is None else plan["groups"]
