"""D-BETA's pretraining step on a GPU at full size, in bfloat16: ECG/s, milliseconds, memory, share of the matrix rate.

Needs torch and transformers only; random data in the batch contract, already on the device, so it is about the GPU and
not about loading. The floor is the rate of square bfloat16 products measured in the same run: the share of it that the
step's own products reach (model FLOP utilisation) is printed, counted by torch's FLOP counter without compilation.
"""

import argparse
import json
import time

import numpy as np
import torch
from pretraining_step import FLAN_T5_BASE, losses, mimic_like, random_batch
from torch.utils.flop_counter import FlopCounterMode

from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.tasks._step_clock import MATRIX, matrix_rate
from ecgtext_plugins.text.encoders import build_text_encoder

SMALL = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
SMALL_MODEL = {
    "encoder_layers": 2,
    "encoder_embed_dim": 64,
    "encoder_ffn_embed_dim": 128,
    "encoder_attention_heads": 4,
    "hidden_dim": 64,
    "num_heads": 4,
    "num_top_layer": 2,
    "mem_layer": 1,
    "mem_decoder_hidden_dim": 32,
    "mem_decoder_num_layers": 1,
    "mem_decoder_num_heads": 4,
}


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(model, optimizer, batch: dict, device: torch.device, steps: int, count: bool) -> tuple[float, float]:
    """Return seconds a step, and the floating-point operations of one (0 unless counted)."""

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = losses(model, batch, planned=True)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    flops = 0.0
    if count:
        with FlopCounterMode(display=False) as counter:
            step()
        flops = counter.get_total_flops()
    for _ in range(5):
        step()
    synchronise(device)
    began = time.perf_counter()
    for _ in range(steps):
        step()
    synchronise(device)
    return (time.perf_counter() - began) / steps, flops


def main() -> None:
    """Measure and print one line a case, and all as JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the script where there is no GPU")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = True
    rate = matrix_rate(device, 512 if args.small else MATRIX)
    print(f"{torch.__version__}, {args.device}, batch {args.batch}: matrix rate {rate / 1e12:.1f} TFLOP/s in bfloat16")
    fixed = np.full(args.batch, 64), np.arange(args.batch)
    results = []
    for compiled in (False, True):
        torch.manual_seed(0)
        sizes = SMALL_MODEL if args.small else {}
        text = FLAN_T5_BASE | (SMALL if args.small else {})
        model = DBeta(DBetaConfig(compile_layers=compiled, **sizes), build_text_encoder(text)).to(device).train()
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=5e-5, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01, fused=True
        )
        for name, (lengths, copies) in {"64 tokens": fixed, "MIMIC-like reports": mimic_like(args.batch)}.items():
            for groups in (1, 4):
                batch = random_batch(args.batch, 5000, lengths, copies, groups, device)
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                seconds, flops = measure(model, optimizer, batch, device, args.steps, count=not compiled)
                plain = next((r for r in results if (r["reports"], r["groups"]) == (name, groups)), None)
                flops = flops or plain["flops"]
                result = {
                    "reports": name,
                    "groups": groups,
                    "compiled": compiled,
                    "ms": 1000 * seconds,
                    "steps_per_s": 1 / seconds,
                    "ecg_per_s": args.batch / seconds,
                    "flops": flops,
                    "share_of_matrix_rate": flops / seconds / rate,
                    "peak_gb": torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None,
                }
                results.append(result)
                print({key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()})
    print(json.dumps({"matrix_rate": rate, "results": results}))


if __name__ == "__main__":
    main()
