"""Golden numbers of fairseq-signals' ECG-FM, and its checkpoints as our networks' configs and weights."""

import dataclasses

import numpy as np
import torch

from ecgtext_plugins.checkpoints.safe_load import load_checkpoint_file

SPELLING = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


def arrays(shared, kind):
    """Return the reference's arrays as tensors, its scalars as numbers."""
    stored = np.load(shared / "golden" / f"ecg_fm_{kind}_tiny_ref.npz")
    return {key: torch.from_numpy(stored[key]) if stored[key].ndim else stored[key].item() for key in stored}


def network(shared, kind, config_class, network_class):
    """Build a network from the checkpoint, in evaluation mode."""
    checkpoint = load_checkpoint_file(shared / "golden" / f"ecg_fm_{kind}_tiny.pt")
    known = {field.name for field in dataclasses.fields(config_class)}
    model = network_class(config_class(**{k: v for k, v in checkpoint["cfg"]["model"].items() if k in known}))
    model.load_state_dict(renamed(checkpoint["model"]), strict=True)
    return model.eval()


def renamed(weights):
    """Spell the positional convolution's keys as our networks do."""
    for old, new in SPELLING.items():
        weights = {key.replace(old, new): value for key, value in weights.items()}
    return weights


def assert_parity(ours, reference):
    """Require equal shapes, and differences below 1e-5 of the largest value (the golden page asks for 1e-4)."""
    reference = torch.as_tensor(reference)
    ours = torch.as_tensor(ours).detach()
    assert ours.shape == reference.shape
    finite = reference.isfinite()
    assert torch.equal(ours.isfinite(), finite)
    assert (ours - reference)[finite].abs().max() <= 1e-5 * reference[finite].abs().max()
