"""Pretraining on ECG-report pairs: the fairseq task `ecg_text_pretraining`."""

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import numpy as np
import pyarrow.compute as pc
from fairseq.dataclass import FairseqDataclass
from fairseq.distributed import utils as distributed_utils
from fairseq.tasks import FairseqTask, register_task
from hydra.core.hydra_config import HydraConfig
from omegaconf import II, MISSING

from ecgtext_plugins.atomic_files import write_text
from ecgtext_plugins.checkpoints.resume import LAST, is_finished, refuse_other_data, restored_state
from ecgtext_plugins.criterions import dbeta, etm, ets, mem, mlm  # noqa: F401  (registers them)
from ecgtext_plugins.criterions._terms import summarise
from ecgtext_plugins.data.ecg_text_dataset import EcgTextDataset, EcgTextOptions
from ecgtext_plugins.errors import BadConfig, BadManifest
from ecgtext_plugins.negatives.table import NegativesTable
from ecgtext_plugins.store.manifest import Manifest, read_manifest, refuse_shared_patients
from ecgtext_plugins.tasks._errors_told import told_in_one_sentence
from ecgtext_plugins.tasks._fairseq_dataset import BatchedDataset
from ecgtext_plugins.tasks._metrics_csv import MetricsCsv
from ecgtext_plugins.text.embedded_files import text_encoder_files
from ecgtext_plugins.text.encoders import load_text_encoder, load_tokenizer, resolve_text_encoder

log = logging.getLogger(__name__)


@dataclass
class EcgTextPretrainingConfig(FairseqDataclass):
    """Keys of `task=ecg_text_pretraining`."""

    data: str = field(
        default=MISSING, metadata={"help": "folder of the manifests {train,valid}.tsv, usually DATA/manifests"}
    )
    text_encoder: str = field(
        default="google/flan-t5-base",
        metadata={
            "help": "Hugging Face name or folder, or scratch: DATA/text_encoder as made by ecgtext negatives build"
        },
    )
    max_text_tokens: int = field(default=254, metadata={"help": "longer reports are cut to this many tokens"})
    crop_samples: Optional[int] = field(
        default=None, metadata={"help": "random crop of the ECG to this many samples (null: whole records)"}
    )
    mask_leads_prob: float = field(default=0.5, metadata={"help": "probability of each lead to be zeroed in the input"})
    keep_one_lead: bool = field(default=False, metadata={"help": "never zero all twelve leads (published: false)"})
    mlm_prob: float = field(default=0.25, metadata={"help": "probability of a report's token to be scored by MLM"})
    mlm_on_negatives: bool = field(default=False, metadata={"help": "score MLM on swapped reports too (release: true)"})
    negative_ratio: float = field(default=0.5, metadata={"help": "share of a batch that shows an N3S negative report"})
    negatives: Optional[str] = field(
        default=None, metadata={"help": "folder of the negatives table (null: negatives beside the manifests' folder)"}
    )
    shuffle_reports: bool = field(
        default=False,
        metadata={"help": "control experiment: every training ECG gets a random record's report, anew each epoch"},
    )
    rebuild_batches: bool = field(default=True, metadata={"help": "compose new batches each epoch, by (seed, epoch)"})
    seed: int = II("common.seed")
    save_dir: str = II("checkpoint.save_dir")
    log_interval: int = II("common.log_interval")
    restore_file: str = II("checkpoint.restore_file")
    max_update: int = II("optimization.max_update")


@register_task("ecg_text_pretraining", dataclass=EcgTextPretrainingConfig)
class EcgTextPretrainingTask(FairseqTask):
    """Loads stores, tokenizer and negatives; carries what a checkpoint needs to be used with nothing but its path."""

    def __init__(self, cfg: EcgTextPretrainingConfig):
        super().__init__(cfg)
        store = read_manifest(self._manifest_path(cfg.data, "train")).store
        self.text_encoder = resolve_text_encoder(cfg.text_encoder, store.folder)
        self.tokenizer = load_tokenizer(self.text_encoder)
        self.state.merge_state_dict({"text_encoder_files": text_encoder_files(self.text_encoder)})
        self._csv = MetricsCsv(Path(cfg.save_dir) / "metrics.csv")
        self._position = {"split": "train", "epoch": 1, "num_updates": 0, "lr": None}
        self._logs: list[dict] = []
        self._began_with: dict = {}

    @classmethod
    @told_in_one_sentence
    def setup_task(cls, cfg: EcgTextPretrainingConfig, **kwargs) -> "EcgTextPretrainingTask":
        """Build the task; ends the program when the run in the save folder is complete."""
        task = cls(cfg, **kwargs)
        if HydraConfig.initialized():  # a training run, not another tool that loads its checkpoint
            restored = restored_state(cfg.save_dir, cfg.restore_file)
            if is_finished(restored, cfg.max_update):
                log.info("the run in %s has its %d updates: nothing to do", cfg.save_dir, cfg.max_update)
                raise SystemExit(0)
            if cfg.restore_file == LAST:
                task._began_with = restored.get("task_state") or {}
        return task

    @staticmethod
    def _manifest_path(data: str, split: str) -> Path:
        path = Path(data) / f"{split}.tsv"
        if not path.is_file():
            raise BadManifest(
                f"no manifest {path}: expected task.data={data} to be the folder manifests of a store; build one with "
                "ecgtext manifest build"
            )
        return path

    @told_in_one_sentence
    def build_text_encoder(self):
        """Load the pretrained text encoder of this run."""
        return load_text_encoder(self.text_encoder)

    @told_in_one_sentence
    def build_model(self, cfg, from_checkpoint: bool = False):
        """Build the model; a value that does not fit is told in one sentence."""
        try:
            return super().build_model(cfg, from_checkpoint)
        except ValueError as error:
            raise BadConfig(f"model: {error}") from error

    @told_in_one_sentence
    def build_criterion(self, cfg, from_checkpoint: bool = False):
        """Build the criterion; a value that does not fit is told in one sentence."""
        return super().build_criterion(cfg, from_checkpoint)

    @told_in_one_sentence
    def load_dataset(self, split: str, combine: bool = False, **kwargs) -> None:
        """Open the manifest of `split`; draws are new each epoch in training and fixed elsewhere."""
        cfg, training = self.cfg, split.startswith("train")
        manifest = read_manifest(self._manifest_path(cfg.data, split))
        negatives = None
        if cfg.negative_ratio > 0:
            negatives = NegativesTable.open(cfg.negatives or manifest.store.folder / "negatives", manifest.store)
        options = EcgTextOptions(
            seed=cfg.seed,
            crop_samples=cfg.crop_samples,
            lead_mask_prob=cfg.mask_leads_prob,
            keep_one_lead=cfg.keep_one_lead,
            mlm_prob=cfg.mlm_prob,
            mlm_on_negatives=cfg.mlm_on_negatives,
            negative_ratio=cfg.negative_ratio,
            max_text_tokens=cfg.max_text_tokens,
            shuffle_reports=cfg.shuffle_reports and training,
        )
        dataset = EcgTextDataset(manifest, self.tokenizer, options, negatives)
        refuse_shared_patients([manifest, *(loaded.dataset.manifest for loaded in self.datasets.values())])
        sizes = np.minimum(manifest.n_samples, cfg.crop_samples or manifest.n_samples)
        self.datasets[split] = BatchedDataset(dataset, sizes, cfg.seed, training, cfg.rebuild_batches)
        if training:
            self._record_training_data(manifest, int(np.median(sizes)))

    def _record_training_data(self, manifest: Manifest, n_samples: int) -> None:
        """Note rate and length for later use, and write which recordings were trained on."""
        store = manifest.store
        checksums = store.text_column("checksum").take(np.unique(manifest.rows))  # a record once, whatever its windows
        text = "\n".join(checksums.take(pc.sort_indices(checksums)).to_pylist()) + "\n"
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.state.merge_state_dict(
            {
                "sample_rate": float(store.sample_rate),
                "n_samples": n_samples,
                "training_records_sha256": digest,
                "store_fingerprint": store.fingerprint,
            }
        )
        refuse_other_data(self._began_with, self.state_dict(), self.cfg.save_dir)
        if distributed_utils.get_global_rank() == 0:
            write_text(Path(self.cfg.save_dir) / "training_records.txt", text)

    def begin_epoch(self, epoch: int, model) -> None:
        """Note the epoch for metrics.csv."""
        self._position["epoch"] = epoch

    def begin_valid_epoch(self, epoch: int, model) -> None:
        """Write the running row of training; what follows is validation."""
        self._write_metrics()
        self._position["split"] = "valid"

    def get_batch_iterator(self, dataset, *args, **kwargs):
        """Make fairseq's iterator; in a validation of several subsets, each gets its row of metrics.csv."""
        if self._position["split"] != "train":
            self._write_metrics()
            self._position["split"] = next(name for name, loaded in self.datasets.items() if loaded is dataset)
        return super().get_batch_iterator(dataset, *args, **kwargs)

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """One forward and backward pass."""
        if self._position["split"] != "train":
            self._write_metrics()
        self._position |= {"split": "train", "num_updates": update_num + 1, "lr": float(optimizer.get_lr())}
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)

    def reduce_metrics(self, logging_outputs: list[dict], criterion) -> None:
        """Log to fairseq's meters and to metrics.csv."""
        super().reduce_metrics(logging_outputs, criterion)
        self._logs.extend(logging_outputs)
        due = self._position["num_updates"] % self.cfg.log_interval == 0
        if self._position["split"] == "train" and due:
            self._write_metrics()

    def get_checkpoint_dict(self) -> dict:
        """Called by fairseq before it saves, after a validation: write what is pending; nothing is added."""
        self._write_metrics()
        return {}

    def _write_metrics(self) -> None:
        values, self._logs = summarise(self._logs), []
        if values and distributed_utils.get_global_rank() == 0:
            self._csv.write(**self._position, values=values)
