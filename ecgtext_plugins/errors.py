"""Errors that a user can act on: one sentence with the thing, what was found, what was expected and the remedy."""


class EcgTextError(Exception):
    """Base of all errors meant for the user; the command line prints the sentence without a traceback."""


class BadRecord(EcgTextError):
    """A recording that cannot be used; the build turns it into a row of failures.parquet.

    Parameters
    ----------
    reason : str
        Short code for counting, e.g. ``missing_signal_file``.
    message : str
        The sentence for a person.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


class BadRawData(EcgTextError):
    """The raw folder is not the dataset that the recipe reads."""


class BadRecipe(EcgTextError):
    """A recipe that is missing, malformed, or has unknown keys."""


class BadConfig(EcgTextError):
    """A training option whose value is not one of the allowed ones, or does not fit another."""


class BadLoss(EcgTextError):
    """A training loss that is NaN or infinite."""


class BadStore(EcgTextError):
    """A folder that is not a finished record store, or one built by another recipe."""


class BadManifest(EcgTextError):
    """A manifest that is malformed or names records which its store does not have."""


class BadNegatives(EcgTextError):
    """A negatives table that is missing or was built for other reports."""


class BadPrompts(EcgTextError):
    """Prompts that name an unknown class or lack a known one."""


class BadCheckpoint(EcgTextError):
    """A checkpoint that is truncated, of another family, or unsafe to load."""


class TextEncoderUnavailable(EcgTextError):
    """A text encoder that is neither a local folder nor reachable by its hub name."""


class BadEnvironment(EcgTextError):
    """An installation that cannot work: a missing, clashing or broken package."""
