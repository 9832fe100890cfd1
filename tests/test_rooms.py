"""The rooms of the package and who may import what, read from the sources."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ecgtext_plugins"
FOUNDATION = ("errors", "atomic_files", "recipes", "setup_steps", "environment", "kept_memory")
ROOMS = (
    *("signals", "corpora", "store", "text", "negatives", "data", "modules", "checkpoints"),
    *("models", "criterions", "optimizers", "tasks", "evaluation", "plotting", "cli"),
)
ENTRANCES = ("__init__", "registration")  # lead into the house from outside: they import rooms, no room imports them
KEEPERS = {
    "fairseq": {"models", "criterions", "optimizers", "tasks", "cli", "registration"},
    "transformers": {"text"},
    "tokenizers": {"text"},
    "faiss": {"negatives"},
    "wfdb": {"corpora"},
    "matplotlib": {"plotting"},
}
WITHOUT_TORCH = {*FOUNDATION, "signals", "corpora", "store", "plotting"}


def places(package):
    """Yield (room or top-level module, file) for every source file."""
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        if "_recipes" not in inside.parts:
            yield (inside.parts[0] if len(inside.parts) > 1 else inside.stem), path


def imported(path, package):
    """Return the dotted names that a file imports anywhere, functions included; relative ones made absolute."""
    home = ("ecgtext_plugins", *path.relative_to(package).parent.parts)
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else ()
            base = ".".join([*base, *([node.module] if node.module else [])])
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


def complaints(package):
    """Return one line a breach of the order of rooms or of who may import a library."""
    order = {name: 0 for name in FOUNDATION} | {name: place for place, name in enumerate(ROOMS, 1)}
    found = []
    for room, path in places(package):
        where = path.relative_to(package.parent)
        if room not in order and room not in ENTRANCES:
            found.append(f"{where}: {room} is not a room; rooms are {', '.join(ROOMS)}")
            continue
        for name in imported(path, package):
            top, _, rest = name.partition(".")
            if top in KEEPERS and room not in KEEPERS[top]:
                found.append(f"{where}: imports {name}, which only {', '.join(sorted(KEEPERS[top]))} may")
            if top == "torch" and room in WITHOUT_TORCH:
                found.append(f"{where}: imports {name}, and {room} is to work without torch")
            target = rest.split(".")[0]
            if top == "ecgtext_plugins" and room in order and order.get(target, 0) > order[room]:
                found.append(f"{where}: {room} imports {name}, which comes after it")
            if target == "registration" and top == "ecgtext_plugins" and room not in {*ENTRANCES, "cli"}:
                found.append(f"{where}: imports {name}, which is for those outside")
    return found


def test_package_keeps_the_order():
    assert complaints(PACKAGE) == []


def test_package_was_seen():
    assert {"cli", "errors", "__init__"} <= {room for room, _ in places(PACKAGE)}


@pytest.mark.parametrize(
    ("file", "source", "breach"),
    [
        ("signals/leads.py", "from ecgtext_plugins.store.reader import RecordStore", "signals imports"),
        ("signals/leads.py", "from ..store import reader", "signals imports"),
        ("signals/leads.py", "from ecgtext_plugins import cli", "signals imports"),
        ("errors.py", "def f():\n    import ecgtext_plugins.signals.leads", "errors imports"),
        ("store/reader.py", "def f():\n    import torch.nn", "without torch"),
        ("data/rows.py", "from fairseq.data import FairseqDataset", "imports fairseq"),
        ("evaluation/embed.py", "import transformers", "imports transformers"),
        ("data/rows.py", "import faiss as f", "imports faiss"),
        ("tools/anything.py", "import os", "not a room"),
    ],
)
def test_breaches_are_seen(tmp_path, file, source, breach):
    path = tmp_path / "ecgtext_plugins" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    (complaint,) = complaints(tmp_path / "ecgtext_plugins")
    assert breach in complaint and file in complaint


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("cli/demo.py", "from ecgtext_plugins.signals import leads\nimport fairseq"),
        ("store/reader.py", "from ecgtext_plugins.errors import BadStore\nfrom . import shards"),
        ("text/encoders.py", "import torch, transformers"),
        ("__init__.py", "def f():\n    from ecgtext_plugins.checkpoints import load"),
    ],
)
def test_what_is_allowed_is_not_a_breach(tmp_path, file, source):
    path = tmp_path / "ecgtext_plugins" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    assert complaints(tmp_path / "ecgtext_plugins") == []
