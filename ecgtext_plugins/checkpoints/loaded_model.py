"""What all loaded models have: the network, what it was trained on, and recordings as they are."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from ecgtext_plugins.atomic_files import file_sha256
from ecgtext_plugins.checkpoints.encoder_weights import encoder_of
from ecgtext_plugins.checkpoints.raw_signal import embed_signal, predict_signal
from ecgtext_plugins.checkpoints.source import Source
from ecgtext_plugins.errors import BadCheckpoint
from ecgtext_plugins.modules.ecg_encoder import EcgEncoder


class LoadedModel(nn.Module):
    """A network with its rate, length and labels.

    Attributes
    ----------
    model : nn.Module
        The network.
    family : str
        ``dbeta``, ``wav2vec2_cmsc``, ``ecg_transformer_classifier`` or ``arcface``.
    sample_rate : float
        Hz of the ECGs it was trained on.
    n_samples : int
        Their usual length, of a window where training was on windows.
    standardize : bool
        Whether each lead has mean 0 and deviation 1 over the whole record, before windows are cut; millivolt if not.
    labels : list of str or None
        Names of a classifier's outputs.
    config : dict
        The whole training config; of a released checkpoint, the values of the model and of its texts.
    hidden_leads : tuple of int
        Places of the leads that training set to zero; here too.
    checkpoint_sha256 : str
        Of the file (of a folder, of its weights); computed when first asked for.
    """

    def __init__(self, model: nn.Module, source: Source, path: Path):
        super().__init__()
        self.model, self.family, self.config = model, source.family, source.config
        self.sample_rate, self.n_samples = source.sample_rate, source.n_samples
        self.standardize, self.labels = source.standardize, source.labels
        self.hidden_leads = source.hidden_leads
        self._path, self._version = path, _version(path)

    @functools.cached_property
    def checkpoint_sha256(self) -> str:
        """SHA-256 of the checkpoint file; refused when another was written in its place."""
        if not self._path.is_file() or _version(self._path) != self._version:
            raise BadCheckpoint(
                f"checkpoint {self._path} has changed since it was loaded, so it has no digest of this model; load it "
                "again, from a copy when training goes on"
            )
        return file_sha256(self._path)

    @property
    def ecg_encoder(self) -> EcgEncoder:
        """The ECG encoder within the network."""
        return encoder_of(self.model)

    def shown(self, ecg: Tensor) -> Tensor:
        """Return ECGs (B, 12, T) with zero in the leads that training hid."""
        if not self.hidden_leads:
            return ecg
        ecg = ecg.clone()
        ecg[:, list(self.hidden_leads)] = 0.0
        return ecg

    def embed(self, signal_mv: np.ndarray, fs: float, leads: Sequence[str]) -> np.ndarray:
        """Embed a recording (leads, T) in millivolt at `fs` Hz: (D,) float32; see `raw_signal.embed_signal`."""
        return embed_signal(self, signal_mv, fs, leads)

    def predict(self, signal_mv: np.ndarray, fs: float, leads: Sequence[str]) -> dict[str, float]:
        """Probability of each label for a recording (leads, T); see `raw_signal.predict_signal`."""
        return predict_signal(self, signal_mv, fs, leads)


def _version(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
