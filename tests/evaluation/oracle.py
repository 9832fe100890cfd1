"""An encoder that knows the labels, which any harness must score 1, and one that knows nothing."""

import numpy as np
import torch

from ecgtext_plugins.evaluation.evaluation_tasks import other_prompts
from ecgtext_plugins.evaluation.run_benchmark import check_recipe, label_matrix


class Encoder(torch.nn.Module):
    """What the harness asks of a model, but for embeddings."""

    family, config, checkpoint_sha256, sample_rate = "dbeta", {"model": {}}, "aa" * 32, 500.0


class Oracle(Encoder):
    """A text's embedding is the one class whose prompt it is; an ECG's is the classes that it has.

    In a transfer, classes are the source's, and an ECG of a category lies along those that are of no other category. A
    category without such a class has those that it shares, half as far: an ECG of it is then less of the other one
    than an ECG of the other one is.
    """

    def __init__(self, benchmark):
        super().__init__()
        self.benchmark = benchmark
        groups = benchmark.transfer.classes if benchmark.transfer else {name: (name,) for name in benchmark.classes}
        self.members = list(dict.fromkeys(member for members in groups.values() for member in members))
        belongs = np.array([[member in members for member in self.members] for members in groups.values()])
        own = belongs & (belongs.sum(axis=0) == 1)
        self.along = np.where(own.any(axis=1, keepdims=True), own, 0.5 * belongs)
        self.column = {}
        for each in [benchmark, *other_prompts(benchmark)]:
            for place, member in enumerate(self.members):
                for text in each.prompts[member]:
                    assert self.column.setdefault(text, place) == place, f"{member} shares its prompt: {text}"

    def encode_text(self, texts):
        return torch.eye(len(self.members))[[self.column[text] for text in texts]]

    def ecgs(self, manifest):
        labels = label_matrix(self.benchmark, check_recipe(self.benchmark, manifest.store), manifest)
        return (labels[:, :, None] * self.along).max(axis=1).astype(np.float32)


class Blind(Encoder):
    """All embeddings are drawn."""

    def __init__(self, seed=0, width=8):
        super().__init__()
        self.rng, self.width = np.random.default_rng(seed), width

    def encode_text(self, texts):
        return torch.from_numpy(self.rng.normal(size=(len(texts), self.width)).astype(np.float32))

    def ecgs(self, manifest):
        return self.rng.normal(size=(len(manifest), self.width)).astype(np.float32)
