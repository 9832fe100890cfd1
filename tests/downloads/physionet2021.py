"""The Challenge 2021's training data: training/SOURCE/g1/NAME.{hea,mat}, the .mat in MATLAB's format 4."""

import struct
from pathlib import Path

import numpy as np

from tests import builders

CANONICAL = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# source: the name of its first record, Hz, seconds, how its headers spell the unit
SOURCES = {
    "chapman_shaoxing": ("JS00001", 500, 10, "mV"),
    "cpsc_2018": ("A0001", 500, 16, "mV"),
    "cpsc_2018_extra": ("Q0001", 500, 8, "mV"),
    "georgia": ("E00001", 500, 10, "mV"),
    "ningbo": ("JS20001", 500, 10, "mV"),
    "ptb": ("S0001", 1000, 32, "mV"),
    "ptb-xl": ("HR00001", 500, 10, "mv"),
    "st_petersburg_incart": ("I0001", 257, 1800, "mV"),
}
CODES = ("164889003", "713426002", "59118001", "426783006", "429622005", "251146004", "999999999")


def write_download(
    raw: Path,
    n_records: int = 1,
    seed: int = 0,
    sources=tuple(SOURCES),
    longest: float = 1800,
    of_a_heart: int = 1,
    known=CODES,
) -> list[dict]:
    """Write `n_records` of each source into `raw`, cut to `longest` s; return what stands in files and headers.

    Each record has one to three of the codes `known`. With `of_a_heart` k above 1, records k n to k n + k - 1 of a
    source are stretches of one long recording.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for source in sources:
        first, rate, seconds, unit = SOURCES[source]
        for number in range(1, n_records + 1):
            name = f"{first[:-3]}{number:03d}"
            n_samples = int(min(seconds, longest) * rate)
            if of_a_heart == 1:
                counts = builders.ecg_counts(rng, n_samples, rate, step_uv=1)
            else:
                heart, stretch = divmod(number, of_a_heart)
                of_heart = np.random.default_rng([seed, len(source), heart])
                whole = builders.ecg_counts(of_heart, of_a_heart * n_samples, rate, step_uv=1)
                counts = np.ascontiguousarray(whole[:, stretch * n_samples : (stretch + 1) * n_samples])
            codes = rng.choice(known, rng.integers(1, 4), replace=False).tolist()
            age, sex = int(rng.integers(18, 90)), ("Male", "Female")[rng.integers(2)]
            comments = [f"Age: {age}", f"Sex: {sex}", f"Dx: {','.join(codes)}", "Rx: Unknown", "Hx: Unknown"]
            folder = raw / "training" / source / "g1"
            builders.write_record(
                folder, name, counts, CANONICAL, rate, gain=1000, units=unit, extension="mat", comments=comments
            )
            _write_matlab_header(folder / f"{name}.mat", counts.shape)
            path = f"training/{source}/g1/{name}"
            row = {"id": name, "path": path, "counts": counts, "rate": rate, "codes": codes, "age": age, "sex": sex[0]}
            rows.append({"source": source, **row})
    return rows


def _write_matlab_header(path: Path, shape: tuple[int, int]) -> None:
    with open(path, "r+b") as handle:
        handle.write(struct.pack("<5i", 30, *shape, 0, 4) + b"val\0")
