"""`ecgtext embed`: ECG embeddings of manifests, WFDB records and arrays."""

import argparse
import json
from pathlib import Path
from typing import Any

from ecgtext_plugins.cli._record_inputs import INPUT_HELP, add_inputs, array_form, tell_failures, tell_missing
from ecgtext_plugins.cli._run_options import add_device, check_device, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Write one ECG embedding a record to parquet: record_id, vector (fixed-size list of float32)."
    parser.epilog = f"""{INPUT_HELP}

D-BETA embeds the records of one manifest at their whole length. Else a record's vector is the mean of those of its
windows, which are as long as the model was trained on; with --windows, each has a row with its start.

examples:
  ecgtext embed checkpoints/checkpoint_best.pt DATA/manifests/test.tsv --out test.parquet
  ecgtext embed mimic_iv_ecg_physionet_pretrained.pt records/ --out records.parquet
  python3 -c "import pandas; print(pandas.read_parquet('test.parquet').head())\""""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="checkpoint of any model here, or released")
    add_inputs(parser)
    parser.add_argument("--out", required=True, metavar="FILE.parquet", type=Path, help="written whole or not at all")
    parser.add_argument(
        "--pooling",
        choices=("default", "mean", "cls"),
        default="default",
        help="from frames to a vector; default: the model's own, as published",
    )
    parser.add_argument("--windows", action="store_true", help="a row a window with its start, instead of a record")
    parser.add_argument("--batch-size", type=positive, default=64, help="records or windows at once (default: 64)")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Load, embed, write."""
    import ecgtext_plugins
    from ecgtext_plugins.evaluation.record_sources import open_records
    from ecgtext_plugins.store.manifest import read_manifest

    whole = len(args.inputs) == 1 and args.inputs[0].endswith(".tsv") and not args.windows
    manifest = read_manifest(args.inputs[0]) if whole else None
    device = check_device(args.device)
    model = ecgtext_plugins.load(args.checkpoint)
    if whole and model.family == "dbeta":
        return _whole_records(args, model, manifest, device)
    return _windows(args, model, open_records(args.inputs, array_form(args)), device)


def _whole_records(args: argparse.Namespace, model: Any, manifest: Any, device: str) -> int:
    from ecgtext_plugins.evaluation.embed import embed_manifest, write_embeddings

    vectors = embed_manifest(model, manifest, args.batch_size, device, args.pooling)
    origin = {"checkpoint_sha256": model.checkpoint_sha256, "store_fingerprint": manifest.store.fingerprint}
    write_embeddings(args.out, manifest.record_ids, vectors, origin, manifest.starts if manifest.windows else None)
    _tell(args, len(vectors), vectors.shape[1], origin)
    return 0


def _windows(args: argparse.Namespace, model: Any, sources: Any, device: str) -> int:
    from ecgtext_plugins.errors import BadRecord
    from ecgtext_plugins.evaluation.embed import embed_records, write_embeddings
    from ecgtext_plugins.evaluation.predict import write_failures

    found = embed_records(model, sources, args.batch_size, device, args.pooling)
    places, vectors = (found.owner, found.values) if args.windows else (found.records, found.mean())
    failed = [(sources.ids[place].as_py(), reason) for place, reason in found.failures]
    listed = write_failures(args.out, failed)
    if not len(places):
        raise BadRecord("no_record", f"none of {len(sources)} records could be used: {failed[0][1]}; see {listed}")
    origin = {"checkpoint_sha256": model.checkpoint_sha256}
    stores = [manifest.store.fingerprint for manifest in sources.manifests]
    if stores:
        origin["store_fingerprint"] = ",".join(dict.fromkeys(stores))
    ids = sources.ids.take(places).to_pylist()
    write_embeddings(args.out, ids, vectors, origin, found.start if args.windows else None)
    tell_missing(ids, [found.missing[place] for place in places])
    _tell(args, len(found.records), vectors.shape[1], origin)
    return tell_failures(listed, failed, len(sources))


def _tell(args: argparse.Namespace, count: int, width: int, origin: dict[str, str]) -> None:
    if args.json:
        print(json.dumps({"out": str(args.out), "n": count, "width": width} | origin, indent=2))
    else:
        print(f"{args.out}: {count} records, vectors of {width}")
