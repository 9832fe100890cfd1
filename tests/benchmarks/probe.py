"""The linear probe at PTB-XL's size, all ratios and seeds at once, against training each head alone.

Embeddings are random. Alone, a head is trained as papers' scripts do, with nn.Linear, BCEWithLogitsLoss, Adam and
scikit-learn's AUROC on validation after each epoch; the time of all epochs, ratios and seeds is extrapolated.
"""

import argparse
import time

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from ecgtext_plugins.evaluation.logistic_probe import LogisticRecipe, logistic_probe
from ecgtext_plugins.evaluation.probe import linear_probe
from ecgtext_plugins.evaluation.probe_training import ProbeRecipe
from ecgtext_plugins.store.subsets import nested_subset

SIZES, PERCENTAGES = (17_400, 2_200, 2_200), (1, 10, 100)  # 21,800 embeddings


def synthetic(width: int, classes: int) -> list[np.ndarray]:
    """Return train, train labels, valid, valid labels, test, with a planted signal and 8 % positives."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((width, classes)) / np.sqrt(width)
    parts = []
    for size in SIZES:
        embeddings = rng.standard_normal((size, width)).astype(np.float32)
        parts += [embeddings, embeddings @ directions + rng.standard_normal((size, classes)) > 2.0]
    return parts[:5]


def alone(given: list[np.ndarray], rows: np.ndarray, recipe: ProbeRecipe, epochs: int) -> float:
    """Train one head for a few epochs; return seconds an epoch."""
    train, labels, valid, valid_labels = (torch.from_numpy(np.float32(part)) for part in given[:4])
    layer, loss = torch.nn.Linear(train.shape[1], labels.shape[1]), torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(layer.parameters(), lr=recipe.learning_rate)
    data = torch.utils.data.TensorDataset(train[rows], labels[rows])
    began = time.perf_counter()
    for _ in range(epochs):
        for inputs, target in torch.utils.data.DataLoader(data, recipe.batch_size, shuffle=True):
            optimizer.zero_grad()
            loss(layer(inputs), target).backward()
            optimizer.step()
        with torch.no_grad():
            roc_auc_score(valid_labels.numpy(), layer(valid).numpy(), average="macro")
    return (time.perf_counter() - began) / epochs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--classes", type=int, default=23)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--alone-epochs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--logistic", action="store_true", help="the logistic regressions too: minutes")
    args = parser.parse_args()
    recipe, given = ProbeRecipe(epochs=args.epochs), synthetic(args.width, args.classes)
    ids = [f"r{number}" for number in range(SIZES[0])]
    subsets = {f"{share} %": nested_subset(ids, share, 0) for share in PERCENTAGES}
    options = {"subsets": subsets, "seeds": range(args.seeds)}
    began = time.perf_counter()
    result = linear_probe(*given, recipe=recipe, device=args.device, **options)
    together = time.perf_counter() - began
    heads = len(subsets) * args.seeds
    found = ", ".join(f"{value:.3f}" for value in result.valid_macro.mean(axis=1))
    print(f"{heads} heads at once, {args.epochs} epochs: {together:.1f} s; macro AUROC on validation {found}")
    torch.set_num_threads(1)  # as linear_probe does
    each = {name: alone(given, rows, recipe, args.alone_epochs) for name, rows in subsets.items()}
    whole = sum(each.values()) * args.epochs * args.seeds
    for name, seconds in each.items():
        print(f"alone at {name:>5s}: {seconds * 1000:.0f} ms an epoch")
    print(f"{heads} heads one after another: {whole:.0f} s (extrapolated), {whole / together:.1f} times as long")
    if args.logistic:
        began = time.perf_counter()
        result = logistic_probe(*given, recipe=LogisticRecipe(), **options)
        print(f"logistic regressions: {time.perf_counter() - began:.0f} s; C {result.chosen[:, 0]}; {result.warnings}")


if __name__ == "__main__":
    main()
