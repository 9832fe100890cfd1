"""What all our fairseq tasks do: resume, batches, precision, losses that are no number, metrics, training's digest."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from fairseq import metrics
from fairseq.distributed import utils as distributed_utils
from fairseq.tasks import FairseqTask
from hydra.core.hydra_config import HydraConfig

from ecgtext_plugins.atomic_files import write_text
from ecgtext_plugins.checkpoints.resume import LAST, is_finished, refuse_other_data, restored_state
from ecgtext_plugins.errors import BadConfig, BadManifest
from ecgtext_plugins.kept_memory import keep_freed_memory
from ecgtext_plugins.models._encoder_path import without_encoder_path
from ecgtext_plugins.modules.ets_exchange import world_size
from ecgtext_plugins.optimizers import adamw  # noqa: F401  (registers it)
from ecgtext_plugins.store.manifest import Manifest
from ecgtext_plugins.tasks._errors_told import told_in_one_sentence
from ecgtext_plugins.tasks._metrics_csv import MetricsCsv
from ecgtext_plugins.tasks._nonfinite import POLICIES, NonfiniteGuard
from ecgtext_plugins.tasks._step_clock import StepClock
from ecgtext_plugins.tasks._threads_at_exit import end_threads_at_exit

log = logging.getLogger(__name__)


def _wait_for_all() -> None:
    if world_size() > 1:
        torch.distributed.barrier()


class EcgTask(FairseqTask):
    """Base of the tasks.

    Figures of a whole validation (AUROC, say) come from the criterion: one that has ``epoch_scores`` keeps scores there
    in its forward, and ``epoch_figures()``, which gathers over the processes, gives the figures. They are told like the
    validation's loss, so that ``checkpoint.best_checkpoint_metric`` may name them.

    Attributes
    ----------
    csv_columns : tuple of str
        Values in metrics.csv, in order.
    """

    csv_columns: tuple[str, ...] = ()

    def __init__(self, cfg):
        super().__init__(cfg)
        if cfg.nonfinite not in POLICIES:
            raise BadConfig(f"task.nonfinite={cfg.nonfinite}: expected one of {', '.join(POLICIES)}")
        self._csv = MetricsCsv(Path(cfg.save_dir) / "metrics.csv", self.csv_columns)
        self._position = {"split": "train", "epoch": 1, "num_updates": 0, "lr": None}
        self._logs: list[dict] = []
        self._summed_by: Callable[[list[dict]], None] = lambda logs: None
        self._clock, self._guard = StepClock(), NonfiniteGuard(cfg.nonfinite)
        self._gradient_norms: list[float] = []
        self._began_with: dict = {}
        self._record_id: Callable[[int], str] = str
        self._validating, self._validation_begins = False, True
        self._figures: dict[str, float] = {}

    @classmethod
    @told_in_one_sentence
    def setup_task(cls, cfg, from_checkpoint: bool = False, **kwargs) -> "EcgTask":
        """Build the task; ends the program when the run in the save folder is complete."""
        task = cls(cfg)
        # A training run, not another tool that loads its checkpoint; of several processes, spawned ones lack hydra's.
        if not from_checkpoint and (HydraConfig.initialized() or world_size() > 1):
            end_threads_at_exit()
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
    def manifest_path(data: str, split: str) -> Path:
        """Return the path of a split's manifest; raises BadManifest when it is not there."""
        path = Path(data) / f"{split}.tsv"
        if not path.is_file():
            raise BadManifest(
                f"no manifest {path}: expected task.data={data} to be the folder manifests of a store; build one with "
                "ecgtext manifest build"
            )
        return path

    @told_in_one_sentence
    def build_model(self, cfg, from_checkpoint: bool = False):
        """Build the model; from a checkpoint of its own, without reading the one that its training began with."""
        try:
            return super().build_model(without_encoder_path(cfg) if from_checkpoint else cfg, from_checkpoint)
        except ValueError as error:
            raise BadConfig(f"model: {error}") from error

    @told_in_one_sentence
    def build_criterion(self, cfg, from_checkpoint: bool = False):
        """Build the criterion; a value that does not fit is told in one sentence."""
        return super().build_criterion(cfg, from_checkpoint)

    def _record_training_data(self, manifest: Manifest, n_samples: int, **more: Any) -> None:
        """Note rate and length for later use, and write which recordings were trained on."""
        store, self._record_id = manifest.store, manifest.record_id
        rows = np.unique(manifest.rows)  # a record once, whatever its windows
        checksums = store.text_column("checksum").take(rows)
        text = "\n".join(checksums.take(pc.sort_indices(checksums)).to_pylist()) + "\n"
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.state.merge_state_dict(
            {
                "sample_rate": float(store.sample_rate),
                "n_samples": n_samples,
                "training_records_sha256": digest,
                "store_fingerprint": store.fingerprint,
                **more,
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
        self._validating = self._validation_begins = True

    def get_batch_iterator(self, dataset, *args, **kwargs):
        """Make fairseq's iterator; in a validation of several subsets, each gets its row of metrics.csv."""
        if self._validating or not dataset.training:
            self._write_metrics()
            name = next(name for name, loaded in self.datasets.items() if loaded is dataset)
            self._position["split"] = "train" if dataset.training else name
            self._validation_begins = True
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

    def _autocast(self, sample) -> torch.autocast:
        return torch.autocast(sample["net_input"]["ecg"].device.type, torch.bfloat16, enabled=self.cfg.bf16_autocast)

    def _forward(self, sample, model, criterion):
        with self._autocast(sample):
            return criterion(model, sample)

    @told_in_one_sentence
    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        """One forward and backward pass; a loss that is no number stops the run or leaves the update out."""
        if self._validating:
            self._write_metrics()
        self._validating = False
        self._position |= {"split": "train", "num_updates": update_num + 1, "lr": float(optimizer.get_lr())}
        model.train()
        model.set_num_updates(update_num)

        def step():
            criterion.is_dummy = ignore_grad
            try:
                loss, size, log_values = self._forward(sample, model, criterion)
            finally:
                criterion.is_dummy = False
            if not self._guard.check(loss, sample, log_values, self._record_id):
                return loss.new_zeros(()), 0, dict.fromkeys(log_values, 0.0)
            optimizer.backward(loss * 0 if ignore_grad else loss)
            return loss, size, log_values

        device = sample["net_input"]["ecg"].device
        compiled = getattr(getattr(model, "config", None), "compile_layers", False)
        if device.type == "cuda" and not self._clock.flops_per_ecg and not compiled:
            return self._clock.counting(step, sample["nsentences"], device)
        self._clock.add(0 if ignore_grad else sample["nsentences"])
        return step()

    @told_in_one_sentence
    def valid_step(self, sample, model, criterion):
        """One forward pass, in training's precision."""
        model.eval()
        scores = self._epoch_scores(criterion)
        if self._validation_begins and scores is not None:
            scores.reset()
        self._validating, self._validation_begins = True, False
        with torch.no_grad():
            return self._valid_forward(sample, model, criterion)

    def _valid_forward(self, sample, model, criterion):
        return self._forward(sample, model, criterion)

    def optimizer_step(self, optimizer, model, update_num):
        """Step, unless a loss of this update was no number."""
        if not self._guard.take():
            optimizer.step()

    def reduce_metrics(self, logging_outputs: list[dict], criterion) -> None:
        """Log to fairseq's meters and to metrics.csv."""
        self._reduce(logging_outputs, criterion)
        self._logs.extend(logging_outputs)
        if self._validating:
            self._log_figures(criterion)
            return
        meters = next((found for found in metrics.get_active_aggregators() if "gnorm" in found), None)
        if meters is not None:
            self._gradient_norms.append(float(meters["gnorm"].val))
        if self._position["num_updates"] % self.cfg.log_interval == 0:
            for name, value in self._clock.read().items():
                metrics.log_scalar(name, value, round=3)
            self._write_metrics()

    def _reduce(self, logging_outputs: list[dict], criterion) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        self._summed_by = type(criterion).reduce_metrics

    def _epoch_scores(self, criterion):
        """What keeps scores for the figures of a validation: the criterion's, or None."""
        return getattr(criterion, "epoch_scores", None)

    def _epoch_figures(self, criterion) -> dict[str, float]:
        """Compute the figures of the validation that has just ended; all processes call it together."""
        return criterion.epoch_figures()

    def _log_figures(self, criterion) -> None:
        """Log the figures of a validation.

        fairseq calls this after each batch when it validates in training, within an aggregator of the whole validation
        that it reads once, at its end: reading it tells the figures too. Its validate command calls this once, after
        the last batch.
        """
        self._figures = {}
        if self._epoch_scores(criterion) is None:
            return
        active = metrics.get_active_aggregators()
        if active[0] is metrics.get_meters("default"):
            for name, value in self._told_figures(criterion).items():
                if name not in active[-1]:
                    metrics.log_scalar(name, value, round=4)
            return
        whole = active[0]
        whole.get_smoothed_values = lambda: {
            **type(whole).get_smoothed_values(whole),
            **{name: round(value, 4) for name, value in self._told_figures(criterion).items()},
        }

    @told_in_one_sentence
    def _told_figures(self, criterion) -> dict[str, float]:
        if not self._figures:
            self._figures = {name: float(value) for name, value in self._epoch_figures(criterion).items()}
        return self._figures

    def get_checkpoint_dict(self) -> dict:
        """Called by fairseq before it saves, after a validation: write what is pending; nothing is added."""
        self._write_metrics()
        return {}

    def _summary(self) -> dict[str, float]:
        """Return what the criterion tells of the logging outputs since the last row, with the figures; {} for none."""
        if not self._logs:
            return {}
        with metrics.aggregate(new_root=True) as meters:
            self._summed_by(self._logs)
        values = {name: float(meter.avg) for name, meter in meters.items() if hasattr(meter, "avg")}
        return values | self._figures

    def _write_metrics(self) -> None:
        values = self._summary()
        self._logs, self._figures = [], {}
        if self._gradient_norms:
            values["gnorm"] = sum(self._gradient_norms) / len(self._gradient_norms)
            self._gradient_norms = []
        self._notice(values)
        # A command that only validates leaves the run's file alone.
        if "loss" in values and self._position["num_updates"] and distributed_utils.get_global_rank() == 0:
            self._csv.write(**self._position, values=values)

    def _notice(self, values: dict[str, float]) -> None:
        """Say what a row of values shows to be wrong."""
