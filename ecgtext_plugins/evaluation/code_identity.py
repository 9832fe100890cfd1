"""Which code computed a figure: a version number stays the same while a checkout changes."""

import functools
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
OF_VECTORS = (
    *("signals", "store", "text", "data", "modules", "checkpoints"),
    *("evaluation/embed.py", "evaluation/record_sources.py", "evaluation/window_batches.py"),
    "evaluation/window_cutting.py",
)
"""What decides the vectors of a checkpoint's encoders."""


@functools.cache
def code_sha256(places: tuple[str, ...] = ("",)) -> str:
    """Return the SHA-256 of this package's Python files, or of those at some files and folders of it.

    Names and bytes count, in the order of names.
    """
    files = set()
    for place in places:
        path = PACKAGE / place
        files |= {path} if path.is_file() else set(path.rglob("*.py"))
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\t{len(content)}\n".encode() + content)
    return digest.hexdigest()
