"""Pretraining network of ECG-FM (arXiv 2408.05178): wav2vec 2.0 on ECGs, whose pooled frames CMSC compares."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgtext_plugins.modules.dropout import Dropout
from ecgtext_plugins.modules.gumbel_quantizer import GumbelQuantizer
from ecgtext_plugins.modules.masked_ecg_encoder import MaskedEcgEncoder, MaskedEcgEncoderConfig
from ecgtext_plugins.modules.pooling import nonzero_mean
from ecgtext_plugins.modules.seeded_draws import words

COSINE_EPS = 1e-8


@dataclass
class Wav2Vec2CmscConfig(MaskedEcgEncoderConfig):
    """Keys of ECG-FM's pretraining; the defaults are the published ones (90,883,072 parameters)."""

    feature_grad_mult: float = field(default=0.1, metadata={"help": "factor on the gradient that reaches the stem"})
    apply_mask: bool = field(
        default=True,
        metadata={"help": "hide frames and predict them; false: no InfoNCE, for the cmsc and simclr criteria"},
    )
    mask_prob: float = field(
        default=0.65, metadata={"help": "frames in spans, overlaps counted twice, as a share of all; 0: no spans"}
    )
    dropout_features: float = field(default=0.1, metadata={"help": "dropout of the features that are to be predicted"})
    final_dim: int = field(
        default=256, metadata={"help": "width in which predictions and targets meet; 0: encoder_embed_dim"}
    )
    logit_temp: float = field(default=0.1, metadata={"help": "divides the cosines of predictions and targets"})
    quantize_targets: bool = field(default=True, metadata={"help": "predict quantised features"})
    latent_vars: int = field(default=320, metadata={"help": "entries of each codebook"})
    latent_groups: int = field(default=2, metadata={"help": "codebooks"})
    latent_dim: int = field(default=0, metadata={"help": "width of quantised features; 0: final_dim"})
    latent_temp: list[float] = field(
        default_factory=lambda: [2.0, 0.5, 0.999995],
        metadata={"help": "temperature of the Gumbel softmax: first, last, factor of an update"},
    )
    target_glu: bool = field(default=False, metadata={"help": "gated linear unit behind the projection of targets"})
    num_negatives: int = field(default=100, metadata={"help": "wrong targets from other hidden frames of the same ECG"})
    cross_sample_negatives: int = field(
        default=0, metadata={"help": "wrong targets from hidden frames of all ECGs of the batch"}
    )
    codebook_negatives: int = field(default=0, metadata={"help": "wrong targets from the codebooks"})
    quantize_input: bool = field(default=False, metadata={"help": "not supported: must be false"})
    same_quantizer: bool = field(default=False, metadata={"help": "not supported: must be false"})
    negatives_from_everywhere: bool = field(default=False, metadata={"help": "not supported: must be false"})


def check_options(config: Wav2Vec2CmscConfig) -> None:
    """Refuse what does not work.

    Raises
    ------
    ValueError
        Naming the key.
    """
    for key in ("quantize_input", "same_quantizer", "negatives_from_everywhere"):
        if getattr(config, key):
            raise ValueError(f"{key}=true: expected false, the option does not work in fairseq-signals either")
    for key in ("num_negatives", "cross_sample_negatives", "codebook_negatives"):
        if getattr(config, key) < 0:
            raise ValueError(f"{key}={getattr(config, key)}: expected 0 or more")
    if not config.num_negatives + config.cross_sample_negatives + config.codebook_negatives:
        raise ValueError("num_negatives=0: expected 1 or more of it, cross_sample_negatives or codebook_negatives")
    if config.codebook_negatives and not config.quantize_targets:
        raise ValueError(f"codebook_negatives={config.codebook_negatives} needs quantize_targets=true")
    if not config.logit_temp > 0:
        raise ValueError(f"logit_temp={config.logit_temp}: expected more than 0")


class Wav2Vec2Cmsc(MaskedEcgEncoder):
    """ECG encoder, quantiser of the targets and projections, in the published layout of keys.

    Parameters
    ----------
    config : Wav2Vec2CmscConfig

    Raises
    ------
    ValueError
        For options that do not fit or are not supported, naming them.
    """

    def __init__(self, config: Wav2Vec2CmscConfig):
        check_options(config)
        super().__init__(config)
        if not self.hides_frames:
            return
        width, final = self.layer_norm.normalized_shape[0], config.final_dim or config.encoder_embed_dim
        self.dropout_features = Dropout(config.dropout_features)
        self.quantizer, target_width = None, width
        if config.quantize_targets:
            target_width = config.latent_dim or final
            self.quantizer = GumbelQuantizer(
                width, config.latent_vars, config.latent_groups, target_width, config.latent_temp
            )
        self.project_q = nn.Linear(target_width, final)
        self.target_glu = nn.Sequential(nn.Linear(final, 2 * final), nn.GLU()) if config.target_glu else None
        self.final_proj = nn.Linear(config.encoder_embed_dim, final)

    def set_num_updates(self, num_updates: int) -> None:
        """Set the quantiser's temperature for this update."""
        if self.hides_frames and self.quantizer is not None:
            self.quantizer.set_num_updates(num_updates)

    def forward(
        self,
        ecg: Tensor,
        ecg_padding_mask: Tensor | None = None,
        mask_seed: Tensor | None = None,
        mask_indices: Tensor | None = None,
    ) -> dict[str, Tensor | float | int | None]:
        """Hide frames, encode, and compare predictions of the hidden frames with their targets.

        Parameters
        ----------
        ecg : Tensor, shape (B, 12, T)
        ecg_padding_mask : Tensor, shape (B, T), bool, optional
            True at padding, which stands at the end.
        mask_seed : Tensor, shape (B,), int64, optional
            Masks and negatives of a row are a function of its seed; without seeds they come from torch's global
            generator, the negatives by the published draws.
        mask_indices : Tensor, shape (B, N), bool, optional
            Hide these frames, the same number M in each row.

        Returns
        -------
        dict
            ``frames`` (B, N, D) of the masked pass, ``padding`` (B, N) or None, ``features`` (B, D) pooled frames,
            ``features_pen`` mean square of the stem's features. Where frames are hidden also ``mask_indices`` (B, N),
            ``logits`` (B, M, 1 + negatives) float32, the right target first, -inf for negatives that equal it; with
            quantised targets ``code_probabilities`` (G, entries), ``prob_perplexity``, ``code_perplexity`` (scalars),
            ``num_vars`` and ``temp``.

        Raises
        ------
        ValueError
            When fewer than 2 frames are hidden, or not the same number in each row.
        """
        stem, padding = self.stem(ecg, ecg_padding_mask)
        features, frames = self.project(stem)
        frames, mask = self.hide(frames, padding, mask_seed, mask_indices)
        frames = self.encode(self.add_position(frames, padding), padding)
        out = {
            "frames": frames,
            "padding": padding,
            "features": nonzero_mean(frames, padding),
            "features_pen": self._features_penalty(stem, padding),
        }
        if mask is None:
            return out
        places = _places(mask)[:, :, None]
        predicted = self.final_proj(frames.gather(1, places.expand(-1, -1, frames.shape[2])))
        targets = self.dropout_features(features.gather(1, places.expand(-1, -1, features.shape[2])))
        if self.quantizer is None:
            same = targets.detach().flatten(0, 1).unique(dim=0, return_inverse=True)[1].view(targets.shape[:2])
        else:
            quantized = self.quantizer(targets)
            targets, same = quantized.vectors, quantized.codes
            out |= {k: getattr(quantized, k) for k in ("code_probabilities", "prob_perplexity", "code_perplexity")}
            out |= {"num_vars": self.quantizer.n_entries, "temp": self.quantizer.temperature}
        return out | {"mask_indices": mask, "logits": self._logits(predicted, self._target(targets), same, mask_seed)}

    def _features_penalty(self, stem: Tensor, padding: Tensor | None) -> Tensor:
        squares = stem.float().square()
        if padding is None or self.padding_as_published:
            return squares.mean()
        real = ~padding[:, None]
        return (squares * real).sum() / (real.sum() * stem.shape[1])

    def _target(self, vectors: Tensor) -> Tensor:
        projected = self.project_q(vectors)
        return projected if self.target_glu is None else self.target_glu(projected)

    def _logits(self, predicted: Tensor, targets: Tensor, same: Tensor, seeds: Tensor | None) -> Tensor:
        """Predictions and targets (B, M, F), numbers of equal targets (B, M) -> logits (B, M, 1 + negatives).

        Negatives of the same ECG are read off the cosines of all its pairs, so that no (B, M, negatives, F) arises. (Of
        both kinds of frames together, the published code deals the draws of one frame to others.)
        """
        rows, hidden, _ = targets.shape
        predicted, targets = (functional.normalize(x.float(), dim=-1, eps=COSINE_EPS) for x in (predicted, targets))
        cosines = predicted @ targets.transpose(1, 2)
        own = torch.arange(hidden, device=targets.device)
        parts, wrong = [cosines.diagonal(dim1=1, dim2=2)[:, :, None]], []
        if self.config.num_negatives:
            drawn = _draw(seeds, "negatives", rows, hidden, self.config.num_negatives, hidden - 1, targets.device)
            drawn = drawn + (drawn >= own[:, None])
            parts.append(cosines.gather(2, drawn))
            wrong.append(same.gather(1, drawn.flatten(1)).view_as(drawn))
        if self.config.cross_sample_negatives:
            several, total = self.config.cross_sample_negatives, rows * hidden
            drawn = _draw(seeds, "cross_negatives", rows, hidden, several, total - 1, targets.device)
            # The published code steps over a frame's number within its ECG; seeded draws over the frame itself.
            itself = own if seeds is None else own + hidden * torch.arange(rows, device=own.device)[:, None]
            drawn = drawn + (drawn >= itself[..., None])
            parts.append(_cosines(predicted, targets.flatten(0, 1)[drawn]))
            wrong.append(same.flatten()[drawn])
        if self.config.codebook_negatives:
            several, total = self.config.codebook_negatives, self.quantizer.entries**self.quantizer.groups
            codes = _draw_codes(seeds, rows, hidden, several, total, targets.device)
            vectors = self._target(self.quantizer.vectors_of(codes).type_as(self.project_q.weight))
            parts.append(_cosines(predicted, functional.normalize(vectors.float(), dim=-1, eps=COSINE_EPS)))
            wrong.append(codes)
        logits = torch.cat(parts, dim=2) / self.config.logit_temp
        equal = functional.pad(torch.cat(wrong, dim=2) == same[:, :, None], (1, 0))
        return logits.masked_fill(equal, -torch.inf)


def _places(mask: Tensor) -> Tensor:
    """Mask (B, N) -> the hidden frames' places, in order (B, M)."""
    counts = mask.sum(1)
    fewest, most = torch.stack(counts.aminmax()).tolist()
    if fewest < 2 or fewest != most:
        raise ValueError(
            f"{fewest} to {most} of {mask.shape[1]} frames are hidden in the rows of a batch: expected the same "
            "number, 2 or more; take longer ECGs, or a larger mask_prob, or a smaller mask_length"
        )
    return (~mask).byte().argsort(dim=1, stable=True)[:, :most]


def _cosines(predicted: Tensor, others: Tensor) -> Tensor:
    """Unit vectors (B, M, F) and several for each of them (B, M, X, F) -> cosines (B, M, X)."""
    return (others @ predicted[..., None]).squeeze(-1)


def _draw(
    seeds: Tensor | None, stream: str, rows: int, hidden: int, several: int, high: int, device: torch.device
) -> Tensor:
    """Draw `several` numbers below `high` for each hidden frame: (B, M, several) int64; no seeds: as published."""
    if seeds is None:
        return torch.randint(0, high, (rows, several * hidden)).to(device).view(rows, hidden, several)
    return (words(seeds, stream, several * hidden) % high).view(rows, hidden, several)


def _draw_codes(seeds: Tensor | None, rows: int, hidden: int, several: int, total: int, device: torch.device) -> Tensor:
    """Draw `several` codes below `total` for each hidden frame: (B, M, several) int64; no seeds: as published."""
    if seeds is None:
        return (
            torch.randint(0, total, (rows * hidden * several,)).to(device).view(several, rows, hidden).permute(1, 2, 0)
        )
    return (words(seeds, "codebook_negatives", several * hidden) % total).view(rows, hidden, several)
