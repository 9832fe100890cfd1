"""What a checkpoint says, whichever program wrote it."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ecgtext_plugins.data.lead_selection import lead_selection
from ecgtext_plugins.signals.leads import LEADS

TRAINING, FOLDER = "ecgtext training", "ecgtext folder"
SIGNALS, RELEASE, STOCK = "fairseq-signals", "D-BETA release", "fairseq wav2vec2"


UNHEEDED = ("normalize", "filter")  # preprocessing by the tasks on ECGs that loaded models leave to the caller

LEAD_KEYS = ("leads_preset", "leads_to_load", "leads_bucket", "enable_padding_leads")  # of the tasks on ECGs


@dataclass(frozen=True)
class Source:
    """A checkpoint's model and what belongs to its use.

    Attributes
    ----------
    family : str
        One of `ecgtext_plugins.checkpoints.networks.FAMILIES`.
    layout : str
        The kind of file: TRAINING, FOLDER, SIGNALS, RELEASE or STOCK.
    model_config : EcgEncoderConfig
        Sizes and switches of the network.
    config : dict
        The whole training config, as far as the file has one; ``model`` holds all of the file's values.
    sample_rate, n_samples : float, int
        Hz, and samples of a record or window.
    standardize : bool
        Each lead has mean 0 and deviation 1 over the whole record.
    labels : list of str or None
        Names of the outputs of a classifier.
    text_config, text_files : dict or None
        Of the text encoder, its config, or config and tokenizer as texts by file name.
    weights : dict of Tensor
        In the networks' own spelling of keys.
    updates : int or None
        Of training.
    notes : tuple of str
        What a person should know about the reading.
    """

    family: str
    layout: str
    model_config: Any
    config: dict[str, Any]
    sample_rate: float
    n_samples: int
    weights: dict[str, Tensor]
    standardize: bool = False
    labels: list[str] | None = None
    text_config: dict[str, Any] | None = None
    text_files: dict[str, str] | None = None
    updates: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def hidden_leads(self) -> tuple[int, ...]:
        """Places of the leads that training set to zero in every ECG: `enable_padding_leads` with a subset."""
        task = self.config.get("task")
        if not isinstance(task, dict) or not task.get("enable_padding_leads"):
            return ()
        selection = lead_selection(*(task.get(key) for key in LEAD_KEYS[:3]), padded=True)
        return tuple(place for place in range(len(LEADS)) if place not in selection.leads + selection.bucket)

    @property
    def unheeded(self) -> list[str]:
        """Keys of the task by which training prepared ECGs in a way that is not done here."""
        task = self.config.get("task")
        return [key for key in UNHEEDED if isinstance(task, dict) and task.get(key)]


def unheeded_note(key: str) -> str:
    """Say that a key of `Source.unheeded` is not done here."""
    return f"trained with task.{key}=true, which is not done to ECGs here: do it before"
