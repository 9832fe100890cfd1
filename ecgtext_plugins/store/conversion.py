"""From a record as read to what the store keeps: checks, crop, resampling, quantisation, the row of records.parquet."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ecgtext_plugins.corpora.record import EcgRecord, RecordEntry
from ecgtext_plugins.corpora.report_text import clean_report
from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.signals.quality import empty_leads, flat_leads, lead_names, nan_share
from ecgtext_plugins.signals.resampling import rational_ratio, resample
from ecgtext_plugins.store.quantisation import choose_step, quantise
from ecgtext_plugins.store.splits import SPLITS, split_of

MARGIN = 0.5  # seconds kept after a crop while the filter runs, so that its end effect falls outside


def convert(record: EcgRecord, recipe: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the counts to store, int16 (12, T), and the record's row (without shard and offset).

    Raises
    ------
    BadRecord
        ``empty_report``, ``missing_leads``, ``nan_samples``, ``flat_signal``, ``too_short``, ``sampling_rate``.
    """
    entry, source = record.entry, f"record {record.entry.record_id}"
    report = clean_report(entry.report or "")
    if recipe["reports"]["required"] and not report:
        raise BadRecord(
            "empty_report",
            f"{source} has no report text: expected one, as the recipe says reports.required: true; set it to false to "
            "keep such records",
        )
    signal, flat, missing_share = _check_signal(record, recipe, source)
    stored, step_uv = _at_rate(signal, record, recipe, source)
    row = {
        "record_id": entry.record_id,
        "patient_id": entry.patient_id,
        "source_path": entry.source_path,
        "sample_rate": float(recipe["sample_rate"]),
        "native_rate": float(record.native_rate),
        "n_samples": stored.shape[1],
        "report": report,
        "age": entry.age,
        "sex": entry.sex,
        "recorded_at": entry.recorded_at,
        "device": entry.device,
        "fold": entry.fold,
        "labels": list(entry.labels),
        "codes": list(entry.codes),
        "step_uv": step_uv,
        "missing_leads": record.missing_leads,
        "flat_leads": flat,
        "missing_share": missing_share,
        "checksum_ok": not record.checksum_error,
        "checksum": record.checksum,
        "split": _split(entry, recipe["split"], source),
    }
    return stored, row


def _split(entry: RecordEntry, rule: Mapping[str, Any], source: str) -> str:
    if rule["by"] != "official":
        key = entry.patient_id if rule["by"] == "patient" else entry.record_id
        return split_of(key, rule["seed"], rule["fractions"])
    if entry.split not in SPLITS:
        raise BadRecord(
            "no_split",
            f"{source} is in no split of the dataset's own: expected one of {', '.join(SPLITS)}; use split.by: patient",
        )
    return entry.split


def _check_signal(record: EcgRecord, recipe: Mapping[str, Any], source: str) -> tuple[np.ndarray, int, float]:
    """Return the part of the signal to keep with its margin, the flat leads and share of NaN of the part to keep."""
    seconds, rate = recipe["seconds"], record.native_rate
    if record.checksum_error and recipe["checks"]["checksum"] == "reject":
        raise BadRecord("checksum", record.checksum_error)
    lacking = lead_names(record.missing_leads)
    if len(lacking) > recipe["max_missing_leads"]:
        raise BadRecord(
            "missing_leads",
            f"{source} lacks the leads {', '.join(lacking)}: expected at most {recipe['max_missing_leads']} missing; "
            "raise max_missing_leads in the recipe to keep it",
        )
    if record.signal.shape[1] < recipe["min_seconds"] * rate or not record.signal.shape[1]:
        raise BadRecord(
            "too_short",
            f"{source} lasts {record.signal.shape[1] / rate:.3g} s: expected at least {recipe['min_seconds']} s; lower "
            "min_seconds in the recipe to keep it",
        )
    kept = record.signal[:, : math.ceil(seconds * rate)]
    share = nan_share(kept, record.missing_leads)
    empty = empty_leads(kept) & ~record.missing_leads
    if empty or share > recipe["checks"]["max_missing_share"]:
        where = f"nothing in {', '.join(lead_names(empty))}" if empty else f"{share:.2%} missing samples"
        raise BadRecord(
            "nan_samples",
            f"{source} has {where}: expected at most {recipe['checks']['max_missing_share']:.2%} missing and no empty "
            "lead; raise checks.max_missing_share in the recipe to keep records with gaps",
        )
    flat = flat_leads(kept)
    if flat | record.missing_leads == (1 << len(LEADS)) - 1:
        raise BadRecord(
            "flat_signal", f"{source} is flat in every lead: expected an ECG; leave it out, or download it again"
        )
    return record.signal[:, : math.ceil((seconds + MARGIN) * rate)], flat, share


def _at_rate(signal: np.ndarray, record: EcgRecord, recipe: Mapping[str, Any], source: str) -> tuple[np.ndarray, float]:
    """Resample, crop and quantise; return int16 (12, T) and the step in microvolt."""
    ratio = rational_ratio(record.native_rate, recipe["sample_rate"], source)
    longest = max(1, round(recipe["seconds"] * recipe["sample_rate"]))
    signal = resample(signal, ratio)[:, :longest]
    step_uv = choose_step(signal, record.step_uv if ratio == 1 else None)
    return quantise(signal, step_uv), step_uv
