"""What the tasks on ECGs alone share: their manifests, options and datasets, and models that fit them."""

from typing import Any

import numpy as np

from ecgtext_plugins.data.cmsc_pairs import EcgPairs
from ecgtext_plugins.data.ecg_dataset import EcgDataset, EcgOptions, is_standardised
from ecgtext_plugins.data.windows import long_enough, taken, windowed
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.store.manifest import Manifest, read_manifest, refuse_shared_patients
from ecgtext_plugins.tasks._ecg_config import EcgConfig, check_options, dataset_options, leads_of, perturbations_of
from ecgtext_plugins.tasks._ecg_task import EcgTask
from ecgtext_plugins.tasks._errors_told import told_in_one_sentence
from ecgtext_plugins.tasks._fairseq_dataset import BatchedDataset


class EcgOnlyTask(EcgTask):
    """Base of the tasks on ECGs alone."""

    def __init__(self, cfg: EcgConfig):
        super().__init__(cfg)
        check_options(cfg)
        self.leads = leads_of(cfg)
        perturbations_of(cfg)  # refuse values out of range before anything is read

    def build_model(self, cfg, from_checkpoint: bool = False):
        """Build the model; refuse one for another number of leads."""
        self._check_model(cfg)
        return super().build_model(cfg, from_checkpoint)

    @told_in_one_sentence
    def _check_model(self, cfg) -> None:
        """Raise BadConfig when the model does not fit the task's data."""
        channels = getattr(cfg, "in_d", None)
        if channels is not None and channels != self.leads.channels:
            raise BadConfig(
                f"model.in_d={channels}, but the task's leads make {self.leads.channels} channels: expected the same; "
                "set model.in_d, or task.enable_padding_leads=true for twelve channels"
            )

    @told_in_one_sentence
    def load_dataset(self, split: str, combine: bool = False, **kwargs) -> None:
        """Open the manifest of `split`; draws are new each epoch in training and fixed elsewhere."""
        training = split.startswith("train")
        manifest = self._usable(self._manifest(split))
        dataset = self._dataset(manifest, training)
        refuse_shared_patients([manifest, *(loaded.dataset.manifest for loaded in self.datasets.values())])
        self._batched(split, dataset, training)

    def _batched(self, split: str, dataset: EcgDataset | EcgPairs, training: bool) -> None:
        sizes = dataset.sizes
        self.datasets[split] = BatchedDataset(dataset, sizes, self.cfg.seed, training, self.cfg.rebuild_batches)
        if training:
            trained_on, ecgs = self._trained_on(dataset), getattr(dataset, "ecgs", dataset)
            self._record_training_data(
                taken(dataset.manifest, trained_on), int(np.median(ecgs.sizes[trained_on])), **self._carried(dataset)
            )
            self._record_id = dataset.manifest.record_id

    def _manifest(self, split: str) -> Manifest:
        """Read the manifest of `split`, in windows where the config says so, and check its rate."""
        cfg, manifest = self.cfg, read_manifest(self.manifest_path(self.cfg.data, split))
        if cfg.sample_rate is not None and cfg.sample_rate != manifest.store.sample_rate:
            raise BadConfig(
                f"task.sample_rate={cfg.sample_rate}, but {manifest.path} lists ECGs of "
                f"{manifest.store.sample_rate:g} Hz: expected the same; build the data at that rate, or set null"
            )
        return manifest if cfg.segment_samples is None else windowed(manifest, cfg.segment_samples)

    def _usable(self, manifest: Manifest) -> Manifest:
        return long_enough(manifest, self.cfg.min_sample_size)

    def _options(self, training: bool) -> EcgOptions:
        return dataset_options(self.cfg, training)

    def _dataset(self, manifest: Manifest, training: bool) -> EcgDataset | EcgPairs:
        """Make the dataset of one split: each task its own."""
        raise NotImplementedError

    def _trained_on(self, dataset: EcgDataset | EcgPairs) -> np.ndarray:
        """Return the places of the manifest that training sees."""
        return np.arange(len(dataset.manifest))

    def _carried(self, dataset: EcgDataset | EcgPairs) -> dict[str, Any]:
        """Return what a checkpoint carries besides rate, length and digest."""
        return {"standardize": bool(self.cfg.standardize or is_standardised(dataset.manifest))}
