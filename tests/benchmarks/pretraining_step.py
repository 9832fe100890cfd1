"""D-BETA's training step on the CPU at full size, against the arithmetic of the published code in the same run.

The alternative computes what the release computes: attention maps of the fusion layers, MLM logits of every token,
every patch and token of the last layers, attention to padding, convolution over 128 steps, and torch's AdamW loop over
tensors. It is written with this package's modules; that they use torch's fused attention in the ECG encoder is not
counted. Weights are random; 12 x 5000 ECGs with half the leads zeroed, a quarter of the tokens scored by MLM.
"""

import argparse
import multiprocessing
import time

import numpy as np
import torch
from released_arithmetic import as_released
from timing import peak_memory_mb

from ecgtext_plugins.data.text_plan import text_plan
from ecgtext_plugins.kept_memory import keep_freed_memory
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.etm_loss import etm_loss
from ecgtext_plugins.modules.ets_loss import ets_labels, ets_logits, ets_loss
from ecgtext_plugins.modules.mem_loss import mem_loss
from ecgtext_plugins.modules.mlm_loss import mlm_loss
from ecgtext_plugins.modules.patch_masking import patch_targets
from ecgtext_plugins.text.encoders import build_text_encoder

FLAN_T5_BASE = {
    "model_type": "t5",
    "vocab_size": 32128,
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 12,
    "num_heads": 12,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}
MASK_ID, MLM_PROB = 32099, 0.25


def random_batch(rows: int, samples: int, lengths: np.ndarray, copies: np.ndarray, groups: int, device="cpu") -> dict:
    """Random data in the batch contract: `lengths` (B,) ascending tokens, rows of equal `copies` show one report."""
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 32000, (rows, lengths.max()))
    scored = rng.random(ids.shape) < MLM_PROB
    first = np.concatenate([[True], copies[1:] != copies[:-1]])
    source = np.maximum.accumulate(np.where(first, np.arange(rows), 0))
    real = np.arange(lengths.max()) < lengths[:, None]
    ids, scored = np.where(real, ids[source], 0), scored[source] & real
    labels = np.where(scored, ids, -100)
    original = torch.from_numpy(rng.normal(size=(rows, 12, samples)).astype(np.float32))
    hidden = torch.from_numpy(rng.random((rows, 12)) < 0.5)
    aligned = (rng.random(rows) < 0.5).astype(np.int64)
    batch = {
        "net_input": {
            "ecg": original.masked_fill(hidden[:, :, None], 0.0),
            "text": torch.from_numpy(np.where(scored, MASK_ID, ids)),
            "text_padding_mask": torch.from_numpy(~real),
            "text_plan": text_plan(lengths, copies, labels, groups),
        },
        "target": {
            "ecg_original": original,
            "mlm_labels": torch.from_numpy(labels),
            "mlm_scored": torch.from_numpy(labels[labels != -100]),
            "is_aligned": torch.from_numpy(aligned),
            "report_id": torch.from_numpy(copies),
            "text_report_id": torch.from_numpy(np.where(aligned == 1, copies, copies + 10**6)),
        },
    }
    return on_device(batch, device)


def on_device(value, device):
    """Move the tensors of a nested dict."""
    if isinstance(value, dict):
        return {name: on_device(part, device) for name, part in value.items()}
    return value.to(device) if torch.is_tensor(value) else value


def mimic_like(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths with a mean of 25 tokens, and 13 % of the rows with one and the same short report; lengths ascend."""
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.gamma(2.2, 11.5, rows).astype(int) + 5, 6, 120)
    copies = np.arange(rows)
    common = rng.random(rows) < 0.13
    lengths[common], copies[common] = 8, rows
    order = np.lexsort((copies, lengths))
    return lengths[order], copies[order]


def losses(model, batch: dict, planned: bool) -> torch.Tensor:
    """Sum of the four losses: as this package trains, or over all tokens and patches."""
    net_input, target = dict(batch["net_input"]), batch["target"]
    if not planned:
        net_input["text_plan"] = None
    out = model(**net_input)
    patches = patch_targets(target["ecg_original"], model.samples_per_patch)
    logits, labels = out["mlm_logits"], target["mlm_scored"]
    if planned:
        mlm = mlm_loss(logits, labels, len(patches))
    else:
        mlm = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), target["mlm_labels"].flatten())
    pairs = ets_labels(target["is_aligned"], target["report_id"], target["text_report_id"])
    similarity = ets_logits(out["ecg_features"], out["text_features"], 1.0, 0.0, False)
    return (
        mlm
        + mem_loss(out["mem_logits"], patches, out["mem_removed"], places=out["mem_places"])
        + etm_loss(out["etm_logits"], target["is_aligned"])
        + ets_loss(similarity, pairs)
    )


class Step:
    """A way to train: forward and backward, then the optimizer; timed apart."""

    def __init__(self, batch: dict, bf16: bool = False, release: bool = False):
        torch.manual_seed(0)
        config = {**FLAN_T5_BASE, "attn_implementation": "eager"} if release else FLAN_T5_BASE
        self.model = DBeta(DBetaConfig(text_attention_mask=not release), build_text_encoder(config)).train()
        if release:
            as_released(self.model)
        settings = {"lr": 5e-5, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.01}
        fused = {"foreach": False, "fused": False} if release else {"fused": True}
        self.optimizer = torch.optim.AdamW(self.model.parameters(), **settings, **fused)
        self.batch, self.bf16, self.release = batch, bf16, release

    def __call__(self) -> tuple[float, float]:
        """One step: seconds of forward and backward, and of all."""
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = losses(self.model, self.batch, planned=not self.release)
        loss.backward()
        middle = time.perf_counter()
        self.optimizer.step()
        self.optimizer.zero_grad()
        assert torch.isfinite(loss)
        return middle - began, time.perf_counter() - began


def serve(pipe, rows: int, threads: int, reports: tuple, groups: int, bf16: bool, release: bool) -> None:
    """Do a step for each message, in a process of its own."""
    torch.set_num_threads(threads)
    if not release:
        keep_freed_memory()
    step = Step(random_batch(rows, 5000, *reports, groups), bf16, release)
    pipe.send("ready")
    while pipe.recv():
        pipe.send(step())
    pipe.send(peak_memory_mb())


def interleaved(serve, cases: list[tuple], repeats: int) -> tuple[list[list], list]:
    """Step all cases in turn, each in its process, after a warm-up; by case the steps' times, and the last words."""
    context = multiprocessing.get_context("spawn")
    pipes, workers = [], []
    for case in cases:
        here, there = context.Pipe()
        workers.append(context.Process(target=serve, args=(there, *case), daemon=True))
        workers[-1].start()
        there.close()  # so that a worker that dies ends the benchmark
        pipes.append(here)
        here.recv()
    seconds = [[] for _ in cases]
    for repeat in range(repeats + 1):
        for pipe, taken in zip(pipes, seconds, strict=True):
            pipe.send(True)
            took = pipe.recv()
            if repeat:
                taken.append(took)
    peaks = []
    for pipe, worker in zip(pipes, workers, strict=True):
        pipe.send(False)
        peaks.append(pipe.recv())
        worker.join()
    return seconds, peaks


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    fixed = np.full(args.batch, 64), np.arange(args.batch)
    mimic = mimic_like(args.batch)
    released, ours, release_bf16, bf16 = (1, False, True), (4, False, False), (1, True, True), (4, True, False)
    plans = [
        ("float32", fixed, ours),
        ("the release's arithmetic, bfloat16 autocast", fixed, release_bf16),
        ("bfloat16 autocast", fixed, bf16),
        ("MIMIC-like reports, float32", mimic, ours),
        ("MIMIC-like reports, bfloat16 autocast", mimic, bf16),
    ]
    print(
        f"batch {args.batch}, {args.threads} threads, {args.repeats} repeats; MIMIC-like: {mimic[0].mean():.0f} tokens;"
        " x: the release's arithmetic in float32, stepping in turns with each case, takes so many times as long"
    )
    for name, reports, plan in plans:
        arguments = [(args.batch, args.threads, reports, *each) for each in (released, plan)]
        seconds, peaks = interleaved(serve, arguments, args.repeats)
        reference, taken = np.array(seconds)
        (both, whole), (both_x, whole_x) = np.median(taken, axis=0), np.median(reference / taken, axis=0)
        print(
            f"{name:44s} forward+backward {both:6.2f} s ({both_x:4.2f} x)   "
            f"whole step {whole:6.2f} s ({whole_x:4.2f} x)   "
            f"{args.batch / whole:5.2f} ECG/s   {peaks[1] / 1e3:4.1f} GB   (the release's: "
            f"{' '.join(f'{value:.2f}' for value in np.median(reference, axis=0))} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
