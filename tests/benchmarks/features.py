"""ECG features at full size on the CPU: ECG/s and parameter bytes, against the whole released model in the same run.

Each case runs in a process of its own, as `ecgtext embed` runs; the cases take turns.
"""

import argparse
import time

import numpy as np
import torch
from pretraining_step import FLAN_T5_BASE, interleaved
from released_arithmetic import as_released
from timing import peak_memory_mb

from ecgtext_plugins.kept_memory import keep_freed_memory
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.ecg_tower import EcgTower
from ecgtext_plugins.text.encoders import build_text_encoder


def serve(pipe, rows: int, threads: int, release: bool, bf16: bool) -> None:
    """Embed a batch for each message."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if release:
        model = DBeta(DBetaConfig(), build_text_encoder(FLAN_T5_BASE)).eval()
        as_released(model, maps_of_encoder=True)
    else:
        keep_freed_memory()
        model = EcgTower(DBetaConfig()).eval()
    ecg = torch.randn(rows, 12, 5000)
    pipe.send("ready")
    while pipe.recv():
        began = time.perf_counter()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            model.encode_ecg(ecg)
        pipe.send(time.perf_counter() - began)
    pipe.send((peak_memory_mb(), sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    cases = {
        "whole model, attention maps, float32": (True, False),
        "whole model, attention maps, bfloat16": (True, True),
        "float32": (False, False),
        "bfloat16 autocast": (False, True),
    }
    arguments = [(args.batch, args.threads, *case) for case in cases.values()]
    seconds, sizes = interleaved(serve, arguments, args.repeats)
    for name, taken, (peak, parameters) in zip(cases, seconds, sizes, strict=True):
        faster = np.median(np.divide(seconds[0], taken))  # of neighbours: the machine's pace changes
        print(
            f"{name:38s} {args.batch / np.median(taken):6.2f} ECG/s ({faster:4.2f} x)   "
            f"parameters {parameters:5.0f} MB   peak {peak:5.0f} MB"
        )


if __name__ == "__main__":
    main()
