"""Supervised multi-label classification of ECGs: the fairseq task `ecg_classification`."""

from typing import Any

from fairseq.tasks import register_task

from ecgtext_plugins.criterions import binary_cross_entropy_with_logits  # noqa: F401  (registers it)
from ecgtext_plugins.data.ecg_dataset import EcgDataset
from ecgtext_plugins.data.labels import read_labels
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.store.manifest import Manifest
from ecgtext_plugins.tasks._ecg_config import EcgClassificationConfig
from ecgtext_plugins.tasks._ecg_only_task import EcgOnlyTask
from ecgtext_plugins.tasks._errors_told import told_in_one_sentence


@register_task("ecg_classification", dataclass=EcgClassificationConfig)
class EcgClassificationTask(EcgOnlyTask):
    """Perturbations apply in training here too; fairseq-signals reads their keys and passes them on to nothing.

    Attributes
    ----------
    target_labels : list of str
        Names of the labels, in the order of the batches' columns and of the model's logits.
    """

    csv_columns = ("accuracy", "em_accuracy", "precision", "recall", "f1", "macro_auroc", "macro_auprc", "gnorm")

    def __init__(self, cfg: EcgClassificationConfig):
        super().__init__(cfg)
        self.target_labels = self._labels(self._usable(self._manifest("train"))).names

    def _labels(self, manifest: Manifest):
        return read_labels(manifest, self.cfg.label_file, self.cfg.label_set)

    @told_in_one_sentence
    def _check_model(self, cfg) -> None:
        super()._check_model(cfg)
        count = getattr(cfg, "num_labels", None)
        if count is not None and count != len(self.target_labels):
            raise BadConfig(
                f"model.num_labels={count}, but the data has {len(self.target_labels)} labels "
                f"({', '.join(self.target_labels[:12])}{', ...' if len(self.target_labels) > 12 else ''}): expected as "
                "many"
            )

    def _dataset(self, manifest: Manifest, training: bool) -> EcgDataset:
        labels = self._labels(manifest)
        if labels.names != self.target_labels:
            raise BadConfig(
                f"{manifest.path} has the labels {', '.join(labels.names[:12])}, the training data "
                f"{', '.join(self.target_labels[:12])}: expected the same; give task.label_set, or manifests of one "
                "store"
            )
        return EcgDataset(manifest, self._options(training), labels)

    def _carried(self, dataset: EcgDataset) -> dict[str, Any]:
        return super()._carried(dataset) | {"target_labels": list(self.target_labels)}
