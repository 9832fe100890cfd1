"""Scores, labels and whatever else a validation's figures need, kept by each process and gathered at its end."""

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ecgtext_plugins.modules.ets_exchange import world_size


class EpochScores:
    """Rows of named columns, by the id of the example that they belong to.

    fairseq gives a process that has run out of batches an old one again, and a validation may be repeated: of the rows
    with one id, the last that was added counts.
    """

    def __init__(self):
        self._batches: list[dict[str, Tensor]] = []

    def reset(self) -> None:
        """Forget all rows, as at the begin of a validation."""
        self._batches = []

    def add(self, ids: Tensor, **columns: Tensor) -> None:
        """Keep the rows of a batch, each column (B, ...), under their ids (B,)."""
        self._batches.append({"id": ids.detach(), **{name: values.detach() for name, values in columns.items()}})

    def gather(self) -> dict[str, np.ndarray]:
        """Return the columns of all processes, on every process, each id once and in the order of ids.

        All processes must call it together. Empty when no process has rows.
        """
        own = {
            name: torch.cat([batch[name] for batch in self._batches]).cpu().numpy()
            for name in (self._batches[0] if self._batches else ())
        }
        parts = [own]
        if world_size() > 1:
            parts = [None] * world_size()
            dist.all_gather_object(parts, own)
        parts = [part for part in parts if part]
        if not parts:
            return {}
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        newest = len(columns["id"]) - 1 - np.unique(columns["id"][::-1], return_index=True)[1]
        return {name: values[newest] for name, values in columns.items()}
