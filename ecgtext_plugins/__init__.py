"""Learning from 12-lead ECGs and their text reports, on stock fairseq.

Importing the package is light: torch and fairseq come with the first use of `load` or `register_all`.
"""

__version__ = "0.1.0"
__all__ = ["__version__", "from_pretrained", "load", "register_all"]


def register_all() -> None:
    """Register our tasks, models and criteria with fairseq; may be called any number of times, in any import order.

    Raises
    ------
    ecgtext_plugins.errors.BadEnvironment
        When fairseq is missing, or one of our names belongs to somebody else.
    """
    from ecgtext_plugins import registration

    registration.register_all()


def load(path, untrained_seed=None, **options):
    """Load a training checkpoint as a plain torch model in eval mode, with nothing but its path; or a released one.

    See `ecgtext_plugins.checkpoints.load.load_model`, also for the options `ecg_only`, `config`, `text_encoder`.
    """
    from ecgtext_plugins.checkpoints.load import load_model

    return load_model(path, untrained_seed, **options)


def from_pretrained(name_or_path, untrained_seed=None, **options):
    """Load a checkpoint by its path, its folder, or its repository's name on the Hugging Face hub.

    See `ecgtext_plugins.checkpoints.load.from_pretrained`.
    """
    from ecgtext_plugins.checkpoints import load

    return load.from_pretrained(name_or_path, untrained_seed, **options)
