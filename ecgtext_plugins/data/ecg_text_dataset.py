"""ECG-report pairs from a manifest: crop, lead masking, N3S swaps, token masking, collation into the batch contract."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from ecgtext_plugins.data.ecg_batch import StoredEcg, batch_of, stored_ecg
from ecgtext_plugins.data.lead_masking import conditional_lead_mask, lead_mask
from ecgtext_plugins.data.randomness import generator, uniforms, words
from ecgtext_plugins.data.text_plan import text_plan
from ecgtext_plugins.data.token_masking import DRAWS, IGNORED, mask_tokens
from ecgtext_plugins.errors import BadManifest
from ecgtext_plugins.negatives.sampler import NegativeSampler
from ecgtext_plugins.store.manifest import Manifest
from ecgtext_plugins.text.tokenization import mask_token_id, special_token_ids, tokenise


@dataclass
class EcgTextOptions:
    """What happens to a pair on its way into a batch."""

    seed: int = 1
    crop_samples: int | None = None  # None: whole records
    pad_ecgs: bool = True  # pad to the longest of a batch, or crop to the shortest
    lead_mask_prob: float = 0.5
    keep_one_lead: bool = False
    lead_mask_condition: tuple[int, int] | None = (
        None  # hide so many limb and precordial leads, whatever the above says
    )
    mlm_prob: float = 0.25
    score_negatives: bool = False  # score MLM on swapped reports too
    negative_ratio: float = 0.5
    max_text_tokens: int = 254
    text_length_groups: int = 4  # rows of a batch go by length, in so many groups of less padding
    distinct_reports_once: bool = (
        True  # rows of a batch that show the same report share its masks, and are encoded once
    )
    shuffle_reports: bool = False  # control experiment: pair every ECG with a random record's report, anew each epoch


class EcgTextDataset(Dataset):
    """Pairs of a manifest.

    Parameters
    ----------
    manifest : Manifest
    tokenizer : transformers fast tokenizer
    options : EcgTextOptions
    negatives : NegativeSampler or None
        Needed when ``options.negative_ratio > 0``.

    Raises
    ------
    BadManifest
        When the manifest is empty or holds records without a report.
    """

    def __init__(
        self, manifest: Manifest, tokenizer, options: EcgTextOptions, negatives: NegativeSampler | None = None
    ):
        if len(manifest.rows) == 0:
            raise BadManifest(f"{manifest.path} lists no record: expected at least one; build it with other fractions")
        if options.negative_ratio > 0 and negatives is None:
            raise ValueError(f"negative_ratio={options.negative_ratio} needs a sampler of negatives")
        self.manifest, self.tokenizer, self.options, self.negatives = manifest, tokenizer, options, negatives
        self.report_id = manifest.store.column("report_id")[manifest.rows]
        if (self.report_id < 0).any():
            record = manifest.record_id(int(np.flatnonzero(self.report_id < 0)[0]))
            raise BadManifest(
                f"{manifest.path}: record {record} has no report, but ECG-text pretraining needs one for every record; "
                "build the store with reports.required: true"
            )
        self.mask_id = mask_token_id(tokenizer)
        special = set(special_token_ids(tokenizer))
        self.special_ids = np.array(sorted(special))
        self.random_ids = np.array([token for token in range(len(tokenizer)) if token not in special])
        self._shuffled: tuple[int, np.ndarray] | None = None
        # In shared memory, so that worker processes kept over epochs see the change.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.manifest.rows)

    @property
    def epoch(self) -> int:
        """Epoch that the random draws belong to."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw anew for this epoch."""
        self._epoch[0] = epoch

    def __getitem__(self, index: int) -> dict:
        """Return the record's `index` and its `ecg`, a :class:`StoredEcg`: what is drawn for it, `collater` draws."""
        return {"index": int(index), "ecg": stored_ecg(self.manifest, int(index))}

    def ecg_batch(self, indices: list[int], ecgs: list[StoredEcg], with_original: bool = True) -> dict:
        """Crop ECGs, convert them to millivolt and hide leads.

        ECGs longer than ``options.crop_samples`` are cropped to it, at a place drawn for each; then all are padded to
        the longest of the batch, or cropped to the shortest, at the start.

        Returns
        -------
        dict
            ``ecg`` (B, 12, T) float32 in mV with 0 for padding, missing samples and hidden leads, ``padding`` (B, T)
            bool or None when there is none, ``lead_mask`` (B, 12) bool, and ``ecg_original`` (B, 12, T) with all leads,
            or None.
        """
        options, key = self.options, (self.options.seed, self.epoch, indices)
        lengths, starts = np.array([ecg.values.shape[1] for ecg in ecgs]), None
        longest = options.crop_samples or lengths.max()
        if (lengths > longest).any():
            choices = np.maximum(lengths - longest, 0) + 1
            starts = (uniforms("crop", *key, 1)[:, 0] * choices).astype(np.int64)
        lengths = np.minimum(lengths, longest)
        length, padding = int(lengths.max() if options.pad_ecgs else lengths.min()), None
        if (lengths < length).any():
            padding = torch.from_numpy(np.arange(length) >= lengths[:, None])
        draws = uniforms("lead_mask", *key, 13)
        if options.lead_mask_condition is None:
            hidden = lead_mask(draws, options.lead_mask_prob, options.keep_one_lead)
        else:
            hidden = conditional_lead_mask(draws, *options.lead_mask_condition)
        shown, original = batch_of(ecgs, length, starts, hidden, with_original)
        return {"ecg": shown, "padding": padding, "lead_mask": torch.from_numpy(hidden), "ecg_original": original}

    def own_reports(self, indices: list[int]) -> np.ndarray:
        """Return the report ids that count as the records' own, (B,): random ones of this epoch in the control."""
        if not self.options.shuffle_reports:
            return self.report_id[indices]
        if self._shuffled is None or self._shuffled[0] != self.epoch:
            order = generator("shuffle_reports", self.options.seed, self.epoch).permutation(len(self.report_id))
            self._shuffled = (self.epoch, self.report_id[order])
        return self._shuffled[1][indices]

    def _swap_reports(self, indices: list[int], own: np.ndarray) -> np.ndarray:
        """Draw the reports to show: N3S negatives for int(ratio * B + U[0, 1)) rows, as published; own ones else."""
        shown, options = own.copy(), self.options
        if options.negative_ratio <= 0:
            return shown
        rng = generator("swap_rows", options.seed, self.epoch, *indices)
        count = int(options.negative_ratio * len(indices) + rng.random())
        places = rng.choice(len(indices), count, replace=False)
        draws = uniforms("swap_report", options.seed, self.epoch, np.asarray(indices)[places], 3)
        shown[places] = self.negatives.draw(own[places], draws, self.epoch)
        return shown

    def _mask_reports(
        self, keys: np.ndarray, ids: np.ndarray, attention: np.ndarray, aligned: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        draws = uniforms("token_mask", self.options.seed, self.epoch, keys, DRAWS * ids.shape[1])
        maskable = attention & ~np.isin(ids, self.special_ids)
        masked, labels = mask_tokens(
            ids, maskable, self.options.mlm_prob, self.mask_id, self.random_ids, draws.reshape(*ids.shape, DRAWS)
        )
        if not self.options.score_negatives:
            labels[~aligned] = IGNORED
        return masked, labels

    def collater(self, samples: list[dict]) -> dict:
        """Merge samples of `__getitem__` into a batch (see the package's batch contract).

        ECGs are cropped and padded as :meth:`ecg_batch` says. Reports are swapped first, then masked. The rows of the
        batch go by the length of the report shown, copies of a report next to each other.

        Returns
        -------
        dict
            ``id`` (B,); ``net_input``: ``ecg`` (B, 12, T), ``ecg_padding_mask`` (B, T) or None, ``text`` (B, L),
            ``text_padding_mask`` (B, L), ``text_plan`` (see `ecgtext_plugins.data.text_plan`); ``target``:
            ``ecg_original`` (B, 12, T), ``lead_mask`` (B, 12), ``patch_seed`` (B,), ``mlm_labels`` (B, L),
            ``mlm_scored`` (M,) those of them that are scored, ``is_aligned`` (B,), ``report_id`` (B,),
            ``text_report_id`` (B,); ``ntokens``, ``nsentences``.
        """
        if not samples:
            return {}
        options, indices = self.options, np.array([sample["index"] for sample in samples])
        own = self.own_reports(indices)
        shown = self._swap_reports(indices.tolist(), own)
        distinct, of = np.unique(shown, return_inverse=True)
        texts = [self.manifest.store.report_text(int(report)) for report in distinct]
        ids, attention = (np.asarray(array) for array in tokenise(self.tokenizer, texts, options.max_text_tokens))
        lengths = attention.sum(axis=1)[of]
        order = np.lexsort((shown, lengths))
        indices, own, shown, lengths, of = indices[order], own[order], shown[order], lengths[order], of[order]
        ecgs = self.ecg_batch(indices.tolist(), [samples[place]["ecg"] for place in order])
        copies = of if options.distinct_reports_once else np.arange(len(of))
        first = np.concatenate([[True], copies[1:] != copies[:-1]])
        keys = indices[np.maximum.accumulate(np.where(first, np.arange(len(of)), 0))]
        ids, attention, aligned = ids[of], attention[of], shown == own
        masked, labels = self._mask_reports(keys, ids, attention, aligned)
        patch_seeds = words("patch_mask", options.seed, self.epoch, indices, 1)[:, 0] >> np.uint64(2)
        return {
            "id": torch.from_numpy(indices),
            "net_input": {
                "ecg": ecgs["ecg"],
                "ecg_padding_mask": ecgs["padding"],
                "text": torch.from_numpy(masked),
                "text_padding_mask": torch.from_numpy(~attention),
                "text_plan": text_plan(lengths, copies, labels, options.text_length_groups),
            },
            "target": {
                "ecg_original": ecgs["ecg_original"],
                "lead_mask": ecgs["lead_mask"],
                "patch_seed": torch.from_numpy(patch_seeds.astype(np.int64)),
                "mlm_labels": torch.from_numpy(labels),
                "mlm_scored": torch.from_numpy(labels[labels != IGNORED]),
                "is_aligned": torch.from_numpy(aligned.astype(np.int64)),
                "report_id": torch.from_numpy(own),
                "text_report_id": torch.from_numpy(shown),
            },
            "ntokens": int(attention.sum()),
            "nsentences": len(indices),
        }
