"""From a record as read to what the store keeps: crop, resampling, filter, quantisation, its row of records.parquet."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.report_text import clean_report, remove_punctuation
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.filtering import clean
from ecgtext_plugins.signals.gaps import fill_gaps
from ecgtext_plugins.signals.resampling import rational_ratio, resample, resample_linear
from ecgtext_plugins.store.quantisation import MISSING, choose_step, quantise
from ecgtext_plugins.store.screening import Screened, screen
from ecgtext_plugins.store.splits import SPLITS, split_of

MARGIN = 0.5  # seconds kept beside a crop while filters run, so that their end effects fall outside


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a record to keep, in samples: of the file from `start` to `stop`, of the store `length` at most."""

    start: int
    stop: int
    length: int | None  # None: as many as there are


def convert(record: EcgRecord, recipe: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the counts to store, int16 (12, T), and the record's row (without shard and offset).

    Raises
    ------
    BadRecord
        ``empty_report``, ``few_words``, ``no_split``, ``too_short``, ``sampling_rate``, and the reasons of
        :func:`screen`.
    """
    source = f"record {record.entry.record_id}"
    report = _report(record.entry.report, recipe["reports"], source)
    split = _split(record.entry, recipe["split"], source)
    window = _window(record, recipe, source)
    screened = screen(record, window.start, window.stop, recipe, source)
    counts, step_uv = _stored(record, screened, window, recipe, source)
    missing = 0
    if recipe["pad"] and counts.shape[1] < window.length:
        missing = window.length - counts.shape[1]
        counts = np.pad(counts, ((0, 0), (0, missing)), constant_values=MISSING)
    return counts, _row(record, recipe, screened, report, split, counts.shape[1], step_uv, missing)


def _report(text: str | None, rule: Mapping[str, Any], source: str) -> str:
    """Return the report as the store keeps it; an empty text without one."""
    report = clean_report(text or "")
    if rule["punctuation"] == "remove":
        report = remove_punctuation(report)
    if rule["required"] and not report:
        raise BadRecord(
            "empty_report",
            f"{source} has no report text: expected one, as the recipe says reports.required: true; set it to false to "
            "keep such records",
        )
    if report and len(report.split()) < rule["min_words"]:
        raise BadRecord(
            "few_words",
            f"{source} has the report {report[:60]!r}: expected at least {rule['min_words']} words; lower "
            "reports.min_words in the recipe to keep it",
        )
    return report


def _split(entry: RecordEntry, rule: Mapping[str, Any], source: str) -> str:
    if rule["by"] != "official":
        return split_of(entry.patient_id, rule["seed"], rule["fractions"])
    if entry.split not in SPLITS:
        raise BadRecord(
            "no_split",
            f"{source} is in no split of the dataset's own: expected one of {', '.join(SPLITS)}; use split.by: patient",
        )
    return entry.split


def _window(record: EcgRecord, recipe: Mapping[str, Any], source: str) -> Window:
    length, rate, seconds = record.signal.shape[1], record.native_rate, recipe["seconds"]
    if length < recipe["min_seconds"] * rate or not length:
        raise BadRecord(
            "too_short",
            f"{source} lasts {length / rate:.3g} s: expected at least {recipe['min_seconds']} s; lower min_seconds in "
            "the recipe to keep it",
        )
    if seconds is None:
        return Window(0, length, None)
    wanted = min(length, math.ceil(seconds * rate))
    start = (length - wanted) // 2 if recipe["crop"] == "middle" else 0
    return Window(start, start + wanted, max(1, round(seconds * recipe["sample_rate"])))


def _stored(
    record: EcgRecord, screened: Screened, window: Window, recipe: Mapping[str, Any], source: str
) -> tuple[np.ndarray, float]:
    """Return the counts, int16 (12, T), and their step in microvolt: the file's own where nothing changes them."""
    ratio = rational_ratio(record.native_rate, recipe["sample_rate"], source)
    as_in_file = ratio == 1 and recipe["filter"] is None
    if as_in_file and record.counts is not None and screened.signal is record.signal:
        counts = record.counts[:, window.start : window.stop]
        return counts[:, : window.length], float(record.step_uv)
    whole = _bridged_outside(screened.signal, window)
    if recipe["resampling"] == "linear":  # its grid depends on the whole record's length
        signal = resample_linear(whole, record.native_rate, recipe["sample_rate"])
        first = round(window.start * ratio)
        end = signal.shape[1] if window.length is None else first + round((window.stop - window.start) * ratio)
    else:
        margin = 0 if as_in_file else math.ceil(MARGIN * record.native_rate)
        # samples of file and store coincide at multiples of the ratio's denominator only
        left = min(window.start, margin) // ratio.denominator * ratio.denominator
        signal = resample(whole[:, window.start - left : window.stop + margin], ratio)
        first = left * ratio.numerator // ratio.denominator
        end = first + math.ceil((window.stop - window.start) * ratio)
    if recipe["filter"] is not None:
        signal = _filtered(signal, recipe, source)
    signal = signal[:, first:end][:, : window.length]
    step_uv = choose_step(signal, record.step_uv if as_in_file else None)
    return quantise(signal, step_uv), step_uv


def _bridged_outside(signal: np.ndarray, window: Window) -> np.ndarray:
    """Draw lines over gaps outside the window: what is missing there is no reason to miss samples inside."""
    gaps = np.isnan(signal)
    outside = gaps.copy()
    outside[:, window.start : window.stop] = False
    return np.where(outside, fill_gaps(signal, gaps), signal) if outside.any() else signal


def _filtered(signal: np.ndarray, recipe: Mapping[str, Any], source: str) -> np.ndarray:
    try:
        return clean(signal, float(recipe["sample_rate"]), **recipe["filter"])
    except ValueError as error:
        raise BadRecord("too_short", f"{source} cannot be filtered: {error}") from None


def _row(
    record: EcgRecord,
    recipe: Mapping[str, Any],
    screened: Screened,
    report: str,
    split: str,
    length: int,
    step_uv: float,
    padded: int,
) -> dict[str, Any]:
    entry, measures = record.entry, screened.measures
    return {
        "record_id": entry.record_id,
        "patient_id": entry.patient_id,
        "source_path": entry.source_path,
        "sample_rate": float(recipe["sample_rate"]),
        "native_rate": float(record.native_rate),
        "n_samples": length,
        "report": report,
        "age": entry.age,
        "sex": entry.sex,
        "recorded_at": entry.recorded_at,
        "device": entry.device,
        "fold": entry.fold,
        "labels": list(entry.labels),
        "codes": list(entry.codes),
        "step_uv": step_uv,
        "missing_leads": record.missing_leads & ~screened.derived_leads,
        "derived_leads": screened.derived_leads,
        "flat_leads": measures.flat_leads,
        "clipped_leads": measures.clipped_leads,
        "missing_share": measures.nan_share,
        "longest_gap": measures.longest_gap_seconds,
        "repaired_samples": screened.repaired_samples,
        "padded_samples": padded,
        "limb_error_mv": measures.limb_error_mv,
        "checksum_ok": not record.checksum_error,
        "checksum": record.checksum,
        "split": split,
    }
