"""Keys of the tasks on ECGs alone; names as in fairseq-signals, defaults too where the help does not say otherwise."""

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np
from omegaconf import II, MISSING, OmegaConf

from ecgtext_plugins.data.ecg_dataset import EcgOptions
from ecgtext_plugins.data.lead_selection import LeadSelection, lead_selection
from ecgtext_plugins.data.perturbations import PerturbationOptions
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.tasks._run_keys import RunKeys

THREE_KG = ("angle", "scale", "mask_ratio")


@dataclass
class EcgConfig(RunKeys):
    """Keys of `task=ecg_pretraining`, and of the others too."""

    data: str = field(
        default=MISSING, metadata={"help": "folder of the manifests {train,valid}.tsv, usually DATA/manifests"}
    )
    leads_to_load: Any = field(
        default=None,
        metadata={"help": "leads by name or number, a list or text like \"['I', 'II', 'V2']\" (null: all)"},
    )
    leads_preset: Optional[str] = field(
        default=None, metadata={"help": "instead of a list: 12, 6 (limb leads), 3 (I, II, V2), 2 (I, II) or 1 (I)"}
    )
    leads_bucket: Any = field(
        default=None, metadata={"help": "one more lead is drawn from this list for each ECG (alone: the only lead)"}
    )
    bucket_selection: str = field(default="uniform", metadata={"help": "how it is drawn: uniform"})
    enable_padding_leads: bool = field(
        default=False, metadata={"help": "keep twelve channels, other leads zero; false: a channel a lead (model.in_d)"}
    )
    sample_rate: Optional[int] = field(
        default=None, metadata={"help": "refuse data of another rate, in Hz (null: take what it has)"}
    )
    standardize: bool = field(
        default=True,
        metadata={"help": "each lead of the whole record to mean 0 and deviation 1, unless the files are so already"},
    )
    filter: bool = field(
        default=False, metadata={"help": "refused: filter when the store is built (key filter of its recipe)"}
    )
    normalize: bool = field(
        default=False,
        metadata={"help": "layer norm over leads and samples of an ECG, or by mean_path and std_path"},
    )
    mean_path: Optional[str] = field(
        default=None, metadata={"help": "with normalize: text file of a mean for each of the twelve leads, a line each"}
    )
    std_path: Optional[str] = field(default=None, metadata={"help": "with normalize: their deviations, likewise"})
    enable_padding: bool = field(
        default=False, metadata={"help": "pad ECGs to the longest of a batch; false: crop to the shortest"}
    )
    max_sample_size: Optional[int] = field(
        default=None, metadata={"help": "random crop of longer ECGs to this many samples"}
    )
    min_sample_size: Optional[int] = field(default=None, metadata={"help": "leave out ECGs of fewer samples"})
    segment_samples: Optional[int] = field(
        default=None, metadata={"help": "cut whole records into windows of so many samples at load (null: as listed)"}
    )
    num_batch_buckets: int = field(
        default=0, metadata={"help": "only 0: batches are padded to their longest ECG, not to bucket lengths"}
    )
    precompute_mask_indices: bool = field(
        default=False, metadata={"help": "only false: the model draws its masks, by the batch's mask_seed"}
    )
    perturbation_mode: Optional[list[str]] = field(
        default=None,
        metadata={
            "help": "in training, in this order: random_leads_masking, powerline_noise, emg_noise, baseline_shift, "
            "baseline_wander, 3kg"
        },
    )
    p: list[float] = field(
        default_factory=lambda: [1.0], metadata={"help": "probability of each of them, or one for all"}
    )
    max_amplitude: float = field(
        default=0.1, metadata={"help": "largest amplitude of noise, in the ECG's unit (a lead's deviation or mV)"}
    )
    min_amplitude: float = field(default=0.0, metadata={"help": "smallest amplitude of noise"})
    dependency: bool = field(
        default=True, metadata={"help": "noise in III, aVR, aVL and aVF follows from that in I and II"}
    )
    shift_ratio: float = field(default=0.2, metadata={"help": "baseline_shift: mean length, as a share of the ECG"})
    num_segment: int = field(default=1, metadata={"help": "baseline_shift: shifts an ECG"})
    max_freq: float = field(default=0.2, metadata={"help": "baseline_wander: highest frequency in Hz"})
    min_freq: float = field(default=0.01, metadata={"help": "baseline_wander: lowest frequency in Hz"})
    k: int = field(default=3, metadata={"help": "baseline_wander: number of cosines"})
    mask_leads_selection: str = field(
        default="random", metadata={"help": "random_leads_masking: random, or conditional on limb and precordial leads"}
    )
    mask_leads_prob: float = field(default=0.5, metadata={"help": "random: probability of each lead to be zeroed"})
    mask_leads_condition: Any = field(
        default_factory=lambda: [4, 5], metadata={"help": "conditional: so many limb and precordial leads are zeroed"}
    )
    keep_one_lead: bool = field(default=False, metadata={"help": "random: never zero all leads (published: false)"})
    inferred_w2v_config: Any = field(
        default=None, metadata={"help": "read by nothing (fairseq-signals: for precompute_mask_indices)"}
    )
    inferred_3kg_config: Any = field(
        default=None, metadata={"help": "3kg: {angle: 45, scale: 1.5, mask_ratio: 0.5} where they should be others"}
    )
    criterion_name: str = II("criterion._name")


@dataclass
class EcgClassificationConfig(EcgConfig):
    """Keys of `task=ecg_classification`."""

    label_file: Optional[str] = field(
        default=None,
        metadata={"help": "y.npy, a row a sample id, with label_def.csv beside it (null: the data's own labels)"},
    )
    label_set: Optional[str] = field(
        default=None,
        metadata={"help": "of a store with several label sets, e.g. super (null: that of the folder)"},
    )
    path_dataset: bool = field(default=False, metadata={"help": "only false: build a store from WFDB records instead"})
    load_specific_lead: bool = field(default=False, metadata={"help": "only false: of question answering"})


@dataclass
class EcgIdentificationConfig(EcgConfig):
    """Keys of `task=ecg_identification`."""

    visualize: bool = field(default=False, metadata={"help": "only false: use ecgtext embed and ecgtext plot instead"})


REFUSED = {
    "filter": (False, "filter when the store is built: key filter of its recipe"),
    "num_batch_buckets": (0, "batches are padded to their longest ECG"),
    "precompute_mask_indices": (False, "the model draws its masks by the batch's mask_seed"),
    "path_dataset": (False, "build a store from the WFDB records with ecgtext manifest build"),
    "load_specific_lead": (False, "choose leads with task.leads_to_load"),
    "visualize": (False, "use ecgtext embed and ecgtext plot"),
}


def check_options(cfg: EcgConfig) -> None:
    """Raise BadConfig for a key of fairseq-signals that means nothing here, with what to do instead."""
    for key, (value, remedy) in REFUSED.items():
        if getattr(cfg, key, value) != value:
            raise BadConfig(f"task.{key}={getattr(cfg, key)}: expected {str(value).lower()}; {remedy}")
    if not cfg.normalize and (cfg.mean_path or cfg.std_path):
        raise BadConfig("task.mean_path and task.std_path are for task.normalize=true: expected null for them")
    for key in ("max_sample_size", "segment_samples"):
        if getattr(cfg, key) is not None and getattr(cfg, key) < 1:
            raise BadConfig(f"task.{key}={getattr(cfg, key)}: expected a positive number of samples, or null")


def leads_of(cfg: EcgConfig) -> LeadSelection:
    """Return the leads that a config chooses; raises BadConfig as :func:`lead_selection` does."""
    leads, bucket = _plain(cfg.leads_to_load), _plain(cfg.leads_bucket)
    return lead_selection(cfg.leads_preset, leads, bucket, cfg.bucket_selection, cfg.enable_padding_leads)


def dataset_options(cfg: EcgConfig, training: bool) -> EcgOptions:
    """Return what happens to an ECG; perturbations in training only."""
    return EcgOptions(
        seed=cfg.seed,
        standardize=cfg.standardize,
        leads=leads_of(cfg),
        normalize=cfg.normalize,
        moments=_moments(cfg),
        perturbations=perturbations_of(cfg) if training else None,
        max_sample_size=cfg.max_sample_size,
        enable_padding=cfg.enable_padding,
    )


def perturbations_of(cfg: EcgConfig) -> PerturbationOptions:
    """Return the perturbations that a config chooses; raises BadConfig for a value out of range."""
    chosen = _plain(cfg.inferred_3kg_config) or {}
    known = {key: float(chosen[key]) for key in THREE_KG if chosen.get(key) is not None}
    condition = _plain(cfg.mask_leads_condition)
    if isinstance(condition, str):
        try:
            condition = ast.literal_eval(condition)
        except (ValueError, SyntaxError):
            condition = ()
    if not isinstance(condition, list | tuple) or not all(isinstance(count, int) for count in condition):
        raise BadConfig(f"task.mask_leads_condition={cfg.mask_leads_condition}: expected two numbers, e.g. [4, 5]")
    same = ("max_amplitude", "min_amplitude", "dependency", "shift_ratio", "num_segment", "max_freq", "min_freq", "k")
    same += ("mask_leads_selection", "mask_leads_prob", "keep_one_lead")
    return PerturbationOptions(
        modes=tuple(cfg.perturbation_mode or ()),
        probabilities=tuple(cfg.p),
        mask_leads_condition=tuple(condition),
        **{name: getattr(cfg, name) for name in same},
        **known,
    )


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _moments(cfg: EcgConfig) -> tuple[np.ndarray, np.ndarray] | None:
    if not (cfg.mean_path or cfg.std_path):
        return None
    found = []
    for key in ("mean_path", "std_path"):
        path = getattr(cfg, key)
        try:
            values = np.array(Path(path or "").read_text("utf-8").split(), dtype=np.float64)
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise BadConfig(f"task.{key}={path} cannot be read ({error}): expected a text file of numbers") from None
        if len(values) != 12 or (key == "std_path" and not (values > 0).all()):
            raise BadConfig(
                f"task.{key}={path} has {len(values)} numbers: expected one for each of the twelve leads, deviations "
                "above 0"
            )
        found.append(values)
    return found[0], found[1]
