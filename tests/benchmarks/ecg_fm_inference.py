"""`ecgtext predict` at ECG-FM's size: windows/s from a record store on, against the network alone on a batch.

Each case runs in a process of its own, and the cases take turns. Weights are random, records of 10 s are two windows.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pretraining_step import interleaved
from synthetic_store import RATE, write_store
from timing import peak_memory_mb

from ecgtext_plugins.checkpoints.ecg_fm import MIMIC_LABELS
from ecgtext_plugins.checkpoints.ecg_model import EcgModel
from ecgtext_plugins.checkpoints.networks import CLASSIFIER, build_network, model_config
from ecgtext_plugins.checkpoints.source import TRAINING, Source
from ecgtext_plugins.evaluation.predict import predict
from ecgtext_plugins.evaluation.record_sources import open_records
from ecgtext_plugins.kept_memory import keep_freed_memory

WINDOW, LENGTH = 2500, 5000


def ecg_fm(path: Path) -> EcgModel:
    """ECG-FM's classifier of 17 labels with random weights; `path` stands for its file."""
    labels = list(MIMIC_LABELS)
    config = model_config(CLASSIFIER, {"num_labels": len(labels)})
    source = Source(CLASSIFIER, TRAINING, config, {}, RATE, WINDOW, {}, standardize=True, labels=labels)
    return EcgModel(build_network(path, source), source, path).eval().requires_grad_(False)


def bare(model: EcgModel, ecg: torch.Tensor, batches: int, bf16: bool) -> None:
    """Run the network on one batch again and again."""
    with torch.inference_mode(), torch.autocast(ecg.device.type, torch.bfloat16, enabled=bf16):
        for _ in range(batches):
            logits = model.logits(ecg)
        logits.cpu()


def serve(pipe, folder: Path, whole_path: bool, args: argparse.Namespace) -> None:
    """Predict for all records, or run the network on as many windows, for each message; answer with windows/s."""
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    model, sources = ecg_fm(folder / "corpus.json").to(args.device), open_records([folder / "manifests" / "train.tsv"])
    windows = len(sources) * LENGTH // WINDOW  # of the training split, nine tenths of the store
    ecg, batches = torch.randn(args.batch, 12, WINDOW, device=args.device), -(-windows // args.batch)
    pipe.send("ready")
    while pipe.recv():
        began = time.perf_counter()
        if whole_path:
            options = {"device": args.device, "bf16": args.bf16, "workers": args.workers}
            assert predict(model, sources, batch_size=args.batch, **options).n_windows == windows
            done = windows
        else:
            bare(model, ecg, batches, args.bf16)
            done = batches * args.batch
        pipe.send(done / (time.perf_counter() - began))
    pipe.send((peak_memory_mb(), sum(parameter.numel() for parameter in model.parameters()) / 1e6))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32, help="windows")
    parser.add_argument("--batches", type=int, default=4, help="in each repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()
    records = args.batches * args.batch * WINDOW // LENGTH
    with tempfile.TemporaryDirectory(prefix="ecgtext-") as name:
        folder = write_store(Path(name) / "data", records, LENGTH, with_signals=True)
        cases = {"network alone": False, "predict, from the store on": True}
        rates, ends = interleaved(serve, [(folder, whole, args) for whole in cases.values()], args.repeats)
    first = np.median(rates[0])
    for name, taken, (peak, parameters) in zip(cases, rates, ends, strict=True):
        print(
            f"{name:28s} {np.median(taken):8.2f} windows/s ({np.median(taken) / first:5.3f} of the network's)   "
            f"{parameters:.1f} M parameters   peak {peak:5.0f} MB"
        )


if __name__ == "__main__":
    main()
