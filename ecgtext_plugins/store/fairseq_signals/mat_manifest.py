"""fairseq-signals' manifests as ours: a folder of them is one store, whichever of them is asked for."""

import weakref
from pathlib import Path

from ecgtext_plugins.errors import BadManifest
from ecgtext_plugins.store.fairseq_signals.manifests import FairseqSignalsManifest, is_fairseq_signals, parse_manifest
from ecgtext_plugins.store.fairseq_signals.mat_store import MatStore
from ecgtext_plugins.store.joined_stores import JoinedStores
from ecgtext_plugins.store.manifest import Manifest, read_manifest
from ecgtext_plugins.store.reader import RecordStore

# Stores that somebody still holds: train and valid of one training share the one scan of all files.
_open: "weakref.WeakValueDictionary[tuple, MatStore]" = weakref.WeakValueDictionary()


def read_mat_manifest(path: str | Path) -> Manifest:
    """Read a manifest of fairseq-signals as one of ours; its store is a :class:`MatStore`.

    A record is a file; of a CMSC manifest the records are the windows of its pairs, side by side.

    Raises
    ------
    BadManifest
        When it, or another one of its kind in its folder, is malformed.
    """
    store, manifest = open_with_manifest(path)
    rows = store.files.rows[manifest.path]
    return Manifest(manifest.path, store, rows, manifest.sizes, identities=manifest.classes)


def open_with_manifest(path: str | Path) -> tuple[MatStore, FairseqSignalsManifest]:
    """Open a manifest of fairseq-signals and the store of all manifests of its kind in its folder.

    Raises
    ------
    BadManifest
        When one of them is malformed.
    """
    path = Path(path)
    path = path.parent.resolve() / path.name
    manifest = parse_manifest(path)
    stamps = tuple((other.name, other.stat().st_mtime_ns, other.stat().st_size) for other in _tables(path.parent))
    key = (path.parent, manifest.kind, stamps)
    store = _open.get(key)
    if store is None:
        store = _open[key] = MatStore.open(path.parent, manifest.kind)
    return store, manifest


def open_folder(folder: str | Path) -> MatStore:
    """Open the store of the manifests in `folder`: of the kind of train.tsv, or else of the first one.

    Raises
    ------
    BadManifest
        When there is none.
    """
    folder = Path(folder).resolve()
    found = [path for path in _tables(folder) if is_fairseq_signals(path)]
    if not found:
        raise BadManifest(
            f"{folder} holds no manifest of fairseq-signals: expected train.tsv there; give the manifests' folder"
        )
    return open_with_manifest(next((path for path in found if path.stem == "train"), found[0]))[0]


def _tables(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tsv"))


def open_data(folder: str | Path) -> RecordStore | MatStore | JoinedStores:
    """Open what `folder` holds: a record store, fairseq-signals' manifests, or stores that manifests/train.tsv joins.

    Raises
    ------
    BadStore
        When it holds neither.
    BadManifest
        When a manifest is malformed.
    """
    folder = Path(folder).resolve()
    if not (folder / "corpus.json").is_file() and any(is_fairseq_signals(path) for path in _tables(folder)):
        return open_folder(folder)
    joining = folder / "manifests" / "train.tsv"
    if not any((folder / name).exists() for name in ("corpus.json", ".build")) and joining.is_file():
        store = read_manifest(joining).store
        if isinstance(store, JoinedStores) and store.folder == folder:
            return store
    return RecordStore.open(folder)


def train_manifest(store: RecordStore | MatStore | JoinedStores) -> Path:
    """Return the path of a store's train manifest."""
    folder = store.folder if isinstance(store, MatStore) else store.folder / "manifests"
    return folder / "train.tsv"
