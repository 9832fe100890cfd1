"""Product quantisation by Gumbel softmax (wav2vec 2.0, Baevski et al. 2020, section 2)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Quantized(NamedTuple):
    """Vectors (B, N, V), their codes (B, N) as one number, and how evenly entries are used.

    `code_probabilities` (G, entries) is the mean over frames; `prob_perplexity` its perplexity, `code_perplexity` that
    of the entries with the highest probability: from G to G * entries.
    """

    vectors: Tensor
    codes: Tensor
    code_probabilities: Tensor
    prob_perplexity: Tensor
    code_perplexity: Tensor


class GumbelQuantizer(nn.Module):
    """Picks one entry from each of G codebooks for a frame and joins them.

    In training the entry is drawn by Gumbel softmax, straight through, at a temperature that decays with updates; in
    evaluation it is the most probable one.

    Parameters
    ----------
    width : int
        Width of the frames.
    entries, groups : int
        Size and number of the codebooks.
    vector_width : int
        Width of the joined vector, a multiple of `groups`.
    temperature : sequence of 3 floats
        First, last, and the factor of one update.

    Raises
    ------
    ValueError
        Naming the key, when sizes do not fit or the temperature is no triple.
    """

    def __init__(self, width: int, entries: int, groups: int, vector_width: int, temperature: Sequence[float]):
        super().__init__()
        if groups < 1 or entries < 1 or vector_width % groups:
            raise ValueError(
                f"latent_groups={groups}, latent_vars={entries}: expected 1 or more of each, and a multiple of "
                f"latent_groups as latent_dim (final_dim where that is 0), not {vector_width}"
            )
        if len(temperature) != 3 or not all(value > 0 for value in temperature):
            raise ValueError(f"latent_temp={list(temperature)}: expected [first, last, decay], each more than 0")
        self.entries, self.groups = entries, groups
        self.first_temperature, self.last_temperature, self.decay = temperature
        self.temperature = self.first_temperature
        self.vars = nn.Parameter(torch.empty(1, groups * entries, vector_width // groups).uniform_())
        self.weight_proj = nn.Linear(width, groups * entries)
        nn.init.normal_(self.weight_proj.weight, mean=0.0, std=1.0)
        nn.init.zeros_(self.weight_proj.bias)

    @property
    def n_entries(self) -> int:
        """Entries of all codebooks: the highest perplexity."""
        return self.groups * self.entries

    def set_num_updates(self, num_updates: int) -> None:
        """Set the temperature for this update."""
        self.temperature = max(self.first_temperature * self.decay**num_updates, self.last_temperature)

    def forward(self, frames: Tensor) -> Quantized:
        """(B, N, D) -> quantised frames, codes and perplexities (over all B * N frames)."""
        logits = self.weight_proj(frames).float().unflatten(-1, (self.groups, self.entries))
        best = functional.one_hot(logits.argmax(-1), self.entries)
        probabilities, used = (shares.float().flatten(0, 1).mean(0) for shares in (logits.softmax(-1), best))
        if self.training:
            chosen = functional.gumbel_softmax(logits, tau=self.temperature, hard=True)
            picks = chosen.argmax(-1)
            books = self.vars[0].unflatten(0, (self.groups, self.entries))
            vectors = torch.einsum("bnge,gev->bngv", chosen.type_as(books), books)
        else:
            picks = best.argmax(-1)
            vectors = self.vars[0][picks + self.entries * torch.arange(self.groups, device=picks.device)]
        codes = self._joined(picks)
        return Quantized(vectors.flatten(2), codes, probabilities, perplexity(probabilities), perplexity(used))

    def _joined(self, picks: Tensor) -> Tensor:
        codes = torch.zeros_like(picks[..., 0])
        for group in range(self.groups):
            codes = codes * self.entries + picks[..., group]
        return codes

    def vectors_of(self, codes: Tensor) -> Tensor:
        """Joined vectors of codes: (...) int64 below ``entries ** groups`` -> (..., V)."""
        parts = []
        for group in reversed(range(self.groups)):
            parts.append(self.vars[0][codes % self.entries + group * self.entries])
            codes = codes // self.entries
        return torch.cat(parts[::-1], dim=-1)


def perplexity(probabilities: Tensor) -> Tensor:
    """Exponential of the entropy, summed over groups: (G, entries) -> scalar."""
    return (-(probabilities * (probabilities + 1e-7).log()).sum(-1)).exp().sum()
