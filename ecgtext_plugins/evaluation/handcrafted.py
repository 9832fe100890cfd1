"""Features of an ECG as a cart measures them: rate, intervals, axes, and amplitudes lead by lead.

neurokit2 (Makowski et al., Behav Res Methods 53, 2021) finds the R peaks, and P and T waves by their prominence (Emrich
et al., EUSIPCO 2024). The QRS is delimited over all leads at once, on the median beat, by its spatial velocity.
"""

import contextlib
import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np

from ecgtext_plugins.errors import BadEnvironment, BadRecord
from ecgtext_plugins.signals.leads import LEADS

VERSION = 1  # of the measurements: another one makes kept features obsolete
INTERVALS = (
    "heart_rate", "rr_mean", "rr_sd", "rr_rmssd", "rr_min", "rr_max", "rr_early_share",
    "p_share", "p_duration", "pr", "qrs", "qt", "qtc_bazett", "qtc_fridericia",
    "p_axis", "qrs_axis", "t_axis",
)  # fmt: skip
AMPLITUDES = ("p", "r", "s", "qrs_area", "st", "t", "t_sign")
NAMES = (*INTERVALS, *(f"{name}_{lead}" for name in AMPLITUDES for lead in LEADS))
LEADS_OF_WAVES = 3  # P and T are sought in those with the tallest R waves
BEFORE, AFTER = 0.30, 0.60  # seconds of a beat around its R peak
VELOCITY = 0.07  # of its highest, below which the QRS has ended
EARLY = 0.85  # of the median interval, below which a beat is early
ONE, AVF = LEADS.index("I"), LEADS.index("aVF")
_WAVES = ("ECG_P_Onsets", "ECG_P_Offsets", "ECG_T_Offsets")


def load_neurokit() -> ModuleType:
    """Import neurokit2.

    Raises
    ------
    BadEnvironment
        When it is not installed.
    """
    try:
        import neurokit2
    except ImportError as error:
        raise BadEnvironment(
            f"handcrafted features need neurokit2, which cannot be imported ({error}): expected the extra "
            "`evaluation`; pip install 'ecgtext-plugins[evaluation]'"
        ) from error
    return neurokit2


def record_features(signal: np.ndarray, rate: float) -> np.ndarray:
    """Measure one recording.

    Parameters
    ----------
    signal : ndarray (12, T) float32
        mV in the order of LEADS; missing samples NaN, counted as 0.
    rate : float
        Hz.

    Returns
    -------
    ndarray (F,) float64
        As NAMES: rate in beats per minute, times in seconds, axes in degrees (from the net deflections in I and aVF),
        amplitudes in mV against the level before the QRS, the area of the QRS in mV s, ST 60 ms after its end. NaN
        where a wave is not found: without P waves there is no PR interval.

    Raises
    ------
    BadRecord
        ``no_beats`` or ``no_delineation``.
    """
    signal = np.nan_to_num(np.asarray(signal, dtype=np.float64), nan=0.0)
    cleaned, peaks = _r_peaks(signal, rate)
    beat, centre = _median_beat(signal, peaks, rate)
    onset, offset = _qrs_limits(beat, centre, rate)
    p_share, p_on, p_off, t_off = _waves(cleaned, peaks, rate)
    beat = beat - beat[:, max(onset - round(0.012 * rate), 0) : onset + 1].mean(axis=1, keepdims=True)
    p_wave = _part(beat, centre + p_on * rate, min(centre + p_off * rate, onset))
    t_wave = _part(beat, offset + 0.06 * rate, centre + t_off * rate)
    amplitudes = _amplitudes(beat, onset, offset, p_wave, t_wave, rate)
    rhythm = _rhythm(np.diff(peaks) / rate)
    qrs_on = (onset - centre) / rate
    qt = t_off - qrs_on
    times = [p_share, p_off - p_on, qrs_on - p_on, (offset - onset) / rate]
    times += [qt, qt / rhythm[1] ** (1 / 2), qt / rhythm[1] ** (1 / 3)]
    axes = [_axis(amplitudes[AMPLITUDES.index(name)]) for name in ("p", "qrs_area", "t")]
    return np.concatenate([rhythm, times, axes, amplitudes.reshape(-1)])


def _r_peaks(signal: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Clean the leads; find the R peaks in their root mean square, which no axis makes small."""
    neurokit = load_neurokit()
    with _as_bad_record("no_beats"):
        cleaned = np.array([neurokit.ecg_clean(lead, sampling_rate=rate) for lead in signal])
        size = np.sqrt((cleaned**2).mean(axis=0))
        peaks = np.asarray(neurokit.ecg_peaks(size, sampling_rate=rate)[1]["ECG_R_Peaks"], dtype=np.int64)
    if len(peaks) < 3:
        raise BadRecord("no_beats", f"{len(peaks)} beats were found: expected at least 3")
    return cleaned, peaks


def _median_beat(signal: np.ndarray, peaks: np.ndarray, rate: float) -> tuple[np.ndarray, int]:
    """Return the median of the whole beats, (12, L), each about its own median, and the place of the R peak."""
    before, after = round(BEFORE * rate), round(AFTER * rate)
    whole = peaks[(peaks >= before) & (peaks + after <= signal.shape[1])]
    if not len(whole):
        raise BadRecord("no_beats", "no beat lies wholly within the recording: expected at least one")
    beats = signal[:, whole[:, None] + np.arange(-before, after)]
    return np.median(beats - np.median(beats, axis=2, keepdims=True), axis=1), before


def _qrs_limits(beat: np.ndarray, centre: int, rate: float) -> tuple[int, int]:
    """Return the first and last sample of the QRS: where the spatial velocity stays low for 12 ms."""
    smooth = max(round(0.008 * rate), 1)
    kernel = np.ones(smooth) / smooth
    slope = np.gradient(np.array([np.convolve(lead, kernel, mode="same") for lead in beat]), axis=1)
    near = slice(max(centre - round(0.15 * rate), 0), centre + round(0.15 * rate))
    velocity = np.sqrt((slope**2).sum(axis=0))
    quiet = velocity < VELOCITY * velocity[near].max()
    run = max(round(0.012 * rate), 1)
    still = np.convolve(quiet, np.ones(run), mode="valid") == run  # [i]: samples i .. i + run - 1 are quiet
    left, right = np.flatnonzero(still[: max(centre - run + 1, 0)]), np.flatnonzero(still[centre:])
    if not len(left) or not len(right) or velocity[near].max() == 0:
        raise BadRecord("no_delineation", "the QRS has no end: expected quiet samples before and after it")
    return int(left[-1]) + run, centre + int(right[0]) - 1


def _waves(cleaned: np.ndarray, peaks: np.ndarray, rate: float) -> tuple[float, float, float, float]:
    """Return the share of beats with a P wave, and P onset, P offset and T offset in seconds after the R peak."""
    neurokit, near = load_neurokit(), np.arange(-round(0.04 * rate), round(0.04 * rate) + 1)
    inside = np.clip(peaks[:, None] + near, 0, cleaned.shape[1] - 1)
    tallest = np.argsort(-np.median(cleaned[:, inside].max(axis=2), axis=1), kind="stable")[:LEADS_OF_WAVES]
    found = []
    with _as_bad_record("no_delineation"):
        for lead in cleaned[tallest]:
            own = np.unique(inside[np.arange(len(peaks)), lead[inside].argmax(axis=1)])
            waves = neurokit.ecg_delineate(lead, own, sampling_rate=rate, method="prominence")[1]
            found.append([_after(waves[name], own) / rate for name in _WAVES])
    shares = [np.isfinite(times[0]).mean() for times in found]
    places = [[np.nanmedian(one) if np.isfinite(one).any() else np.nan for one in times] for times in found]
    columns = np.array(places).T
    limits = [np.nanmedian(one) if np.isfinite(one).any() else np.nan for one in columns]
    return float(np.median(shares)), *map(float, limits)


def _after(places: list, peaks: np.ndarray) -> np.ndarray:
    """Return places less their R peaks, in samples; NaN where there is none."""
    places = np.asarray(places, dtype=np.float64)
    return places - peaks if len(places) == len(peaks) else np.full(len(peaks), np.nan)


def _part(beat: np.ndarray, start: float, end: float) -> np.ndarray | None:
    """Cut a part of the beat, None when its limits are not known or not in order."""
    if not np.isfinite([start, end]).all():
        return None
    first, last = max(round(start), 0), min(round(end), beat.shape[1])
    return beat[:, first:last] if last - first > 1 else None


def _amplitudes(
    beat: np.ndarray, onset: int, offset: int, p_wave: np.ndarray | None, t_wave: np.ndarray | None, rate: float
) -> np.ndarray:
    """Return the amplitudes of AMPLITUDES, (7, 12)."""
    qrs = beat[:, onset : offset + 1]
    level = beat[:, min(offset + round(0.06 * rate), beat.shape[1] - 1)]
    t = _extreme(t_wave)
    rows = [_extreme(p_wave), qrs.max(axis=1), qrs.min(axis=1), qrs.sum(axis=1) / rate, level, t, np.sign(t)]
    return np.array(rows)


def _extreme(wave: np.ndarray | None) -> np.ndarray:
    """Return each lead's value of largest magnitude, with its sign."""
    if wave is None:
        return np.full(len(LEADS), np.nan)
    return np.take_along_axis(wave, np.abs(wave).argmax(axis=1)[:, None], axis=1)[:, 0]


def _rhythm(intervals: np.ndarray) -> np.ndarray:
    """Return the first seven of INTERVALS from RR intervals in seconds."""
    mean, steps = intervals.mean(), np.diff(intervals)
    early = (intervals < EARLY * np.median(intervals)).mean()
    rmssd = np.sqrt((steps**2).mean())
    return np.array([60.0 / mean, mean, intervals.std(), rmssd, intervals.min(), intervals.max(), early])


def _axis(values: np.ndarray) -> float:
    return float(np.degrees(np.arctan2(values[AVF], values[ONE])))


@contextlib.contextmanager
def _as_bad_record(reason: str) -> Iterator[None]:
    """Turn what neurokit2 raises on a signal without clear beats into BadRecord; silence its notes on single beats."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        message = f"neurokit2 cannot delineate it ({type(error).__name__}: {error}): expected clear beats"
        raise BadRecord(reason, message) from error
