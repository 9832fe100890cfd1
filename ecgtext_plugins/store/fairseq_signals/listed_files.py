"""The files of all manifests in a folder, each once, without an object a file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.errors import BadManifest
from ecgtext_plugins.store.fairseq_signals.manifests import FairseqSignalsManifest, is_fairseq_signals, parse_manifest
from ecgtext_plugins.store.fairseq_signals.scan import ListedFile

SPLIT_ORDER = ("train", "valid", "test")


def manifests_in(folder: Path, kind: str) -> list[FairseqSignalsManifest]:
    """Parse the manifests of a kind in `folder`."""
    parsed = (parse_manifest(path) for path in sorted(folder.glob("*.tsv")) if is_fairseq_signals(path))
    return [manifest for manifest in parsed if manifest.kind == kind]


class ListedFiles(Sequence):
    """Files in the order of the manifests train, valid, test and then by name; a file of two manifests counts once.

    Attributes
    ----------
    names : pyarrow array of text
        Record ids: paths as the manifests have them, without extension; absolute where their folders differ.
    paths : pyarrow array of text
        Absolute.
    sizes : ndarray (len(self),) int64
        Samples.
    splits : ndarray (len(self),) of text
        Name of the first manifest that lists the file.
    rows : dict
        Of each manifest's path: the rows of its files, int64, in its order.
    digest : str
        SHA-256 of all that the manifests say.
    """

    def __init__(self, manifests: list[FairseqSignalsManifest]):
        ordered = sorted(manifests, key=_order)
        self.manifests = [manifest.path for manifest in ordered]
        one_root = len({manifest.root for manifest in ordered}) == 1
        of_manifest = [pa.array([str(m.root / name) for name in m.paths], pa.string()) for m in ordered]
        listed = pa.concat_arrays([pa.array([], pa.string()), *of_manifest])
        self.paths = listed.unique()
        rows = pc.index_in(listed, value_set=self.paths).to_numpy(zero_copy_only=False).astype(np.int64)
        self._first = np.unique(rows, return_index=True)[1]  # place of each file's first listing
        sizes = np.concatenate([np.zeros(0, np.int64), *(manifest.sizes for manifest in ordered)])
        self.sizes = sizes[self._first]
        self._lines = np.concatenate([np.zeros(0, np.int64), *(manifest.lines for manifest in ordered)])
        counts = [len(manifest) for manifest in ordered]
        self._manifest = np.repeat(np.arange(len(ordered)), counts)
        self.splits = np.array([m.path.stem for m in ordered], dtype=object)[self._manifest[self._first]]
        stops = np.cumsum(counts)
        self.rows = {m.path: rows[stop - len(m) : stop] for m, stop in zip(ordered, stops, strict=True)}
        self.names = self._record_ids(ordered, one_root)
        self.digest = self._digest(ordered)
        self._refuse_two_sizes(rows, sizes)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int | slice) -> ListedFile | list[ListedFile]:
        if isinstance(place, slice):
            return [self[row] for row in range(*place.indices(len(self)))]
        return ListedFile(self.paths[place].as_py(), int(self.sizes[place]), self.where(place))

    def where(self, row: int) -> str:
        """Name manifest and line that list a file first."""
        return self._where(int(self._first[row]))

    def _where(self, listing: int) -> str:
        return f"{self.manifests[int(self._manifest[listing])]} line {int(self._lines[listing])}"

    def _record_ids(self, manifests: list[FairseqSignalsManifest], one_root: bool) -> pa.Array:
        if one_root:
            names = pa.concat_arrays([pa.array(manifest.paths, pa.string()) for manifest in manifests])
            names = names.take(pa.array(self._first))
        else:
            names = self.paths
        return pc.replace_substring_regex(names, r"\.mat$", "")

    @staticmethod
    def _digest(manifests: list[FairseqSignalsManifest]) -> str:
        digest = hashlib.sha256()
        for manifest in manifests:
            digest.update(f"{manifest.path.name} {manifest.kind} {manifest.root}\n".encode())
            for name, size in zip(manifest.paths, manifest.sizes.tolist(), strict=True):
                digest.update(f"{name}\t{size}\n".encode())
        return digest.hexdigest()

    def _refuse_two_sizes(self, rows: np.ndarray, sizes: np.ndarray) -> None:
        other = np.flatnonzero(self.sizes[rows] != sizes)
        if len(other):
            listing = int(other[0])
            row = int(rows[listing])
            raise BadManifest(
                f"{self._where(listing)} gives {self.paths[row]} {sizes[listing]} samples, {self.where(row)} "
                f"{self.sizes[row]}: expected the same; correct one of them"
            )


def _order(manifest: FairseqSignalsManifest) -> tuple[int, Path]:
    name = manifest.path.stem
    return SPLIT_ORDER.index(name) if name in SPLIT_ORDER else len(SPLIT_ORDER), manifest.path
