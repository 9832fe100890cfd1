"""A small Unigram vocabulary learned from reports, the same to the last bit on every run.

The Unigram trainer of `tokenizers` sums in the order of a randomly seeded hash map, so its scores differ from run to
run even with one thread. Here its BPE trainer, which counts in integers, proposes the pieces, and hard expectation
maximisation over the unique words gives their log probabilities.
"""

import math
from collections import Counter

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")  # ids 0, 1, 2 as in T5
SENTINELS = tuple(f"<extra_id_{i}>" for i in range(99, -1, -1))  # at the end, <extra_id_0> last, as in T5
METASPACE = {"replacement": "▁", "prepend_scheme": "always"}
EM_ROUNDS = 4


def train_unigram(texts: list[str], vocab_size: int) -> Tokenizer:
    """Learn a T5-like tokenizer: pad 0, end 1 (appended to each text), unknown 2, pieces, 100 sentinels.

    Parameters
    ----------
    texts : list of str
        Training texts; order and repetitions within the list of unique texts don't matter.
    vocab_size : int
        Upper bound of all tokens, special ones included.

    Raises
    ------
    ValueError
        When `vocab_size` cannot hold the special tokens and the characters of the texts.
    """
    words = _count_words(texts)
    characters = sorted({character for word in words for character in word})
    room = vocab_size - len(SPECIAL_TOKENS) - len(SENTINELS)
    if room < len(characters):
        least = len(SPECIAL_TOKENS) + len(SENTINELS) + len(characters)
        raise ValueError(
            f"vocabulary of {vocab_size} is too small: {len(characters)} characters of the reports and "
            f"{len(SPECIAL_TOKENS) + len(SENTINELS)} special tokens need at least {least}; give a larger one"
        )
    pieces = _propose_pieces(words, room)
    scores = dict.fromkeys(pieces, -math.log(len(pieces)))
    for _ in range(EM_ROUNDS):
        scores = _reestimate(words, pieces, scores)
    return _assemble(pieces, scores)


def _count_words(texts: list[str]) -> dict[str, int]:
    """Count whitespace-separated words, each with the marker of a word's beginning, over the unique texts."""
    counts = Counter(METASPACE["replacement"] + word for text in set(texts) for word in text.split())
    return dict(sorted(counts.items()))


def _propose_pieces(words: dict[str, int], room: int) -> list[str]:
    trainer = trainers.BpeTrainer(vocab_size=room, show_progress=False)
    proposer = Tokenizer(models.BPE())
    proposer.train_from_iterator((word for word, count in words.items() for _ in range(count)), trainer)
    vocabulary = proposer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _reestimate(words: dict[str, int], pieces: list[str], scores: dict[str, float]) -> dict[str, float]:
    """Segment every word at its best under `scores`; return smoothed log frequencies of the pieces."""
    model = Tokenizer(_model(pieces, scores))
    uses = dict.fromkeys(pieces, 0)
    for word, count in words.items():
        for piece in model.encode(word).tokens:
            uses[piece] += count
    total = sum(uses.values()) + 0.5 * len(pieces)
    return {piece: math.log((count + 0.5) / total) for piece, count in uses.items()}


def _model(pieces: list[str], scores: dict[str, float]) -> models.Unigram:
    vocabulary = [(token, 0.0) for token in SPECIAL_TOKENS] + [(piece, scores[piece]) for piece in pieces]
    return models.Unigram(vocabulary, unk_id=2, byte_fallback=False)


def _assemble(pieces: list[str], scores: dict[str, float]) -> Tokenizer:
    tokenizer = Tokenizer(_model(pieces, scores))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**METASPACE, split=True)]
    )
    tokenizer.decoder = decoders.Metaspace(**METASPACE, split=True)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS + SENTINELS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer
