"""A loss that is no number: whose records, and what to do."""

import logging
from collections.abc import Callable

import torch
import torch.distributed as dist

from ecgtext_plugins.errors import BadLoss
from ecgtext_plugins.modules.ets_exchange import world_size

log = logging.getLogger(__name__)

POLICIES = ("stop", "skip")
NAMED = 5


class NonfiniteGuard:
    """Notices losses that are NaN or infinite; either ends the run, or leaves the whole update out.

    Parameters
    ----------
    policy : str
        ``stop`` or ``skip``.
    """

    def __init__(self, policy: str):
        self.policy = policy
        self._skipped = False

    def check(self, loss: torch.Tensor, sample: dict, log_values: dict, record_id: Callable[[int], str]) -> bool:
        """Tell whether the loss is a number, in all processes; if not, name the records.

        Parameters
        ----------
        record_id : callable
            Place in the manifest -> record id.

        Raises
        ------
        BadLoss
            With the policy ``stop``.
        """
        good = bool(torch.isfinite(loss))
        if not good:
            message = _explained(sample, log_values, record_id)
            if self.policy == "stop":
                raise BadLoss(f"{message}; task.nonfinite=skip would leave such updates out")
            log.warning("%s; this update is left out (task.nonfinite=skip)", message)
        if self.policy == "skip" and world_size() > 1:
            everywhere = torch.tensor(float(good), device=loss.device)
            dist.all_reduce(everywhere, op=dist.ReduceOp.MIN)
            good = bool(everywhere)
        self._skipped |= not good
        return good

    def take(self) -> bool:
        """Tell whether a loss was left out since the last call."""
        skipped, self._skipped = self._skipped, False
        return skipped


def _explained(sample: dict, log_values: dict, record_id: Callable[[int], str]) -> str:
    terms = [
        f"{name} = {float(value)}"
        for name, value in log_values.items()
        if name.endswith("_loss") and not torch.isfinite(torch.as_tensor(value)).all()
    ]
    ecg = sample["net_input"]["ecg"]
    bad = ~torch.isfinite(ecg.flatten(1)).all(1)
    indices = sample["id"][bad] if bad.any() else sample["id"]
    names = ", ".join(str(record_id(int(index))) for index in indices[:NAMED])
    more = f" and {len(indices) - NAMED} more" if len(indices) > NAMED else ""
    whose = f"the ECG of record {names}{more} holds NaN or inf" if bad.any() else f"the batch holds {names}{more}"
    return f"the loss is not a number ({', '.join(terms) or 'their sum'}): {whose}"
