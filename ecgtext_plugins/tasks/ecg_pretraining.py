"""Self-supervised pretraining on ECGs: the fairseq task `ecg_pretraining`."""

import numpy as np
from fairseq.tasks import register_task

from ecgtext_plugins.criterions import cmsc, simclr, wav2vec2_with_cmsc  # noqa: F401  (registers them)
from ecgtext_plugins.data.cmsc_pairs import EcgPairs, manifest_pairs
from ecgtext_plugins.data.ecg_dataset import EcgDataset
from ecgtext_plugins.data.windows import long_enough
from ecgtext_plugins.store.manifest import Manifest
from ecgtext_plugins.tasks._ecg_config import EcgConfig
from ecgtext_plugins.tasks._ecg_only_task import EcgOnlyTask

TWO_VIEWS = ("simclr", "3kg")


@register_task("ecg_pretraining", dataclass=EcgConfig)
class EcgPretrainingTask(EcgOnlyTask):
    """What a batch holds goes by the criterion's name.

    ``cmsc`` in it: pairs of adjacent windows of a recording; ``simclr`` or ``3kg``: two views of each ECG, perturbed
    independently; else ECGs.
    """

    csv_columns = ("loss_0", "loss_1", "loss_2", "loss_3", "accuracy", "prob_perplexity", "code_perplexity", "gnorm")

    def _usable(self, manifest: Manifest) -> Manifest:
        """Short windows of pairs are left out together with the other one, when pairs are made."""
        return manifest if "cmsc" in self.cfg.criterion_name else long_enough(manifest, self.cfg.min_sample_size)

    def _dataset(self, manifest: Manifest, training: bool) -> EcgDataset | EcgPairs:
        ecgs = EcgDataset(manifest, self._options(training))
        if "cmsc" in self.cfg.criterion_name:
            return EcgPairs(ecgs, manifest_pairs(manifest, self.cfg.min_sample_size))
        return EcgPairs(ecgs) if any(name in self.cfg.criterion_name for name in TWO_VIEWS) else ecgs

    def _trained_on(self, dataset: EcgDataset | EcgPairs) -> np.ndarray:
        return np.unique(dataset.pairs) if isinstance(dataset, EcgPairs) else super()._trained_on(dataset)
