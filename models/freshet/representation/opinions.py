"""From a review's words to what the sentiment model takes: the one implementation, for training and for serving.

No torch. Total: any text, of any length and script, gives tokens and features.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from freshet.representation.lexicon import CONTRASTS, INTENSIFIERS, NEGATORS, PHRASES, VALENCES

OPINION_BUCKETS = 2**19
OPINION_WORDS = 256
"""Words read of one review: the first half of them from its start, the rest from its end."""
OPINION_LENGTH = 2 * OPINION_WORDS
OPINION_FEATURES = 8
NEGATED_WORDS = 3
"""How far a negation reaches, within its clause."""
_CHARACTERS = 40 * OPINION_WORDS
_TURNED = -0.7
"""A negated word says less than its opposite: "not bad" is not "good"."""
_TOKEN = re.compile(r"[^\W_]+|[.,;:!?()\n]")
_APOSTROPHES = re.compile(r"(?<=\w)['’`´](?=\w)")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")
_PHRASE_WORDS = (3, 2)


class _Word(NamedTuple):
    text: str
    clause: int
    negated: bool


def opinion_inputs(texts: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    """{"tokens": int32 (texts, OPINION_LENGTH), "lexicon": float32 (texts, OPINION_FEATURES)}.

    Tokens are buckets of distinct words, of negated ones once more as such, and of neighbouring pairs, single letters
    left out; 0 is padding. The lexicon's features are compounds and counts of praise and complaint, near -2 to 4 each.
    """
    tokens = np.zeros((len(texts), OPINION_LENGTH), dtype=np.int32)
    lexicon = np.zeros((len(texts), OPINION_FEATURES), dtype=np.float32)
    for row, text in enumerate(texts):
        read = _read(text)
        listed = [word for word in read if len(word.text) > 1 or _UNSPACED.match(word.text)]
        words = (word.text for word in listed)
        marked = (f"not {word.text}" for word in listed if word.negated)
        pairs = (f"{first.text}\t{second.text}" for first, second in itertools.pairwise(listed))
        buckets = list(dict.fromkeys(map(_bucket, itertools.chain(words, marked, pairs))))[:OPINION_LENGTH]
        tokens[row, : len(buckets)] = buckets
        lexicon[row] = _features(read)
    return {"tokens": tokens, "lexicon": lexicon}


@lru_cache(maxsize=200_000)
def _bucket(token: str) -> int:
    return 1 + xxhash.xxh32_intdigest(token.encode(), seed=1) % OPINION_BUCKETS


def _read(text: str) -> list[_Word]:
    """Words in lower case without apostrophes, each with the clause it stands in and whether a negation reaches it."""
    if len(text) > 2 * _CHARACTERS:
        text = f"{text[:_CHARACTERS]} . {text[-_CHARACTERS:]}"
    folded = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).casefold())
    found: list[_Word] = []
    clause = reach = 0
    for match in _TOKEN.finditer(folded):
        token = match.group()
        if not token[0].isalnum():
            clause, reach = clause + 1, 0
            continue
        for word in token if _UNSPACED.search(token) else (token[:64],):
            if word in CONTRASTS:
                clause, reach = clause + 1, 0
            negates = word in NEGATORS
            found.append(_Word(word, clause, reach > 0 and not negates))
            reach = NEGATED_WORDS if negates else max(reach - 1, 0)
    half = OPINION_WORDS // 2
    return found if len(found) <= OPINION_WORDS else [*found[:half], *found[-half:]]


def _features(read: Sequence[_Word]) -> list[float]:
    valences = _valences(read)
    praise = sum(value for _, value in valences if value > 0)
    complaint = -sum(value for _, value in valences if value < 0)
    last_contrast = max((word.clause for word in read if word.text in CONTRASTS), default=-1)
    last_clause = read[-1].clause if read else 0
    ending = sum(value for clause, value in valences if clause >= last_clause - 1)
    after = sum(value for clause, value in valences if last_contrast >= 0 and clause >= last_contrast)
    opening = sum(value for clause, value in valences if clause <= 1)
    return [
        _compound(praise - complaint),
        math.log1p(praise) - math.log1p(complaint),
        (praise - complaint) / (praise + complaint + 2.0),
        _compound(opening),
        _compound(ending),
        _compound(after),
        math.log1p(complaint),
        math.log1p(len(valences)) - math.log1p(len(read)) / 2.0,
    ]


def _compound(total: float) -> float:
    """To -1 … 1 (Hutto & Gilbert, 2014)."""
    return total / math.sqrt(total * total + 15.0)


def _valences(read: Sequence[_Word]) -> list[tuple[int, float]]:
    """(clause, valence) of every word or phrase that has one, in order."""
    found: list[tuple[int, float]] = []
    at = 0
    while at < len(read):
        word, length, value = read[at], 1, VALENCES.get(read[at].text, 0)
        for longer in _PHRASE_WORDS:
            phrase = PHRASES.get(" ".join(each.text for each in read[at : at + longer]))
            if phrase is not None and at + longer <= len(read):
                length, value = longer, phrase
                break
        if value:
            before = read[at - 1] if at and read[at - 1].clause == word.clause else None
            strength = INTENSIFIERS.get(before.text, 1.0) if before is not None else 1.0
            turned = word.negated and not (length > 1 and word.text in NEGATORS)
            found.append((word.clause, value * strength * (_TURNED if turned else 1.0)))
        at += length
    return found
