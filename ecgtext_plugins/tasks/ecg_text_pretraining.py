"""Pretraining on ECG-report pairs: the fairseq task `ecg_text_pretraining`."""

import logging
from pathlib import Path

import numpy as np
from fairseq.tasks import register_task

from ecgtext_plugins.criterions import dbeta, etm, ets, mem, mlm  # noqa: F401  (registers them)
from ecgtext_plugins.data.ecg_text_dataset import EcgTextDataset, EcgTextOptions
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.negatives.sampler import NegativeSampler
from ecgtext_plugins.negatives.table import NegativesTable
from ecgtext_plugins.store.manifest import Manifest, read_manifest, refuse_shared_patients
from ecgtext_plugins.tasks._ecg_task import EcgTask
from ecgtext_plugins.tasks._errors_told import told_in_one_sentence
from ecgtext_plugins.tasks._fairseq_dataset import BatchedDataset
from ecgtext_plugins.tasks._pretraining_config import EcgTextPretrainingConfig
from ecgtext_plugins.text.embedded_files import text_encoder_files
from ecgtext_plugins.text.encoders import load_text_encoder, load_tokenizer, resolve_text_encoder
from ecgtext_plugins.text.tokenization import check_length

log = logging.getLogger(__name__)

MLM_ON_NEGATIVES = ("ignore", "score")
COLLAPSED = 0.99  # mean cosine of a tower's features from which on it says that they are all alike


@register_task("ecg_text_pretraining", dataclass=EcgTextPretrainingConfig)
class EcgTextPretrainingTask(EcgTask):
    """Loads stores, tokenizer and negatives; carries what a checkpoint needs to be used with nothing but its path."""

    csv_columns = (
        "mlm_loss",
        "mem_loss",
        "etm_loss",
        "ets_loss",
        "mlm_accuracy",
        "etm_accuracy",
        "retrieval_accuracy",
        "text_retrieval_accuracy",
        "ecg_cosine",
        "text_cosine",
        "gnorm",
    )

    def __init__(self, cfg: EcgTextPretrainingConfig):
        super().__init__(cfg)
        store = read_manifest(self.manifest_path(cfg.data, "train")).store
        self.text_encoder = resolve_text_encoder(cfg.text_encoder, store.folder)
        self.tokenizer = load_tokenizer(self.text_encoder)
        self.state.merge_state_dict({"text_encoder_files": text_encoder_files(self.text_encoder)})
        if cfg.mlm_on_negatives not in MLM_ON_NEGATIVES:
            raise BadConfig(
                f"task.mlm_on_negatives={cfg.mlm_on_negatives}: expected one of {', '.join(MLM_ON_NEGATIVES)}"
            )
        self._collapse_told = False

    @told_in_one_sentence
    def build_text_encoder(self):
        """Load the pretrained text encoder of this run."""
        encoder = load_text_encoder(self.text_encoder)
        check_length(encoder.config, self.cfg.max_text_tokens)
        return encoder

    @told_in_one_sentence
    def load_dataset(self, split: str, combine: bool = False, **kwargs) -> None:
        """Open the manifest of `split`; draws are new each epoch in training and fixed elsewhere."""
        cfg, training = self.cfg, split.startswith("train")
        manifest = read_manifest(self.manifest_path(cfg.data, split))
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
        train = manifest if manifest.path.stem == "train" else read_manifest(self.manifest_path(cfg.data, "train"))
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

    def _notice(self, values: dict[str, float]) -> None:
        """Warn, once, when a tower's features look alike."""
        for tower in ("ecg", "text"):
            if values.get(f"{tower}_cosine", 0.0) > COLLAPSED and not self._collapse_told:
                self._collapse_told = True
                log.warning(
                    "the %s features of a batch are nearly all alike (mean cosine %.3f): the tower may have collapsed; "
                    "a lower learning rate, or longer warm-up, is what usually helps",
                    tower,
                    values[f"{tower}_cosine"],
                )
