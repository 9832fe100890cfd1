"""Telling whose an ECG is: the fairseq task `ecg_identification`."""

import numpy as np
from fairseq import metrics
from fairseq.tasks import register_task

from ecgtext_plugins.criterions import arcface  # noqa: F401  (registers it)
from ecgtext_plugins.criterions._epoch_scores import EpochScores
from ecgtext_plugins.data.ecg_dataset import EcgDataset
from ecgtext_plugins.errors import BadConfig, BadManifest
from ecgtext_plugins.store.manifest import Manifest, refuse_shared_patients
from ecgtext_plugins.tasks._ecg_config import EcgIdentificationConfig
from ecgtext_plugins.tasks._ecg_only_task import EcgOnlyTask
from ecgtext_plugins.tasks._errors_told import told_in_one_sentence
from ecgtext_plugins.tasks._gallery import GalleryAndProbe, top1_accuracy


@register_task("ecg_identification", dataclass=EcgIdentificationConfig)
class EcgIdentificationTask(EcgOnlyTask):
    """Trains on classes of train.tsv; validates by the nearest gallery ECG of each probe, by cosine.

    A validation subset `valid` is valid_gallery.tsv and valid_probe.tsv. Each of their ECGs is embedded once a
    validation; its loss is 0, its accuracy that of the probes of all processes.

    Attributes
    ----------
    target_labels : list of str
        Numbers of the identities in train.tsv.
    """

    csv_columns = ("accuracy", "gnorm")

    def __init__(self, cfg: EcgIdentificationConfig):
        super().__init__(cfg)
        self._embeddings = EpochScores()
        largest = int(_identities(self._usable(self._manifest("train"))).max())
        self.target_labels = [str(number) for number in range(largest + 1)]

    @told_in_one_sentence
    def _check_model(self, cfg) -> None:
        super()._check_model(cfg)
        count, found = getattr(cfg, "num_labels", None), len(self.target_labels)
        if count is not None and count < found:
            raise BadConfig(
                f"model.num_labels={count}, but train.tsv has identities up to {found - 1}: expected {found} or more"
            )

    @told_in_one_sentence
    def load_dataset(self, split: str, combine: bool = False, **kwargs) -> None:
        """Open train.tsv, or gallery and probe of another split."""
        if split.startswith("train"):
            super().load_dataset(split, combine, **kwargs)
            return
        parts = [self._usable(self._manifest(f"{split}_{part}")) for part in ("gallery", "probe")]
        lacking = np.setdiff1d(_identities(parts[1]), _identities(parts[0]))
        if len(lacking):
            raise BadManifest(
                f"{parts[1].path} has the identity {lacking[0]}, which {parts[0].path} lacks: expected an ECG of each "
                "probe's person in the gallery; make both anew"
            )
        for part in parts:  # gallery and probe share patients by design, training shares none with either
            train = (loaded.dataset.manifest for name, loaded in self.datasets.items() if name.startswith("train"))
            refuse_shared_patients([part, *train])
        self._batched(split, GalleryAndProbe(*(self._dataset(part, False) for part in parts)), False)

    def _dataset(self, manifest: Manifest, training: bool) -> EcgDataset:
        _identities(manifest)
        return EcgDataset(manifest, self._options(training))

    def _epoch_scores(self, criterion):
        return self._embeddings

    def _valid_forward(self, sample, model, criterion):
        with self._autocast(sample):
            net_input = sample["net_input"]
            features = model.encode_ecg(net_input["ecg"], net_input["ecg_padding_mask"])
        target = sample["target"]
        self._embeddings.add(
            sample["id"], features=features.float(), identity=target["identity"], is_probe=target["is_probe"]
        )
        log = {"loss": 0.0, "ntokens": sample["ntokens"], "nsentences": sample["nsentences"], "sample_size": 1}
        return features.new_zeros(()), 1, log

    def _reduce(self, logging_outputs: list[dict], criterion) -> None:
        if not self._validating:
            super()._reduce(logging_outputs, criterion)
            return
        self._summed_by = _log_no_loss
        _log_no_loss(logging_outputs)

    def _epoch_figures(self, criterion) -> dict[str, float]:
        found = self._embeddings.gather()
        if not found:
            return {}
        probe = found["is_probe"]
        features, identity = found["features"], found["identity"]
        return {"accuracy": top1_accuracy(features[~probe], identity[~probe], features[probe], identity[probe])}


def _log_no_loss(logging_outputs: list[dict]) -> None:
    metrics.log_scalar("loss", 0.0, len(logging_outputs))


def _identities(manifest: Manifest) -> np.ndarray:
    if manifest.identities is None:
        raise BadManifest(
            f"{manifest.path} has no identities: expected a column identity, or a class index in manifests of "
            "fairseq-signals; set identification: true in the recipe and use its folder manifests/identification"
        )
    return manifest.identities
