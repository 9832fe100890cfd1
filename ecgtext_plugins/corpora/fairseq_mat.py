"""The .mat sample files of fairseq-signals, of its newer pipeline (org, preprocessed, segmented) and of its older ones.

All are MATLAB v5 files with `feats` (12, T) in the order I, II, III, aVR, aVL, aVF, V1..V6 and `curr_sample_rate`; the
rest depends on the pipeline. `mean` and `std` tell that `feats` is standardised; without them it is millivolt.
"""

import math
from dataclasses import dataclass

import numpy as np

from ecgtext_plugins.corpora.mat_struct import read_variables
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.leads import LEADS

VARIABLES = (
    *("feats", "curr_sample_rate", "idx", "segment_i", "mean", "std"),
    *("patient_id", "age", "sex", "label", "text"),
)


@dataclass(frozen=True, slots=True)
class MatFile:
    """What a sample file holds.

    Attributes
    ----------
    feats : ndarray (12, T)
        As stored: millivolt, or without unit where `mean` is given.
    rate : float
        Hz.
    mean, std : ndarray (12, 1) float64 or None
        Millivolt; what was taken off the whole record's leads and what they were divided by then.
    idx, segment : int
        Sample id of the newer pipeline, number of the window in its record; -1 where the file has none.
    patient_id, text : str
        Empty where the file has none.
    age : float
        Years; NaN where unknown.
    sex : str
        "M", "F" or "".
    label : ndarray (K,) bool or None
    """

    feats: np.ndarray
    rate: float
    mean: np.ndarray | None
    std: np.ndarray | None
    idx: int
    segment: int
    patient_id: str
    text: str
    age: float
    sex: str
    label: np.ndarray | None

    @property
    def is_standardised(self) -> bool:
        """Tell whether `feats` has mean 0 and deviation 1 instead of a unit."""
        return self.mean is not None

    def stored_signal(self) -> np.ndarray:
        """Return `feats` as float32 (12, T), NaN where missing."""
        return np.ascontiguousarray(self.feats, dtype=np.float32)

    def millivolt(self) -> np.ndarray:
        """Return the signal in millivolt as float32 (12, T): a standardised one is multiplied and shifted back."""
        if self.mean is None:
            return self.stored_signal()
        return np.ascontiguousarray(self.feats * self.std + self.mean, dtype=np.float32)


def read_mat(data: bytes, source: str) -> MatFile:
    """Decode the bytes of a sample file; `source` names it in errors.

    Raises
    ------
    BadRecord
        ``unreadable_mat`` (truncated, MATLAB v7.3, no MATLAB file at all), ``no_feats``, ``feats_shape``,
        ``sampling_rate``, ``mat_value`` for a variable of another form than fairseq-signals writes.
    """
    variables = _decode(data, source)
    if "feats" not in variables:
        raise BadRecord(
            "no_feats",
            f"{source} has no feats (only {', '.join(sorted(variables)) or 'foreign ones'}): expected a sample "
            "file of fairseq-signals; preprocess the recording again",
        )
    feats = variables["feats"]
    if isinstance(feats, str) or feats.ndim != 2 or len(feats) != len(LEADS) or not feats.shape[1]:
        form = "a text" if isinstance(feats, str) else f"{feats.dtype} {feats.shape}"
        raise BadRecord(
            "feats_shape",
            f"{source} holds feats of {form}: expected numbers ({len(LEADS)}, samples); preprocess the recording with "
            "all twelve leads",
        )
    mean, std = _moments(variables, source)
    age = _number(variables, "age", math.nan, source)
    return MatFile(
        feats=feats,
        rate=_rate(variables, source),
        mean=mean,
        std=std,
        idx=int(_number(variables, "idx", -1, source)),
        segment=int(_number(variables, "segment_i", -1, source)),
        patient_id=_identifier(variables, "patient_id", source),
        text=_text(variables, source),
        age=age if age > 0 else math.nan,  # the older pipeline writes 0 for unknown
        sex={0: "M", 1: "F"}.get(_number(variables, "sex", -1, source), ""),
        label=_label(variables, source),
    )


def _decode(data: bytes, source: str) -> dict[str, np.ndarray | str]:
    try:
        found = read_variables(data, VARIABLES)
    except ValueError as error:
        raise BadRecord(
            "unreadable_mat",
            f"{source} cannot be read: {error}: expected a whole MATLAB 5 file as scipy.io.savemat writes it; copy or "
            "preprocess it again",
        ) from None
    return {name: value for name, value in found.items() if value is not None}


def _wrong(source: str, name: str, value: np.ndarray | str | None, expected: str) -> BadRecord:
    form = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)[:60]
    return BadRecord(
        "mat_value",
        f"{source}: its variable {name} is {form}: expected {expected}; preprocess the recording again",
    )


def _number(variables: dict[str, np.ndarray | str], name: str, default: float, source: str) -> float:
    value = variables.get(name)
    if value is None:
        return default
    if isinstance(value, str) or value.size != 1 or not np.isfinite(value).all():
        raise _wrong(source, name, value, "one number")
    return value.item()


def _rate(variables: dict[str, np.ndarray | str], source: str) -> float:
    rate = _number(variables, "curr_sample_rate", 0.0, source)
    if not rate > 0:
        raise BadRecord(
            "sampling_rate",
            f"{source} has {f'curr_sample_rate {rate}' if rate else 'no curr_sample_rate'}: expected a rate above 0; "
            "preprocess the recording again",
        )
    return float(rate)


def _moments(variables: dict[str, np.ndarray | str], source: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    found = [variables.get(name) for name in ("mean", "std")]
    if all(value is None for value in found):
        return None, None
    for name, value in zip(("mean", "std"), found, strict=True):
        if not isinstance(value, np.ndarray) or value.size != len(LEADS):
            raise _wrong(source, name, value, f"a number for each of the {len(LEADS)} leads")
    mean, std = (value.reshape(-1, 1).astype(np.float64) for value in found)
    return mean, std


def _label(variables: dict[str, np.ndarray | str], source: str) -> np.ndarray | None:
    value = variables.get("label")
    if isinstance(value, str):
        raise _wrong(source, "label", value, "a number for each class")
    return None if value is None else value.reshape(-1) > 0.5


def _identifier(variables: dict[str, np.ndarray | str], name: str, source: str) -> str:
    value = variables.get(name, "")
    if isinstance(value, str):
        return value.strip()
    number = _number(variables, name, 0, source)
    return str(int(number)) if number == number // 1 else str(number)


def _text(variables: dict[str, np.ndarray | str], source: str) -> str:
    value = variables.get("text", "")
    if isinstance(value, np.ndarray) and value.size:
        raise _wrong(source, "text", value, "a text (token ids of one tokenizer are of no use to another)")
    return value if isinstance(value, str) else ""
