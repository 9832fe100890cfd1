"""`ecgtext embed`: ECG embeddings of a manifest."""

import argparse
import json
from pathlib import Path

from ecgtext_plugins.cli._run_options import add_device, check_device, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Write one ECG embedding a record to parquet: record_id, vector (fixed-size list of float32)."
    parser.epilog = """examples:
  ecgtext embed checkpoints/checkpoint_best.pt DATA/manifests/test.tsv --out test.parquet
  python3 -c "import pandas; print(pandas.read_parquet('test.parquet').head())\""""
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=Path, help="training checkpoint; nothing else is needed"
    )
    parser.add_argument("manifest", metavar="MANIFEST", type=Path, help="e.g. DATA/manifests/test.tsv")
    parser.add_argument("--out", required=True, metavar="FILE.parquet", type=Path, help="written whole or not at all")
    parser.add_argument("--batch-size", type=positive, default=64, help="records at once (default: %(default)s)")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Load, embed, write."""
    import ecgtext_plugins
    from ecgtext_plugins.evaluation.embed import embed_manifest, write_embeddings
    from ecgtext_plugins.store.manifest import read_manifest

    manifest = read_manifest(args.manifest)
    device = check_device(args.device)
    model = ecgtext_plugins.load(args.checkpoint)
    vectors = embed_manifest(model, manifest, args.batch_size, device)
    origin = {"checkpoint_sha256": model.checkpoint_sha256, "store_fingerprint": manifest.store.fingerprint}
    write_embeddings(args.out, manifest.record_ids, vectors, origin, manifest.starts if manifest.windows else None)
    if args.json:
        print(json.dumps({"out": str(args.out), "n": len(vectors), "width": int(vectors.shape[1])} | origin, indent=2))
    else:
        print(f"{args.out}: {len(vectors)} records, vectors of {vectors.shape[1]}")
    return 0
