"""ECG-FM's pretraining step on the CPU at full size, against the network's forward and backward pass alone.

The whole step is what the recipe does: windows of a record store with half the leads zeroed, the task's train_step with
all four losses, gradients scaled, AdamW. The bare one runs the same network on one batch with InfoNCE alone. Each case
in a process of its own, in turns; weights are random, records of 10 s are a pair of windows each.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from pretraining_step import interleaved
from synthetic_store import write_store
from timing import peak_memory_mb

import ecgtext_plugins
from ecgtext_plugins.kept_memory import keep_freed_memory
from ecgtext_plugins.modules.infonce_loss import infonce_loss
from ecgtext_plugins.recipes import recipes_root

WINDOW, LENGTH = 2500, 5000
RECIPE = "examples/ecg_fm/pretraining/w2v_cmsc_rlm.yaml"


class WholeStep:
    """Batches of a store through the task, as fairseq's trainer takes them."""

    def __init__(self, folder: Path, pairs: int, bf16: bool):
        ecgtext_plugins.register_all()
        from fairseq.tasks import setup_task

        cfg = OmegaConf.load(recipes_root() / RECIPE)
        cfg.checkpoint = {"save_dir": str(folder), "restore_file": "checkpoint_last.pt"}
        cfg.task.data, cfg.task.bf16_autocast = str(folder / "manifests"), bf16
        for group in ("defaults", "hydra"):
            del cfg[group]
        OmegaConf.resolve(cfg)
        self.task = setup_task(cfg.task)
        self.task.load_dataset("train")
        self.model = self.task.build_model(cfg.model).train()
        self.criterion = self.task.build_criterion(cfg.criterion)
        from fairseq.optim import build_optimizer

        self.optimizer = build_optimizer(cfg.optimizer, list(self.model.parameters()))
        epochs = self.task.get_batch_iterator(self.task.datasets["train"], max_sentences=pairs)
        self.batches, self.updates = iter(epochs.next_epoch_itr()), 0

    def __call__(self) -> None:
        """One update."""
        sample = next(self.batches)
        arguments = sample, self.model, self.criterion, self.optimizer, self.updates
        loss, size, _ = self.task.train_step(*arguments)
        self.optimizer.multiply_grads(1.0 / size)
        self.optimizer.clip_grad_norm(0.0)
        self.task.optimizer_step(self.optimizer, self.model, self.updates)
        self.optimizer.zero_grad()
        self.updates += 1
        assert torch.isfinite(loss)


class BareStep:
    """Forward and backward pass of the recipe's network on one batch."""

    def __init__(self, folder: Path, pairs: int, bf16: bool):
        whole = WholeStep(folder, pairs, bf16)
        self.model, self.bf16 = whole.model, bf16
        self.net_input = next(whole.batches)["net_input"]
        self.seeds = torch.arange(2 * pairs)

    def __call__(self) -> None:
        """One pass."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = infonce_loss(self.model(**self.net_input, mask_seed=self.seeds)["logits"])
        loss.backward()
        self.model.zero_grad()


def serve(pipe, case: type, folder: Path, pairs: int, bf16: bool, threads: int) -> None:
    """Do a step for each message, in a process of its own; answer with its seconds, by the clock and of processors."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    logging.disable(logging.INFO)
    keep_freed_memory()
    step = case(folder, pairs, bf16)
    pipe.send("ready")
    while pipe.recv():
        began = time.perf_counter(), time.process_time()
        step()
        pipe.send((time.perf_counter() - began[0], time.process_time() - began[1]))
    pipe.send(peak_memory_mb())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        folder = write_store(Path(top) / "data", 64 * args.pairs, LENGTH, with_signals=True)
        cases = [(case, folder, args.pairs, args.bf16, args.threads) for case in (BareStep, WholeStep)]
        seconds, memory = interleaved(serve, cases, args.repeats)
    print(f"{args.pairs} pairs of {WINDOW} samples, {args.threads} threads, {args.repeats} repeats")
    taken = np.array(seconds)  # (2 cases, repeats, clock and processors)
    names = "forward and backward alone", "whole step"
    for name, (clock, processors), peak in zip(names, np.median(taken, axis=1), memory, strict=True):
        print(
            f"{name:28s} {clock:6.2f} s   {2 * args.pairs / clock:5.2f} windows/s   {processors:6.2f} s of CPU   "
            f"{peak / 1e3:4.1f} GB"
        )
    clock, processors = np.median(taken[1] / taken[0], axis=0)
    print(f"whole step / alone, median of neighbours: {clock:.3f} by the clock, {processors:.3f} of processors")


if __name__ == "__main__":
    main()
