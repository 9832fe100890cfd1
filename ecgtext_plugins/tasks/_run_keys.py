"""Keys that all tasks share: how a run computes, and fairseq's own values that a task reads."""

from dataclasses import dataclass, field

from fairseq.dataclass import FairseqDataclass
from omegaconf import II


@dataclass
class RunKeys(FairseqDataclass):
    """Precision, what to do with a loss that is no number, batches, seed and folder."""

    bf16_autocast: bool = field(
        default=False, metadata={"help": "bfloat16 products on float32 weights (common.bf16: bfloat16 weights)"}
    )
    nonfinite: str = field(
        default="stop", metadata={"help": "where the loss is NaN or inf: stop, or skip the update; names the record"}
    )
    rebuild_batches: bool = field(default=True, metadata={"help": "compose new batches each epoch, by (seed, epoch)"})
    seed: int = II("common.seed")
    save_dir: str = II("checkpoint.save_dir")
    log_interval: int = II("common.log_interval")
    restore_file: str = II("checkpoint.restore_file")
    max_update: int = II("optimization.max_update")
