"""The one door to transformers: an installed torchaudio that cannot be loaded must not break it."""

import importlib
import importlib.util
import logging
import sys
from functools import cache
from types import ModuleType

log = logging.getLogger(__name__)


@cache
def torchaudio_failure() -> str | None:
    """Return why an installed torchaudio cannot be imported; None when it can, or when it is not installed."""
    if importlib.util.find_spec("torchaudio") is None:
        return None
    try:
        importlib.import_module("torchaudio")
    except (OSError, ImportError) as error:
        return f"{type(error).__name__}: {error}"
    return None


@cache
def import_transformers() -> ModuleType:
    """Import transformers and return it; every use of transformers in the package goes through here.

    fairseq brings torchaudio along, whose wheel may not fit the installed torch; transformers imports torchaudio
    with its models whenever it is installed. If that import fails, transformers is told that torchaudio is absent; if
    it works, nothing is changed. Its progress bars are left out where no terminal shows them.
    """
    transformers = importlib.import_module("transformers")
    if not sys.stderr.isatty():
        importlib.import_module("transformers.utils.logging").disable_progress_bar()
    failure = torchaudio_failure()
    if failure is not None:
        log.debug("transformers goes without torchaudio, which cannot be imported: %s", failure)
        for name in ("transformers.utils", "transformers.utils.import_utils"):
            importlib.import_module(name).is_torchaudio_available = _absent
    return transformers


def _absent() -> bool:
    return False
