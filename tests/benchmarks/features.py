"""ECG features at full size on the CPU: ECG/s and parameter bytes, against the whole released model in the same run."""

import argparse
import time

import numpy as np
import torch
from pretraining_step import FLAN_T5_BASE

from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.ecg_tower import EcgTower
from ecgtext_plugins.text.encoders import build_text_encoder


def with_maps(query, key, value, heads, padding_mask=None, dropout=0.0):
    """Attention that materialises its maps, as fairseq's multi-head attention does."""
    q, k, v = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value)]
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).float().softmax(-1).type_as(q)
    return (weights @ v).transpose(1, 2).flatten(2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from ecgtext_plugins.modules import transformer

    torch.manual_seed(0)
    whole = DBeta(DBetaConfig(), build_text_encoder(FLAN_T5_BASE)).eval()
    tower = EcgTower(DBetaConfig()).eval()
    tower.load_state_dict({name: value for name, value in whole.state_dict().items() if name in tower.state_dict()})
    ecg = torch.randn(args.batch, 12, 5000)
    own = transformer.attend
    cases = {
        "attention with maps, float32": (whole, with_maps, False),
        "float32": (tower, own, False),
        "bfloat16 autocast": (tower, own, True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for repeat in range(args.repeats + 1):
        for name, (model, attend, bf16) in cases.items():
            transformer.attend = attend
            began = time.perf_counter()
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                model.encode_ecg(ecg)
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    transformer.attend = own
    sizes = {model: sum(p.numel() * p.element_size() for p in model.parameters()) for model in (whole, tower)}
    first = None
    for name, taken in seconds.items():
        median = float(np.median(taken))
        first = first or median
        megabytes = sizes[cases[name][0]] / 1e6
        print(f"{name:32s} {args.batch / median:6.2f} ECG/s ({first / median:4.2f} x)   parameters {megabytes:7.0f} MB")


if __name__ == "__main__":
    main()
