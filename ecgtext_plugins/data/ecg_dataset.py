"""ECGs of a manifest for self-supervised and supervised training: standardise, choose leads, perturb, crop or pad."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.utils.data import Dataset

from ecgtext_plugins.data.labels import Labels
from ecgtext_plugins.data.lead_selection import LeadSelection
from ecgtext_plugins.data.perturbations import PerturbationOptions, perturb
from ecgtext_plugins.data.randomness import generator, uniforms, words
from ecgtext_plugins.data.windows import patient_codes, recordings
from ecgtext_plugins.store.fairseq_signals.standardise import standardise
from ecgtext_plugins.store.manifest import Manifest

EPSILON = 1e-5  # of normalize, as in torch's layer norm


@dataclass
class EcgOptions:
    """What happens to an ECG on its way into a batch, in this order."""

    seed: int = 1
    standardize: bool = True  # mean 0 and deviation 1 of each lead of the whole record; not again where the files are
    leads: LeadSelection = field(default_factory=LeadSelection)
    normalize: bool = False  # layer norm over all shown leads, or by `moments`
    moments: tuple[np.ndarray, np.ndarray] | None = None  # means and deviations of the twelve leads, (12,) each
    perturbations: PerturbationOptions | None = None  # None outside training
    max_sample_size: int | None = None  # crop longer ECGs, at a drawn place
    enable_padding: bool = False  # pad to the longest of a batch, or crop to the shortest


def standardised_leads(signal: np.ndarray) -> np.ndarray:
    """Bring each lead of a whole record to mean 0 and population deviation 1; constant leads and gaps become 0.

    Parameters
    ----------
    signal : ndarray, shape (12, T), float32
        NaN where missing; the other samples make mean and deviation.

    Returns
    -------
    ndarray, shape (12, T), float32
    """
    gaps = np.isnan(signal)
    if not gaps.any():
        return standardise(signal)[0].astype(np.float32)
    out = np.zeros(signal.shape, dtype=np.float32)
    for lead, values, lacks in zip(out, signal, gaps, strict=True):
        if not lacks.all():
            lead[~lacks] = standardise(values[None, ~lacks])[0][0]
    return out


def is_standardised(manifest: Manifest) -> bool:
    """Tell whether a manifest's signals are standardised on disk, as fairseq-signals' preprocessed files are."""
    return not manifest.holds_counts and manifest.store.first.is_standardised


class EcgDataset(Dataset):
    """Records or windows of a manifest.

    Parameters
    ----------
    manifest : Manifest
    options : EcgOptions
    labels : Labels or None
        Of the manifest's entries.

    Attributes
    ----------
    record, patient : ndarray, shape (R,), int64
        See :func:`recordings` and :func:`patient_codes`.
    """

    def __init__(self, manifest: Manifest, options: EcgOptions, labels: Labels | None = None):
        self.manifest, self.options, self.labels = manifest, options, labels
        self.sample_rate = float(manifest.store.sample_rate)
        self.record = recordings(manifest)
        self.patient = patient_codes(manifest, self.record)
        self._standardises = options.standardize and not is_standardised(manifest)
        self._last: tuple[int, np.ndarray] | None = None
        # In shared memory, so that worker processes kept over epochs see the change.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.manifest)

    @property
    def sizes(self) -> np.ndarray:
        """Samples that each entry has in a batch at most, (R,) int64."""
        return np.minimum(self.manifest.n_samples, self.options.max_sample_size or self.manifest.n_samples)

    @property
    def epoch(self) -> int:
        """Epoch that the random draws belong to."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw anew for this epoch."""
        self._epoch[0] = epoch

    def __getitem__(self, index: int) -> dict:
        """Return ``index``, and ``ecg`` as :meth:`ecg` makes it."""
        return {"index": int(index), "ecg": self.ecg(int(index))}

    def ecg(self, index: int, view: int = 0) -> np.ndarray:
        """Load an entry: standardised, of the chosen leads, normalised, perturbed.

        What is drawn depends on seed, epoch, `index` and `view` alone.

        Returns
        -------
        ndarray, shape (channels, T), float32, without NaN
        """
        options, key = self.options, (self.options.seed, self.epoch)
        start = int(self.manifest.starts[index])
        signal = self._record(int(self.manifest.rows[index]))[:, start : start + int(self.manifest.n_samples[index])]
        shown = options.leads.shown(uniforms("bucket_lead", *key, [index], 1)[0, 0])
        if options.normalize:
            signal = self._normalised(signal, shown)
        absent = np.setdiff1d(np.arange(12), shown)
        if len(absent):
            signal = signal.copy()
            signal[absent] = 0.0
        if options.perturbations is not None and options.perturbations.modes:
            places = range(len(options.perturbations.modes))
            generators = [generator("perturbation", *key, index, view, place) for place in places]
            signal = perturb(signal, self.sample_rate, options.perturbations, generators)
            if len(absent):
                signal[absent] = 0.0
        return signal if options.leads.padded or np.array_equal(shown, np.arange(12)) else signal[shown]

    def _record(self, row: int) -> np.ndarray:
        """Return a whole record, (12, T) float32, missing samples 0; windows of one record often come in a row."""
        if self._last is None or self._last[0] != row:
            signal = self.manifest.store.signal_mv(row)
            whole = standardised_leads(signal) if self._standardises else np.nan_to_num(signal, copy=True, nan=0.0)
            self._last = (row, whole)
        return self._last[1]

    def _normalised(self, signal: np.ndarray, shown: np.ndarray) -> np.ndarray:
        if self.options.moments is not None:
            means, deviations = self.options.moments
            return ((signal - means[:, None]) / deviations[:, None]).astype(np.float32)
        values = signal[shown]
        return ((signal - values.mean()) / np.sqrt(values.var() + EPSILON)).astype(np.float32)

    def collater(self, samples: list[dict]) -> dict:
        """Merge samples of `__getitem__` into a batch; see :meth:`batch`."""
        if not samples:
            return {}
        indices = np.array([sample["index"] for sample in samples])
        return self.batch(indices, [sample["ecg"] for sample in samples], indices)

    def batch(self, indices: np.ndarray, ecgs: list[np.ndarray], keys: np.ndarray) -> dict:
        """Crop and pad ECGs and add what is known of them.

        With `enable_padding`, ECGs are padded with 0 to the longest, without it cropped to the shortest one, and in
        both cases to `max_sample_size`; where an ECG is cropped is drawn.

        Parameters
        ----------
        indices : ndarray, shape (B,)
            Entries of the manifest.
        ecgs : list of ndarray (channels, T)
        keys : ndarray, shape (B,)
            What the draws of each row depend on, besides seed and epoch.

        Returns
        -------
        dict
            ``id`` (B,); ``net_input``: ``ecg`` (B, channels, T), ``ecg_padding_mask`` (B, T) or None; ``target``:
            ``patient_id``, ``record``, ``mask_seed`` (B,) int64, and where they are known ``label`` (B, K) float32
            with ``label_mask`` (B, K) bool or None, ``identity`` (B,); ``ntokens`` (samples), ``nsentences`` (ECGs).
        """
        options, key = self.options, (self.options.seed, self.epoch, keys)
        lengths = np.array([ecg.shape[1] for ecg in ecgs])
        longest = lengths.max() if options.enable_padding else lengths.min()
        length = int(min(longest, options.max_sample_size or longest))
        starts = (uniforms("crop", *key, 1)[:, 0] * (np.maximum(lengths - length, 0) + 1)).astype(np.int64)
        batch = np.zeros((len(ecgs), options.leads.channels, length), dtype=np.float32)
        for row, ecg, start in zip(batch, ecgs, starts, strict=True):
            there = min(length, ecg.shape[1])
            row[:, :there] = ecg[:, start : start + there]
        padding = None
        if (lengths < length).any():
            padding = torch.from_numpy(np.arange(length) >= lengths[:, None])
        mask_seed = (words("time_mask", *key, 1)[:, 0] >> np.uint64(2)).astype(np.int64)
        return {
            "id": torch.from_numpy(np.asarray(indices, dtype=np.int64)),
            "net_input": {"ecg": torch.from_numpy(batch), "ecg_padding_mask": padding},
            "target": self._known(indices) | {"mask_seed": torch.from_numpy(mask_seed)},
            "ntokens": int(np.minimum(lengths, length).sum()),
            "nsentences": len(ecgs),
        }

    def _known(self, indices: np.ndarray) -> dict:
        target = {
            "patient_id": torch.from_numpy(self.patient[indices]),
            "record": torch.from_numpy(self.record[indices]),
        }
        if self.manifest.identities is not None:
            target["identity"] = torch.from_numpy(self.manifest.identities[indices].astype(np.int64))
        if self.labels is not None:
            known = self.labels.known
            target["label"] = torch.from_numpy(self.labels.values[indices])
            target["label_mask"] = None if known is None else torch.from_numpy(known[indices])
        return target
