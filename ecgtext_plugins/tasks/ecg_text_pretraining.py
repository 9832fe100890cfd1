"""Pretraining on ECG-report pairs: the fairseq task `ecg_text_pretraining`."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import torch
from fairseq import metrics
from fairseq.distributed import utils as distributed_utils
from fairseq.tasks import FairseqTask, register_task
from hydra.core.hydra_config import HydraConfig

from ecgtext_plugins.atomic_files import write_text
from ecgtext_plugins.checkpoints.resume import LAST, is_finished, refuse_other_data, restored_state
from ecgtext_plugins.criterions import dbeta, etm, ets, mem, mlm  # noqa: F401  (registers them)
from ecgtext_plugins.criterions._terms import summarise
from ecgtext_plugins.data.ecg_text_dataset import EcgTextDataset, EcgTextOptions
from ecgtext_plugins.errors import BadConfig, BadManifest
from ecgtext_plugins.kept_memory import keep_freed_memory
from ecgtext_plugins.modules.ets_exchange import world_size
from ecgtext_plugins.negatives.sampler import NegativeSampler
from ecgtext_plugins.negatives.table import NegativesTable
from ecgtext_plugins.optimizers import adamw  # noqa: F401  (registers it)
from ecgtext_plugins.store.manifest import Manifest, read_manifest, refuse_shared_patients
from ecgtext_plugins.tasks._errors_told import told_in_one_sentence
from ecgtext_plugins.tasks._fairseq_dataset import BatchedDataset
from ecgtext_plugins.tasks._metrics_csv import MetricsCsv
from ecgtext_plugins.tasks._nonfinite import POLICIES, NonfiniteGuard
from ecgtext_plugins.tasks._pretraining_config import EcgTextPretrainingConfig
from ecgtext_plugins.tasks._step_clock import StepClock
from ecgtext_plugins.text.embedded_files import text_encoder_files
from ecgtext_plugins.text.encoders import load_text_encoder, load_tokenizer, resolve_text_encoder
from ecgtext_plugins.text.tokenization import check_length

log = logging.getLogger(__name__)

ALLOWED = {"mlm_on_negatives": ("ignore", "score"), "nonfinite": POLICIES}
COLLAPSED = 0.99  # mean cosine of a tower's features from which on it says that they are all alike


def _wait_for_all() -> None:
    if world_size() > 1:
        torch.distributed.barrier()


@register_task("ecg_text_pretraining", dataclass=EcgTextPretrainingConfig)
class EcgTextPretrainingTask(FairseqTask):
    """Loads stores, tokenizer and negatives; carries what a checkpoint needs to be used with nothing but its path."""

    def __init__(self, cfg: EcgTextPretrainingConfig):
        super().__init__(cfg)
        store = read_manifest(self._manifest_path(cfg.data, "train")).store
        self.text_encoder = resolve_text_encoder(cfg.text_encoder, store.folder)
        self.tokenizer = load_tokenizer(self.text_encoder)
        self.state.merge_state_dict({"text_encoder_files": text_encoder_files(self.text_encoder)})
        for key, allowed in ALLOWED.items():
            if getattr(cfg, key) not in allowed:
                raise BadConfig(f"task.{key}={getattr(cfg, key)}: expected one of {', '.join(allowed)}")
        self._csv = MetricsCsv(Path(cfg.save_dir) / "metrics.csv")
        self._position = {"split": "train", "epoch": 1, "num_updates": 0, "lr": None}
        self._logs: list[dict] = []
        self._clock, self._guard = StepClock(), NonfiniteGuard(cfg.nonfinite)
        self._gradient_norms: list[float] = []
        self._collapse_told = False
        self._began_with: dict = {}

    @classmethod
    @told_in_one_sentence
    def setup_task(cls, cfg: EcgTextPretrainingConfig, **kwargs) -> "EcgTextPretrainingTask":
        """Build the task; ends the program when the run in the save folder is complete."""
        task = cls(cfg, **kwargs)
        # A training run, not another tool that loads its checkpoint; of several processes, spawned ones lack hydra's.
        if HydraConfig.initialized() or world_size() > 1:
            restored = restored_state(
                cfg.save_dir, cfg.restore_file, distributed_utils.get_global_rank(), _wait_for_all
            )
            if is_finished(restored, cfg.max_update):
                log.info("the run in %s has its %d updates: nothing to do", cfg.save_dir, cfg.max_update)
                raise SystemExit(0)
            if not torch.cuda.is_available():
                keep_freed_memory()
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
        encoder = load_text_encoder(self.text_encoder)
        check_length(encoder.config, self.cfg.max_text_tokens)
        return encoder

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
        options = EcgTextOptions(
            seed=cfg.seed,
            crop_samples=cfg.crop_samples,
            pad_ecgs=cfg.pad_ecgs,
            lead_mask_prob=cfg.mask_leads_prob,
            keep_one_lead=cfg.keep_one_lead,
            lead_mask_condition=self._lead_mask_condition(),
            mlm_prob=cfg.mlm_prob,
            score_negatives=cfg.mlm_on_negatives == "score",
            negative_ratio=cfg.negative_ratio,
            max_text_tokens=cfg.max_text_tokens,
            text_length_groups=cfg.text_length_groups,
            distinct_reports_once=cfg.distinct_reports_once,
            shuffle_reports=cfg.shuffle_reports and training,
        )
        negatives = self._sampler(manifest) if cfg.negative_ratio > 0 else None
        dataset = EcgTextDataset(manifest, self.tokenizer, options, negatives)
        refuse_shared_patients([manifest, *(loaded.dataset.manifest for loaded in self.datasets.values())])
        sizes = np.minimum(manifest.n_samples, cfg.crop_samples or manifest.n_samples)
        self.datasets[split] = BatchedDataset(dataset, sizes, cfg.seed, training, cfg.rebuild_batches)
        if training:
            self._record_training_data(manifest, int(np.median(sizes)))

    def _sampler(self, manifest: Manifest) -> NegativeSampler:
        """Make the sampler of negatives: reports of the train manifest, by the configured strategies."""
        cfg, store = self.cfg, manifest.store
        train = manifest if manifest.path.stem == "train" else read_manifest(self._manifest_path(cfg.data, "train"))
        reports = np.unique(train.store.column("report_id")[train.rows])
        folder = Path(cfg.negatives) if cfg.negatives else store.folder / "negatives"
        strategies = {cfg.negative_strategy, *(entry.partition(":")[2] for entry in cfg.negative_schedule)}
        table = None if strategies == {"random"} else NegativesTable.open(folder, store)
        chosen = cfg.negative_strategy, list(cfg.negative_mixture), list(cfg.negative_schedule)
        return NegativeSampler(reports[reports >= 0].astype(np.int64), table, *chosen)

    def _lead_mask_condition(self) -> tuple[int, int] | None:
        condition = self.cfg.mask_leads_condition
        if condition is None:
            return None
        if len(condition) != 2 or not all(0 <= count <= 6 for count in condition):
            raise BadConfig(
                f"task.mask_leads_condition={list(condition)}: expected two numbers from 0 to 6, of limb and of "
                "precordial leads to hide, or null"
            )
        return tuple(condition)

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
        epochs = super().get_batch_iterator(dataset, *args, **kwargs)
        if dataset.training:
            self._time_waiting(epochs)
        return epochs

    def _time_waiting(self, epochs) -> None:
        make = epochs._get_iterator_for_epoch

        def timed(*args, **kwargs):
            batches = make(*args, **kwargs)
            if batches is not None:
                batches._itr = self._clock.waiting(batches._itr)
            return batches

        epochs._get_iterator_for_epoch = timed

    def _forward(self, sample, model, criterion):
        with torch.autocast(sample["net_input"]["ecg"].device.type, torch.bfloat16, enabled=self.cfg.bf16_autocast):
            return criterion(model, sample)

    @told_in_one_sentence
    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """One forward and backward pass; a loss that is no number stops the run or leaves the update out."""
        if self._position["split"] != "train":
            self._write_metrics()
        self._position |= {"split": "train", "num_updates": update_num + 1, "lr": float(optimizer.get_lr())}
        model.train()
        model.set_num_updates(update_num)

        def step():
            criterion.is_dummy = ignore_grad
            try:
                loss, size, log_values = self._forward(sample, model, criterion)
            finally:
                criterion.is_dummy = False
            if not self._guard.check(loss, sample, log_values, self.datasets["train"].dataset.manifest.record_id):
                return loss.new_zeros(()), 0, dict.fromkeys(log_values, 0.0)
            optimizer.backward(loss * 0 if ignore_grad else loss)
            return loss, size, log_values

        device = sample["net_input"]["ecg"].device
        if device.type == "cuda" and not self._clock.flops_per_ecg and not model.config.compile_layers:
            return self._clock.counting(step, sample["nsentences"], device)
        self._clock.add(0 if ignore_grad else sample["nsentences"])
        return step()

    def valid_step(self, sample, model, criterion):
        """One forward pass, in training's precision."""
        model.eval()
        with torch.no_grad():
            return self._forward(sample, model, criterion)

    def optimizer_step(self, optimizer, model, update_num):
        """Step, unless a loss of this update was no number."""
        if not self._guard.take():
            optimizer.step()

    def reduce_metrics(self, logging_outputs: list[dict], criterion) -> None:
        """Log to fairseq's meters and to metrics.csv."""
        super().reduce_metrics(logging_outputs, criterion)
        self._logs.extend(logging_outputs)
        if self._position["split"] != "train":
            return
        meters = next((found for found in metrics.get_active_aggregators() if "gnorm" in found), None)
        if meters is not None:
            self._gradient_norms.append(float(meters["gnorm"].val))
        if self._position["num_updates"] % self.cfg.log_interval == 0:
            for name, value in self._clock.read().items():
                metrics.log_scalar(name, value, round=3)
            self._write_metrics()

    def get_checkpoint_dict(self) -> dict:
        """Called by fairseq before it saves, after a validation: write what is pending; nothing is added."""
        self._write_metrics()
        return {}

    def _write_metrics(self) -> None:
        values, self._logs = summarise(self._logs), []
        if self._gradient_norms:
            values["gnorm"] = sum(self._gradient_norms) / len(self._gradient_norms)
            self._gradient_norms = []
        for tower in ("ecg", "text"):
            if values.get(f"{tower}_cosine", 0.0) > COLLAPSED and not self._collapse_told:
                self._collapse_told = True
                log.warning(
                    "the %s features of a batch are nearly all alike (mean cosine %.3f): the tower may have collapsed; "
                    "a lower learning rate, or longer warm-up, is what usually helps",
                    tower,
                    values[f"{tower}_cosine"],
                )
        if "loss" in values and distributed_utils.get_global_rank() == 0:
            self._csv.write(**self._position, values=values)
