"""What is measured by a run, and how; and the names of what it gives."""

from collections.abc import Sequence
from dataclasses import dataclass

from ecgtext_plugins.data.lead_selection import PRESETS
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.evaluation.benchmark import Benchmark
from ecgtext_plugins.evaluation.challenge_metric import CHALLENGE, OPTION, has_challenge_metric
from ecgtext_plugins.evaluation.embed import DEFAULT
from ecgtext_plugins.evaluation.embedding_cache import ALL_LEADS
from ecgtext_plugins.evaluation.probe_task import ProbeOptions

ZERO_SHOT, PROBE, CLASSIFIER = DEFAULT_TASKS = ("zero_shot", "probe", "classifier")
RETRIEVAL, IDENTIFICATION = "retrieval", "identification"
TASKS = (*DEFAULT_TASKS, RETRIEVAL)


@dataclass(frozen=True)
class EvaluationOptions:
    """What is measured, and how.

    Attributes
    ----------
    tasks : tuple of str or None
        Some of TASKS; DEFAULT_TASKS when None. A benchmark of identification has its own.
    prompts : str or None
        ``names``, ``expert`` or a JSON file; the benchmarks' own when None.
    templates : str or None
        Shipped frames around the prompts.
    probe : ProbeOptions
    resamples, seed : int
        Of the intervals.
    batch_size, device
        Of the embedding.
    pooling : str
        See `embed.pooled`.
    untrained_seed : int or None
        That the model was loaded with.
    allow_leaks : bool
        Flag records that the model was trained on, or that a transfer's probe learns from, instead of refusing.
    leads : tuple of str or None
        Presets (`data.lead_selection.PRESETS`); each benchmark is measured with each, the other leads zero. Each
        benchmark's own when None.
    weights_file : str or None
        The Challenge's weights.csv, for benchmarks of its classes; that of their recipes when None.
    readers : str or None
        Folder annotations of CODE-test, whose readers are shown beside the model.
    """

    tasks: tuple[str, ...] | None = None
    prompts: str | None = None
    templates: str | None = None
    probe: ProbeOptions = ProbeOptions()
    resamples: int = 1000
    seed: int = 0
    batch_size: int = 64
    device: str = "cpu"
    pooling: str = DEFAULT
    untrained_seed: int | None = None
    allow_leaks: bool = False
    leads: tuple[str, ...] | None = None
    weights_file: str | None = None
    readers: str | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        """The tasks that are run where a model and a store have a part for them."""
        return DEFAULT_TASKS if self.tasks is None else self.tasks


def entry_name(name: str, leads: str) -> str:
    """Return what a benchmark is called in results.json, where it is measured with a preset of leads."""
    return name if leads == ALL_LEADS else f"{name}_{leads}_lead{'' if leads == '1' else 's'}"


def presets(benchmark: Benchmark, options: EvaluationOptions) -> tuple[str, ...]:
    """Return the presets of leads that a benchmark is measured with."""
    return benchmark.leads if options.leads is None else options.leads


def check_options(benchmarks: Sequence[Benchmark], options: EvaluationOptions) -> None:
    """Raise BadConfig for unknown tasks or leads, a benchmark that is named twice, and weights that none needs."""
    tasks = options.wanted
    if set(tasks) - set(TASKS) or not tasks or len(set(tasks)) < len(tasks):
        raise BadConfig(f"tasks {','.join(tasks)}: expected different ones of {', '.join(TASKS)}; use these")
    asked = options.leads
    if asked is not None and (set(asked) - set(PRESETS) or not asked or len(set(asked)) < len(asked)):
        raise BadConfig(f"leads {','.join(asked)}: expected different ones of {', '.join(PRESETS)}; use these")
    names = [entry_name(benchmark.name, leads) for benchmark in benchmarks for leads in presets(benchmark, options)]
    twice = [name for name in names if names.count(name) > 1]
    if twice or not names:
        raise BadConfig(f"benchmarks {', '.join(names) or '(none)'}: expected at least one, each once")
    if options.weights_file is not None and not any(map(has_challenge_metric, benchmarks)):
        raise BadConfig(
            f"{OPTION} {options.weights_file}: expected a benchmark with the Challenge's classes (vocabulary "
            f"{CHALLENGE}) among {', '.join(names)}; omit it"
        )
