"""Under fairseq-hydra-train our errors end the program with their sentence as the last line."""

import functools
from collections.abc import Callable

from hydra.core.hydra_config import HydraConfig

from ecgtext_plugins.errors import EcgTextError


def told_in_one_sentence(function: Callable) -> Callable:
    """Turn an `EcgTextError` into ``SystemExit(sentence)`` inside a hydra run; elsewhere let it through."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except EcgTextError as error:
            if HydraConfig.initialized():
                raise SystemExit(f"ecgtext: error: {error}") from error
            raise

    return wrapper
