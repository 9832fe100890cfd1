"""Keys of the task `ecg_text_pretraining`."""

from dataclasses import dataclass, field
from typing import Optional

from omegaconf import MISSING

from ecgtext_plugins.tasks._run_keys import RunKeys


@dataclass
class EcgTextPretrainingConfig(RunKeys):
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
    pad_ecgs: bool = field(
        default=True, metadata={"help": "pad ECGs to the longest of a batch, or crop to the shortest (false)"}
    )
    mask_leads_prob: float = field(default=0.5, metadata={"help": "probability of each lead to be zeroed in the input"})
    keep_one_lead: bool = field(default=False, metadata={"help": "never zero all twelve leads (published: false)"})
    mask_leads_condition: Optional[list[int]] = field(
        default=None,
        metadata={
            "help": "conditional mode: zero so many limb and precordial leads, e.g. [4, 5] (null: by probability)"
        },
    )
    mlm_prob: float = field(default=0.25, metadata={"help": "probability of a report's token to be scored by MLM"})
    mlm_on_negatives: str = field(
        default="ignore", metadata={"help": "MLM on swapped reports: ignore, or score as the release"}
    )
    negative_ratio: float = field(default=0.5, metadata={"help": "share of a batch that shows a negative report"})
    negative_strategy: str = field(
        default="farthest",
        metadata={"help": "negatives: farthest (N3S, paper), random, band (of similarity: hard), or mixed"},
    )
    negative_mixture: list[float] = field(
        default_factory=lambda: [0.5, 0.25, 0.25],
        metadata={"help": "shares of farthest, random and band in the strategy mixed"},
    )
    negative_schedule: list[str] = field(
        default_factory=list, metadata={"help": "changes of strategy by epoch, e.g. [1:random, 5:farthest]"}
    )
    negatives: Optional[str] = field(
        default=None, metadata={"help": "folder of the negatives table (null: negatives beside the manifests' folder)"}
    )
    shuffle_reports: bool = field(
        default=False,
        metadata={"help": "control experiment: every training ECG gets a random record's report, anew each epoch"},
    )
    text_length_groups: int = field(
        default=4, metadata={"help": "encode a batch's reports in so many groups by length, to pad less (1: together)"}
    )
    distinct_reports_once: bool = field(
        default=True, metadata={"help": "copies of a report in a batch share its token masks and are encoded once"}
    )
