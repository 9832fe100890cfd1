"""End of the demo: zero-shot figures of the trained model and its controls, pictures, and where everything lies."""

from pathlib import Path
from typing import Any

import numpy as np

from ecgtext_plugins.atomic_files import write_json

UNTRAINED_SEEDS = range(1, 6)
RHYTHMS = ("sinus_rhythm", "sinus_bradycardia", "sinus_tachycardia", "atrial_fibrillation")
TOP = 3  # findings named beside the ECG


def report(out: Path, data: Path, checkpoints: dict[str, Path]) -> dict[str, Any]:
    """Evaluate, draw, print.

    Parameters
    ----------
    out : Path
        Receives `zero_shot.json` and `figures/`.
    data : Path
        The store.
    checkpoints : dict
        `trained`, and `shuffled` when the control was trained.

    Returns
    -------
    dict
        Macro AUROC of every row, and the paths written.
    """
    import ecgtext_plugins
    from ecgtext_plugins.evaluation.benchmark import load_benchmark
    from ecgtext_plugins.evaluation.run_benchmark import run_zero_shot

    benchmark = load_benchmark("demo")
    results = {}
    for name, path in checkpoints.items():
        model = ecgtext_plugins.load(path)
        results[name] = run_zero_shot(model, benchmark, data)
        if name == "trained":
            figures = draw(out, data, model, benchmark)
            untrained = [ecgtext_plugins.load(path, untrained_seed=seed) for seed in UNTRAINED_SEEDS]
            results["untrained"] = _mean([run_zero_shot(one, benchmark, data) for one in untrained])
    write_json(out / "zero_shot.json", results)
    print(_table(results))
    files = {"checkpoint": checkpoints["trained"], "zero_shot": out / "zero_shot.json", **figures}
    width = max(map(len, files))
    print("\n" + "\n".join(f"{name:{width}}  {path}" for name, path in files.items()))
    return {
        "macro_auroc": {name: result["macro_auroc"] for name, result in results.items()},
        "files": {name: str(path) for name, path in files.items()},
    }


def _mean(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean over seeds of the areas of untrained models."""
    names = results[0]["auroc"]
    return {
        **results[0],
        "auroc": {
            name: None if results[0]["auroc"][name] is None else float(np.mean([r["auroc"][name] for r in results]))
            for name in names
        },
        "macro_auroc": None
        if results[0]["macro_auroc"] is None
        else float(np.mean([r["macro_auroc"] for r in results])),
        "seeds": list(UNTRAINED_SEEDS),
    }


def _table(results: dict[str, dict[str, Any]]) -> str:
    titles = {
        "trained": "trained",
        "untrained": f"untrained, {len(UNTRAINED_SEEDS)} seeds",
        "shuffled": "shuffled pairs",
    }
    first = next(iter(results.values()))
    width = max(map(len, first["auroc"]))
    head = f"{'zero-shot AUROC':{width}}  positives" + "".join(f"  {titles[name]:>18}" for name in results)

    def row(title: str, positives: object, values: list[float | None]) -> str:
        cells = ("-" if value is None else f"{value:.3f}" for value in values)
        return f"{title:{width}}  {positives!s:>9}" + "".join(f"  {cell:>18}" for cell in cells)

    rows = [row(c, first["positives"][c], [r["auroc"][c] for r in results.values()]) for c in first["auroc"]]
    macro = row("macro", "", [r["macro_auroc"] for r in results.values()])
    return "\n".join([f"{first['n']} records of held-out patients", head, *rows, macro])


def draw(out: Path, data: Path, model: Any, benchmark: Any) -> dict[str, Path]:
    """Draw loss curves, one ECG with its report and top findings, ROC curves and an embedding map."""
    from ecgtext_plugins.evaluation.embed import embed_manifest
    from ecgtext_plugins.evaluation.zero_shot import build_zero_shot_classifier
    from ecgtext_plugins.plotting.curves import read_metrics, roc_curves, training_curves
    from ecgtext_plugins.plotting.ecg_paper import draw_ecg
    from ecgtext_plugins.plotting.embedding_map import draw_map, project_tsne
    from ecgtext_plugins.plotting.figure_file import save_figure
    from ecgtext_plugins.store.manifest import read_manifest

    manifest = read_manifest(data / "manifests" / f"{benchmark.split}.tsv")
    store, classifier = manifest.store, build_zero_shot_classifier(model, benchmark.prompts, benchmark.center_prompts)
    embeddings = embed_manifest(model, manifest)
    scores = classifier.scores(embeddings)
    labels = store.label_matrix(manifest.rows, classifier.names)
    place = int(np.argmax(labels.sum(1)))  # a record with several findings
    row, best = manifest.rows[place], np.argsort(-scores[place])[:TOP]
    findings = ", ".join(f"{classifier.names[i]} {scores[place, i]:.2f}" for i in best)
    text = store.report_text(int(store.column("report_id")[row]))
    title = f"{manifest.record_id(place)}   report: {text}\nzero-shot: {findings}"
    rhythms = [next((n for n in RHYTHMS if labels[i, classifier.names.index(n)]), "other") for i in range(len(labels))]
    metrics = read_metrics(out / "trained" / "metrics.csv")
    figures = {
        "losses": training_curves(metrics),
        "ecg": draw_ecg(store.signal_mv(row), store.sample_rate, title),
        "roc": roc_curves(labels, scores, classifier.names),
        "embeddings": draw_map(project_tsne(embeddings), rhythms, "ECG embeddings of held-out patients (t-SNE)"),
    }
    paths = {name: out / "figures" / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        save_figure(figure, paths[name])
    return paths
