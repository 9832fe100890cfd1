"""fairseq-signals' manifests, read as they are: plain and text, CMSC, identification; and D-BETA's without first line.

Line 1 is the folder, bare (``/data/segmented``) or, from scripts/preprocess/manifests.py, after a TAB and with a slash
at the end. Then a line a sample: ``name.mat<TAB>samples``, with a class index as third field for identification. In a
CMSC manifest line 2 is the files' extension, and a line is ``stem<TAB>samples<TAB>0<TAB>0,1``: two windows of one
recording, in the files stem_0.mat and stem_1.mat.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgtext_plugins.errors import BadManifest

FORMS = {
    "plain": "name.mat<TAB>samples",
    "identification": "name.mat<TAB>samples<TAB>class index",
    "cmsc": "stem<TAB>samples<TAB>0<TAB>i,j",
}
_NUMBER = re.compile(r"[0-9]{1,18}")
_SEGMENTS = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,9})*")
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,8}")


@dataclass(frozen=True)
class FairseqSignalsManifest:
    """A manifest's files.

    Attributes
    ----------
    path : Path
        The manifest.
    kind : str
        ``plain`` (also for files with reports: only the files can tell), ``cmsc`` or ``identification``.
    root : Path
        Absolute folder that `paths` are relative to.
    paths : list of str, length R
        The .mat files; of CMSC those of the pairs' windows.
    sizes : ndarray (R,) int64
        Samples of each.
    lines : ndarray (R,) int64
        The manifest's line that lists each, from 1.
    pairs : ndarray (P, 2) int64 or None
        Of CMSC: places in `paths` of two windows of one recording, the earlier one first.
    classes : ndarray (R,) int64 or None
        Of identification.
    """

    path: Path
    kind: str
    root: Path
    paths: list[str]
    sizes: np.ndarray
    lines: np.ndarray
    pairs: np.ndarray | None = None
    classes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)


def is_fairseq_signals(path: str | Path) -> bool:
    """Tell by its first three lines whether a file is a manifest of fairseq-signals; False when it cannot be read."""
    try:
        with open(path, "rb") as handle:
            head = handle.read(1 << 16)
    except OSError:
        return False
    lines = [line.strip().split("\t") for line in _decoded(head).split("\n")[:3]]
    if len(lines) > 1 and lines[1][0] == "record_id":
        return False
    return _is_headerless(lines[0]) or (len(lines) > 1 and (_is_sample(lines[1]) or _is_extension(lines[1:])))


def parse_manifest(path: str | Path) -> FairseqSignalsManifest:
    """Read a manifest of fairseq-signals; its files are not opened.

    Raises
    ------
    BadManifest
        Naming file and line, when a line has not the form of its kind or lists a file a second time, or when the
        folder cannot be told.
    """
    path = Path(path).absolute()
    try:
        lines = [line.strip() for line in _decoded(path.read_bytes(), strict=True).split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise BadManifest(
            f"manifest {path} cannot be read ({error}): expected UTF-8 text; give a manifest of fairseq-signals"
        ) from None
    while lines and not lines[-1]:
        lines.pop()
    if lines and _is_headerless(lines[0].split("\t")):
        return _without_root(path, lines)
    if not lines or "\t" in lines[0]:
        raise BadManifest(
            f"{path} line 1 is {(lines or [''])[0][:80]!r}: expected the folder of the .mat files; add it as first line"
        )
    if _is_extension([line.split("\t") for line in lines[1:3]]):
        return _cmsc(path, lines)
    return _listed(path, lines[0], lines, first=1)


def _decoded(data: bytes, strict: bool = False) -> str:
    text = data.decode("utf-8-sig", "strict" if strict else "replace")
    return text.replace("\r\n", "\n")


def _is_sample(fields: list[str]) -> bool:
    return fields[0].endswith(".mat") or (len(fields) in (2, 3) and _NUMBER.fullmatch(fields[1]) is not None)


def _is_headerless(fields: list[str]) -> bool:
    return len(fields) == 2 and fields[0].endswith(".mat") and _NUMBER.fullmatch(fields[1]) is not None


def _is_extension(lines: list[list[str]]) -> bool:
    """Tell whether line 2 of a file, the first of `lines`, is an extension: one word, with four fields in the next."""
    if not lines or len(lines[0]) != 1 or not _EXTENSION.fullmatch(lines[0][0]):
        return False
    return len(lines) < 2 or lines[1] == [""] or len(lines[1]) == 4 or lines[0] == ["mat"]


def _without_root(path: Path, lines: list[str]) -> FairseqSignalsManifest:
    """Read D-BETA's form, without a first line that names the folder: its files must lie beside the manifest."""
    first = lines[0].split("\t")[0]
    if not (path.parent / first).is_file():
        raise BadManifest(
            f"{path} line 1 is {lines[0][:80]!r} and names no folder, as D-BETA's manifests do, and {first} is not "
            "beside the manifest: expected the folder of the .mat files in line 1; add it as first line"
        )
    return _listed(path, "", lines, first=0)


def _listed(path: Path, root: str, lines: list[str], first: int) -> FairseqSignalsManifest:
    """Read the kinds that list .mat files; their lines begin at place `first`."""
    kind = "identification" if len(lines) > first and lines[first].count("\t") == 2 else "plain"
    width = 3 if kind == "identification" else 2
    names, numbers = [], []
    for number, line in enumerate(lines[first:], start=first + 1):
        fields = line.split("\t")
        if len(fields) != width or not all(map(_NUMBER.fullmatch, fields[1:])) or not fields[0].endswith(".mat"):
            raise _bad_line(path, number, line, kind)
        names.append(fields[0])
        numbers.append([int(field) for field in fields[1:]])
    columns = np.array(numbers, dtype=np.int64).reshape(-1, width - 1)
    _refuse_repeats(path, names, first)
    places = np.arange(first + 1, len(lines) + 1)
    classes = columns[:, 1] if kind == "identification" else None
    return FairseqSignalsManifest(path, kind, _folder(path, root, names), names, columns[:, 0], places, None, classes)


def _cmsc(path: Path, lines: list[str]) -> FairseqSignalsManifest:
    """Read the kind of pairs; a line with a single window has none, and of an odd number the last one is left out."""
    extension = lines[1]
    if extension != "mat":
        raise BadManifest(f"{path} line 2 is the extension {extension!r}: expected mat; convert the files")
    places: dict[str, int] = {}
    sizes, numbers, pairs = [], [], []
    for number, line in enumerate(lines[2:], start=3):
        fields = line.split("\t")
        good = len(fields) == 4 and all(map(_NUMBER.fullmatch, fields[1:3])) and _SEGMENTS.fullmatch(fields[3])
        if not good or not fields[0]:
            raise _bad_line(path, number, line, "cmsc")
        segments = [int(segment) for segment in fields[3].split(",")]
        for pair in zip(segments[0::2], segments[1::2], strict=False):
            names = [f"{fields[0]}_{segment}.{extension}" for segment in pair]
            for name in names:
                if name in places:
                    raise _repeated(path, number, name, int(numbers[places[name]]))
                places[name] = len(places)
                sizes.append(int(fields[1]))
                numbers.append(number)
            pairs.append([places[name] for name in names])
    paths = list(places)
    return FairseqSignalsManifest(
        path=path,
        kind="cmsc",
        root=_folder(path, lines[0], paths),
        paths=paths,
        sizes=np.array(sizes, dtype=np.int64),
        lines=np.array(numbers, dtype=np.int64),
        pairs=np.array(pairs, dtype=np.int64).reshape(-1, 2),
    )


def _folder(path: Path, root: str, names: list[str]) -> Path:
    """Return the folder that line 1 means; a relative one is looked for from the manifest, then from where one is.

    fairseq-signals itself takes it from the current folder only, so that its manifests move neither alone nor with
    their files.
    """
    beside, here = (path.parent / root).resolve(), Path(root).resolve()
    if names and not (beside / names[0]).is_file() and (here / names[0]).is_file():
        return here
    return beside


def _refuse_repeats(path: Path, names: list[str], first: int) -> None:
    if len(set(names)) == len(names):
        return
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=first + 1):
        if name in seen:
            raise _repeated(path, number, name, seen[name])
        seen[name] = number


def _repeated(path: Path, number: int, name: str, before: int) -> BadManifest:
    return BadManifest(
        f"{path} line {number} lists {name}, which line {before} lists too: expected each file once; remove one line"
    )


def _bad_line(path: Path, number: int, line: str, kind: str) -> BadManifest:
    return BadManifest(
        f"{path} line {number} is {line[:80]!r}: expected {FORMS[kind]}, the form of {kind} manifests of "
        "fairseq-signals; correct it"
    )
