"""The model card of our folders: what a model is, what it takes, where it comes from."""

from typing import Any

from ecgtext_plugins.checkpoints.source import Source
from ecgtext_plugins.checkpoints.weights import parameter_count

WHAT = {
    "dbeta": "D-BETA: features of 12-lead ECGs and of their text reports in one space (arXiv 2410.02131)",
    "wav2vec2_cmsc": "ECG-FM's pretraining model (W2V + CMSC): features of 12-lead ECGs",
    "ecg_transformer_classifier": "a classifier of 12-lead ECGs on ECG-FM's encoder",
    "arcface": "identification of patients by their 12-lead ECG (ArcFace on ECG-FM's encoder)",
}


def model_card(config: dict[str, Any], source: Source) -> str:
    """Write the card of a folder with this config.json."""
    name = config["family"]
    unit = "each lead with mean 0 and deviation 1 over the whole record" if config["standardize"] else "millivolt"
    labels = config["labels"] or []
    lines = [
        "---",
        "library_name: ecgtext-plugins",
        "tags: [ecg, electrocardiogram]",
        "---",
        "",
        f"# {name}",
        "",
        f"{WHAT[name][0].upper()}{WHAT[name][1:]}.",
        "",
        "```python",
        "from ecgtext_plugins import load",
        "",
        'model = load("THIS_FOLDER")',
        'vector = model.embed(signal_mv, fs=500, leads=["I", "II", ...])  # signal_mv: (leads, samples), millivolt',
        *(["probabilities = model.predict(signal_mv, fs=500, leads=[...])"] if labels else []),
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {parameter_count(source.weights):,} |",
        "| leads | I, II, III, aVR, aVL, aVF, V1 to V6 |",
        f"| sampling rate | {config['sample_rate']:g} Hz |",
        f"| window | {config['n_samples']} samples |",
        f"| signal | {unit} (`embed` and `predict` take millivolt and do the rest) |",
        f"| made of | {config['source']['file']} ({config['source']['layout']}) |",
        f"| its SHA-256 | {config['source']['sha256']} |",
    ]
    if labels:
        lines += ["", "Labels, in the order of the outputs:", "", *(f"{n}. {label}" for n, label in enumerate(labels))]
    lines += ["", "Training data, licence and intended use: as those of the checkpoint that it was made of."]
    return "\n".join(lines) + "\n"
