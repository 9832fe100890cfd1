"""`ecgtext saliency`: where a checkpoint looks in a recording."""

import argparse
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ecgtext_plugins.cli._run_options import add_device, check_device

if TYPE_CHECKING:
    import numpy as np

    from ecgtext_plugins.evaluation.saliency import Saliency

EPILOG = """examples:
  ecgtext saliency physionet_finetuned.pt RAW/georgia/E07500 --out page.png
  ecgtext saliency physionet_finetuned.pt RAW/georgia/E07500 --out page.svg --method gradient --label AF
  ecgtext saliency checkpoint_best.pt DATA --record-id 40689238 --out page.pdf --colors cividis
  ecgtext saliency checkpoint_best.pt DATA/manifests/test.tsv --record-id 40689238 --out page.png --layer 0
  ecgtext saliency checkpoint_best.pt ecg.npy --fs 400 --leads I,II,V2 --out page.png --json > values.json"""
ARRAYS = {".npy": "npy", ".mat": "mat"}


class Recording(NamedTuple):
    """A recording to look at: `signal_mv` (n, T) millivolt at `fs` Hz, with names for its rows."""

    name: str
    signal_mv: "np.ndarray"
    fs: float
    leads: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Draw a recording on ECG paper, 25 mm/s and 10 mm/mV, coloured by where the model looks: by default as ECG-FM "
        "does, the largest attention weight of each frame in the last layer, or the gradient of a label's logit."
    )
    parser.epilog = EPILOG
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="any that this package reads")
    parser.add_argument(
        "record", metavar="RECORD", type=Path, help="a WFDB record, an .npy or .mat file, a record store or a manifest"
    )
    parser.add_argument("--out", required=True, metavar="FILE", type=Path, help="picture to write: .png, .pdf or .svg")
    parser.add_argument("--record-id", metavar="ID", help="which record of a store or manifest")
    parser.add_argument(
        "--method", choices=("attention", "gradient"), default="attention", help="what is drawn (default: %(default)s)"
    )
    parser.add_argument("--label", metavar="NAME", help="of a classifier (default: the most probable one)")
    parser.add_argument(
        "--labels", metavar="FILE", type=Path, help="names of the outputs, where the checkpoint has none (see convert)"
    )
    parser.add_argument(
        "--layer", type=int, default=-1, metavar="N", help="whose attention, -1 is the last one (default: %(default)s)"
    )
    parser.add_argument("--start", type=float, default=0.0, metavar="SECONDS", help="draw from here (default: 0)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="SECONDS", help="draw so much (default: %(default)g)"
    )
    parser.add_argument(
        "--colors",
        choices=("blue-red", "cividis"),
        default="blue-red",
        help="low to high; cividis can be told apart by all eyes (default: %(default)s)",
    )
    arrays = parser.add_argument_group("of .npy files, and of .mat files without curr_sample_rate")
    arrays.add_argument("--fs", type=float, metavar="HZ", help="sampling rate")
    arrays.add_argument("--leads", metavar="I,II,...", help="the rows' names; leads not named are zero for the model")
    arrays.add_argument("--unit", choices=("mV", "uV", "V"), default="mV", help="(default: %(default)s)")
    arrays.add_argument("--variable", metavar="NAME", default="feats", help="of a .mat file (default: %(default)s)")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print the result with all values as JSON")


def run(args: argparse.Namespace) -> int:
    """Read, compute, draw, tell."""
    import ecgtext_plugins
    from ecgtext_plugins.errors import BadEnvironment

    try:
        from ecgtext_plugins.plotting.figure_file import check_kind, save_figure
        from ecgtext_plugins.plotting.saliency import draw_saliency
    except ModuleNotFoundError as error:
        raise BadEnvironment(
            f"drawing needs the package {error.name}, which is not installed: type pip install 'ecgtext-plugins[plots]'"
        ) from error
    from ecgtext_plugins.checkpoints.label_names import read_label_names
    from ecgtext_plugins.evaluation.saliency import record_saliency

    check_kind(args.out)
    recording = read_recording(args)
    device = check_device(args.device)
    names = {} if args.labels is None else {"labels": read_label_names(args.labels)}
    model = ecgtext_plugins.load(args.checkpoint, ecg_only=True, **names).to(device)
    found = record_saliency(model, *recording[1:], method=args.method, label=args.label, layer=args.layer)
    depth = len(model.ecg_encoder.encoder.layers)
    figure = draw_saliency(
        found.signal_mv,
        model.sample_rate,
        found.values,
        title_of(recording.name, args.method, found, args.layer, depth),
        f"{args.method}: 0 is {found.span[0]:.3g}, 1 is {found.span[1]:.3g}, the record's lowest and highest",
        args.start,
        args.seconds,
        args.colors,
        (found.starts[1:] / model.sample_rate).tolist(),
    )
    save_figure(figure, args.out)
    print(json.dumps(_result(args, recording, model, found), indent=2) if args.json else _told(args, recording, found))
    return 0


def title_of(name: str, method: str, found: "Saliency", layer: int, depth: int) -> str:
    """Return two lines: the record and what is drawn; the label and its probability, if there is one."""
    if method == "attention":
        what = f"attention of layer {layer % depth + 1} of {depth}"
    elif found.label is not None:
        what = "gradient of the label's logit"
    else:
        what = "gradient of the embedding's squared norm"
    lines = [f"{textwrap.shorten(name, 40, placeholder=' ...')}   {what}"]
    if found.label is not None:
        lines.append(f"{textwrap.shorten(found.label, 45, placeholder=' ...')}   probability {found.probability:.3f}")
    return "\n".join(lines)


def _result(args: argparse.Namespace, recording: Recording, model: Any, found: "Saliency") -> dict[str, Any]:
    return {
        "out": str(args.out),
        "record": recording.name,
        "checkpoint_sha256": model.checkpoint_sha256,
        "method": args.method,
        "layer": args.layer if args.method == "attention" else None,
        "label": found.label,
        "probability": found.probability,
        "sample_rate": model.sample_rate,
        "window_starts": found.starts.tolist(),
        "span": list(found.span),
        "values": [[round(float(v), 5) for v in row] for row in found.values]
        if found.values.ndim == 2
        else [round(float(v), 5) for v in found.values],
    }


def _told(args: argparse.Namespace, recording: Recording, found: "Saliency") -> str:
    label = "" if found.label is None else f", {found.label} {found.probability:.3f}"
    return f"{args.out}: {args.method} of record {recording.name}{label}"


def read_recording(args: argparse.Namespace) -> Recording:
    """Read `args.record`: a store or manifest with `args.record_id`, an array, or a WFDB record.

    Raises
    ------
    EcgTextError
        When it is none of these, or an option that it needs is missing.
    """
    from ecgtext_plugins.errors import EcgTextError

    path = args.record
    is_listing = path.is_dir() or path.suffix == ".tsv"
    if is_listing != (args.record_id is not None):
        found = "holds many records" if is_listing else "is one record"
        remedy = "name one with --record-id" if is_listing else "leave --record-id out"
        raise EcgTextError(f"{path} {found}: expected --record-id for stores and manifests alone; {remedy}")
    if is_listing:
        return _listed(path, args.record_id)
    beside = path.with_suffix(".hea").is_file()  # the Challenge's .mat files are WFDB records
    return _array(args) if path.suffix in ARRAYS and not beside else _wfdb(path)


def _listed(path: Path, record_id: str) -> Recording:
    """Read a record of a store or manifest, whole even where the manifest lists windows of it."""
    from ecgtext_plugins.errors import BadManifest
    from ecgtext_plugins.signals.leads import LEADS
    from ecgtext_plugins.store.fairseq_signals.scan import read_listed
    from ecgtext_plugins.store.manifest import read_manifest
    from ecgtext_plugins.store.reader import RecordStore

    if path.is_dir():
        store = RecordStore.open(path)
        row = int(store.rows_of([record_id], source="--record-id")[0])
        return Recording(record_id, store.signal_mv(row), store.sample_rate, LEADS)
    manifest = read_manifest(path)
    ids = manifest.record_ids
    if record_id not in ids:
        raise BadManifest(
            f"{path} has no record '{record_id}': expected one of its {len(ids)}"
            f"{f', such as {ids[0]}' if ids else ''}; correct --record-id"
        )
    row = int(manifest.rows[ids.index(record_id)])
    if manifest.holds_counts:
        return Recording(record_id, manifest.store.signal_mv(row), manifest.store.sample_rate, LEADS)
    file = read_listed(manifest.store.files[row])
    return Recording(record_id, file.millivolt(), file.rate, LEADS)


def _array(args: argparse.Namespace) -> Recording:
    from ecgtext_plugins.corpora.fairseq_mat import read_mat
    from ecgtext_plugins.corpora.generic_arrays import read_array
    from ecgtext_plugins.corpora.raw_folder import RawFolder
    from ecgtext_plugins.corpora.record import RecordEntry
    from ecgtext_plugins.errors import EcgTextError
    from ecgtext_plugins.signals.leads import LEADS

    path = args.record
    if path.suffix == ".mat" and args.fs is None and args.leads is None:
        file = read_mat(path.read_bytes(), str(path))
        return Recording(path.stem, file.millivolt(), file.rate, LEADS)
    if args.fs is None or args.leads is None:
        raise EcgTextError(
            f"{path} is an array without rate and lead names: expected both; give --fs 500 and --leads "
            f"{','.join(LEADS)}, as they are in the file"
        )
    leads = [name.strip() for name in args.leads.split(",") if name.strip()]
    options = {"format": ARRAYS[path.suffix], "leads": leads, "layout": "auto", "key": args.variable}
    options |= {"rate": args.fs, "unit": args.unit, "gain": None}
    entry = RecordEntry(path.stem, "", path.name)
    found = read_array(RawFolder(path.absolute().parent), entry, "", "", options)
    return Recording(path.stem, found.signal, found.native_rate, LEADS)


def _wfdb(path: Path) -> Recording:
    from ecgtext_plugins.corpora.raw_folder import RawFolder
    from ecgtext_plugins.corpora.record import RecordEntry
    from ecgtext_plugins.corpora.wfdb_records import read_wfdb
    from ecgtext_plugins.errors import BadRecord
    from ecgtext_plugins.signals.leads import LEADS

    name = path.stem if path.suffix in (".hea", ".dat", ".mat") else path.name
    found = read_wfdb(RawFolder(path.absolute().parent), RecordEntry(name, "", name))
    if found.checksum_error:
        raise BadRecord("checksum", found.checksum_error)
    return Recording(name, found.signal, found.rate, LEADS)
