"""A dataset's folder, on this machine or wherever fsspec reaches (``s3://…``, ``gs://…``, ``https://…``)."""

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote

from ecgtext_plugins.errors import BadRawData, BadRecord

READ_AHEAD = 1 << 20  # bytes of a remote file that is read in order


class RawFolder:
    """Read-only access to the files under a folder; names are relative, with ``/``.

    It pickles as its place, so that workers open it themselves. Every failure to read is an OSError; a file that is
    not there is a FileNotFoundError.

    Parameters
    ----------
    place : str or Path or RawFolder
        A folder, or a URL that fsspec understands; its storage options are read from the environment, as fsspec does.
    """

    def __init__(self, place: "str | Path | RawFolder"):
        self.place = place.place if isinstance(place, RawFolder) else str(place)
        self.is_local = "://" not in self.place
        if self.is_local:
            self.place = os.path.abspath(self.place)

    def __str__(self) -> str:
        return self.place

    def __repr__(self) -> str:
        return f"RawFolder({self.place!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place, "is_local": self.is_local}

    @cached_property
    def _remote(self) -> tuple[Any, str]:
        """The file system and the folder's path in it."""
        import fsspec

        try:
            return fsspec.core.url_to_fs(self.place)
        except (ImportError, ValueError) as error:
            raise BadRawData(
                f"{self.place} cannot be reached ({error}): expected a folder or a URL of fsspec; install the package "
                "that it names, or correct the URL"
            ) from None

    @property
    def _is_http(self) -> bool:
        return self.place.startswith(("http://", "https://"))

    def path(self, name: str = "") -> Path:
        """Return the local path of a file; only for a local folder."""
        return Path(self.place, name)

    def exists(self) -> bool:
        """Tell whether the folder is there."""
        if self.is_local:
            return os.path.isdir(self.place)
        with _as_os_errors():
            return self._remote[0].isdir(self._remote[1])

    def is_file(self, name: str) -> bool:
        """Tell whether there is a file `name`."""
        if self.is_local:
            return os.path.isfile(self.path(name))
        with _as_os_errors():
            return self._remote[0].isfile(f"{self._remote[1]}/{name}")

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading bytes, from place to place: a remote one is not read ahead."""
        if self.is_local:
            return open(os.path.join(self.place, name), "rb")
        with _as_os_errors():
            remote = self._remote[0].open(f"{self._remote[1]}/{name}", "rb", cache_type="none")
        return io.BufferedReader(_RemoteFile(remote), READ_AHEAD)

    def size(self, name: str) -> int:
        """Return a file's size in bytes."""
        if self.is_local:
            return os.stat(os.path.join(self.place, name)).st_size
        with _as_os_errors():
            return int(self._remote[0].size(f"{self._remote[1]}/{name}"))

    def read(self, name: str, start: int = 0, count: int | None = None) -> bytes:
        """Return `count` bytes of a file from `start` on, fewer where it ends before; all without `count`."""
        if self.is_local:
            with open(os.path.join(self.place, name), "rb") as handle:
                handle.seek(start)
                return handle.read() if count is None else handle.read(count)
        stop = None if count is None else start + count
        with _as_os_errors():
            data = self._remote[0].cat_file(f"{self._remote[1]}/{name}", start=start, end=stop)
        if self._is_http and (start or stop is not None) and len(data) == self.size(name):
            return data[start:stop]  # some servers send the whole file whatever part is asked for
        return data

    def names(self, suffix: str) -> list[str]:
        """List the files below the folder whose names end in `suffix`, sorted; links to folders are followed once.

        A local name that is not UTF-8 is spelt out with backslashes: it cannot stand in a table.
        """
        if self.is_local:
            return sorted(_walk(self.place, suffix))
        with _as_os_errors():
            top = self._remote[1].rstrip("/")
            paths = [path[len(top) + 1 :] for path in self._remote[0].find(top) if path.endswith(suffix)]
        return sorted(unquote(path) if self._is_http else path for path in paths)

    @contextlib.contextmanager
    def local_copies(self, names: Iterable[str]) -> Iterator[Path]:
        """Yield a local folder that holds the files `names` under these names: this one, or a temporary copy."""
        if self.is_local:
            yield self.path()
            return
        with tempfile.TemporaryDirectory(prefix="ecgtext-") as folder:
            for name in names:
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.read(name))
            yield Path(folder)

    def sha256(self, name: str) -> str:
        """Return a file's SHA-256 in hexadecimal."""
        digest = hashlib.sha256()
        with self.open(name) as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()


class _RemoteFile(io.RawIOBase):
    """An open file of fsspec whose every failure is an OSError."""

    def __init__(self, file: Any):
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _as_os_errors():
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _as_os_errors():
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Make whatever a remote file system raises an OSError: each of them has exceptions of its own."""
    try:
        yield
    except (OSError, BadRawData):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _walk(top: str, suffix: str) -> Iterator[str]:
    seen = set()
    for folder, subfolders, files in os.walk(top, followlinks=True):
        identity = os.stat(folder)
        if (identity.st_dev, identity.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((identity.st_dev, identity.st_ino))
        relative = Path(folder).relative_to(top)
        for name in files:
            if name.endswith(suffix) and name != suffix:
                yield (relative / name).as_posix().encode("utf-8", "backslashreplace").decode("utf-8")


class Tables(NamedTuple):
    """The folders in which a recipe's tables are looked for: the one given as --tables, then the raw folder."""

    folders: tuple[RawFolder, ...]

    def find(self, name: str) -> tuple[RawFolder, str]:
        """Return the folder that holds the file `name`, and the name; `name`.gz will do.

        Raises
        ------
        BadRawData
            Naming all folders, when none has it.
        """
        for folder in self.folders:
            for there in (name, f"{name}.gz"):
                if folder.is_file(there):
                    return folder, there
        places = " or ".join(str(folder) for folder in self.folders)
        raise BadRawData(
            f"there is no table {name} in {places}: expected the file that the recipe names; give its folder "
            "as --tables"
        )


def safe_name(name: str, source: str) -> str:
    """Return `name` normalised, or raise BadRecord ``unsafe_path`` when it leads out of its folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or name.startswith("/") or ".." in parts or not name.isprintable():
        raise BadRecord(
            "unsafe_path",
            f"{source}: its path is {name[:120]!r}: expected one inside the raw folder, such as "
            "files/p1000/p10000032/s40689238/40689238; correct it in the table",
        )
    return "/".join(parts)


def is_under(path: str, folders: set[str]) -> bool:
    """Tell whether one of `folders` is above `path` (``files/p1000``) or names a folder in it (``p1000``)."""
    parts = PurePosixPath(path).parts
    return any(part in folders for part in parts[:-1]) or any(path.startswith(f"{folder}/") for folder in folders)
