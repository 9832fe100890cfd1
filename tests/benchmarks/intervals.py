"""Seconds of a bootstrap over patients against a loop with scikit-learn: `python tests/benchmarks/intervals.py`."""

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from timing import medians, peak_memory_mb

from ecgtext_plugins.evaluation.intervals import bootstrap, resamples
from ecgtext_plugins.evaluation.retrieval import retrieve

METRICS = {"auroc": roc_auc_score, "auprc": average_precision_score}
LOOPED = 5  # resamples of the loop, from which all are extrapolated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=21_800)
    parser.add_argument("--classes", type=int, default=23)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=10_000, help="ECGs and texts of 768 numbers to retrieve; 0: none")
    args = parser.parse_args()
    labels, scores, groups = synthetic(args.records, args.classes)
    print(f"{args.records} records x {args.classes} classes, {args.resamples} resamples of {groups.max() + 1} patients")
    before = peak_memory_mb()
    for metric in METRICS:
        report(labels, scores, groups, metric, args.resamples, args.repeats)
    print(f"memory: {peak_memory_mb():.0f} MB at most, {before:.0f} MB of it before")
    if args.pairs:
        report_retrieval(args.pairs)


def synthetic(n: int, n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of PTB-XL's kind: few frequent classes, many rare ones; about 1.15 records a patient."""
    random = np.random.default_rng(0)
    labels = random.random((n, n_classes)) < np.maximum(0.45 * 0.85 ** np.arange(n_classes), 0.002)
    labels[:2] = [[True], [False]]
    scores = (labels + random.normal(size=labels.shape)).astype(np.float32)
    n_patients = round(n / 1.15)
    groups = np.append(np.arange(n_patients), random.integers(0, n_patients, n - n_patients))
    return labels, scores, groups


def report(
    labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, metric: str, n_resamples: int, repeats: int
) -> None:
    weights = next(resamples(int(groups.max()) + 1, LOOPED, 0))[groups]
    looped: list[np.ndarray] = []

    def loop() -> None:
        """The least that a loop needs: weights, not copies of records, and the same classes in each resample."""
        values = [
            [METRICS[metric](labels[:, k], scores[:, k], sample_weight=w) for k in range(labels.shape[1])]
            for w in weights.T
        ]
        looped.append(np.array(values))

    paths = {"loop": loop, "ours": lambda: bootstrap(labels, scores, groups, n_resamples, metric=metric)}
    seconds = medians(paths, repeats)
    whole = seconds["loop"] / LOOPED * n_resamples
    ours = bootstrap(labels, scores, groups, LOOPED, metric=metric).samples[:, :-1]
    print(
        f"{metric}: {seconds['ours']:.2f} s; scikit-learn in a loop {whole:.0f} s (from {LOOPED} resamples), "
        f"{whole / seconds['ours']:.0f} times as long; largest difference {np.nanmax(np.abs(ours - looped[-1])):.0e}"
    )


def report_retrieval(n: int) -> None:
    """Time both directions against the two matrix products alone, without keeping them."""
    random = np.random.default_rng(0)
    ecg, text = random.normal(size=(2, n, 768)).astype(np.float32)
    taken: dict[str, list[float]] = {"retrieval": [], "products": []}
    for _ in range(3):
        begin = time.perf_counter()
        retrieve(ecg, text, np.arange(n))
        middle = time.perf_counter()
        for queries, items in ((ecg, text), (text, ecg)):
            for first in range(0, n, 800):
                queries[first : first + 800] @ items.T
        taken["products"].append(time.perf_counter() - middle)
        taken["retrieval"].append(middle - begin)
    ours, floor = (statistics.median(taken[name]) for name in ("retrieval", "products"))
    print(
        f"retrieval of {n} pairs both ways: {ours:.1f} s, {ours / floor:.1f} times the matrix products' {floor:.1f} s; "
        f"memory {peak_memory_mb():.0f} MB at most"
    )


if __name__ == "__main__":
    main()
