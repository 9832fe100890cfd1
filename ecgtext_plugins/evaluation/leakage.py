"""Whether a model has seen what it is tested on: its training records, and what splits share.

Signals are compared by their SHA-256, exactly: other recordings of the same patient are not found, nor is the same
record stored at another rate or step, cut otherwise or filtered. Nothing found does not mean that nothing was seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.atomic_files import file_sha256
from ecgtext_plugins.checkpoints.locate import locate_checkpoint
from ecgtext_plugins.errors import BadCheckpoint, BadManifest
from ecgtext_plugins.store.checksums import read_checksums
from ecgtext_plugins.store.manifest import Manifest

TRAINING_RECORDS = "training_records.txt"
_DIGEST = r"^[0-9a-f]{64}$"


@dataclass(frozen=True)
class TrainingRecords:
    """What a checkpoint was trained on.

    Attributes
    ----------
    path : Path
        training_records.txt, which training writes beside its checkpoints.
    checksums : pyarrow array of str
        SHA-256 of the decoded native signals.
    sha256 : str
        Of the file.
    """

    path: Path
    checksums: pa.Array
    sha256: str


def read_training_records(checkpoint: str | Path) -> TrainingRecords | None:
    """Read what training wrote beside a checkpoint; None when there is nothing, as with released ones.

    Raises
    ------
    BadCheckpoint
        When the file is not a list of SHA-256 digests.
    """
    path = locate_checkpoint(checkpoint).parent / TRAINING_RECORDS
    if not path.is_file():
        return None
    checksums = pa.array(path.read_text("utf-8").split(), pa.string())
    if not len(checksums) or not pc.all(pc.match_substring_regex(checksums, _DIGEST)).as_py():
        raise BadCheckpoint(
            f"{path} is damaged: expected the SHA-256 digests that training writes, one a line; copy it again from the "
            "training's folder"
        )
    return TrainingRecords(path, checksums, file_sha256(path))


def leaked_records(records: TrainingRecords, manifest: Manifest) -> list[str]:
    """Return the ids of those records of a manifest that were trained on, each once, in its order."""
    rows = pa.array(_unique(manifest.rows))
    seen = pc.is_in(manifest.store.text_column("checksum").take(rows), value_set=records.checksums)
    return manifest.store.text_column("record_id").take(rows).filter(seen).to_pylist()


def leak_notes(records: TrainingRecords | None, leaked: Sequence[str]) -> list[str]:
    """Say in results what is known when no leak was found, or when none could be; nothing where one was."""
    if records is None:
        return [
            f"there is no {TRAINING_RECORDS} beside the checkpoint: whether it was trained on records of this split is "
            "not known"
        ]
    if leaked:
        return []
    return [
        "no record of this split has exactly the signal of a training record; other recordings of the same patients, "
        "or the same records stored at another rate, would not be found"
    ]


def shared_signals(train: Manifest, test: Manifest) -> list[str]:
    """Return the ids of those records of `test` whose signal is also in `train`, under another id, in its order."""
    checksums = train.store.text_column("checksum").take(pa.array(_unique(train.rows)))
    rows = pa.array(_unique(test.rows))
    seen = pc.is_in(test.store.text_column("checksum").take(rows), value_set=checksums)
    return test.store.text_column("record_id").take(rows).filter(seen).to_pylist()


def refuse_leaks(checkpoint: str | Path, leaked: list[str], manifest: Manifest, benchmark: str) -> None:
    """Raise BadCheckpoint, naming the first record, unless `leaked` is empty."""
    if not leaked:
        return
    raise BadCheckpoint(
        f"checkpoint {checkpoint} was trained on {len(leaked)} of the {len(_unique(manifest.rows))} records on which "
        f"benchmark {benchmark} tests, the first is {leaked[0]} (known from {TRAINING_RECORDS} beside it): expected a "
        "model that has not seen them; take another checkpoint or split, or give --allow-leaks to have the figures "
        "flagged"
    )


def refuse_changed_manifests(folder: Path, paths: Sequence[Path]) -> None:
    """Check that manifests are the ones that the build of the store in `folder` wrote.

    Raises
    ------
    BadManifest
        Naming the first one that is another file, and the split that it is a copy of, if it is.
    """
    known = read_checksums(folder)
    for path in paths:
        name, found = path.relative_to(folder).as_posix(), file_sha256(path)
        if known.get(name) == found:
            continue
        same = [other for other, digest in known.items() if digest == found]
        what = f"is a copy of {same[0]}" if same else "is not the file that the build wrote"
        raise BadManifest(
            f"{path} {what}: expected the benchmark's own split; build the store again with --rebuild, or mend the file"
        )


def _unique(rows: np.ndarray) -> np.ndarray:
    """Return rows each once, in the order of first appearance."""
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)]
