"""How well a text speaks of a product: by the lexicon alone, and as a shop's own reviews teach it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from freshet.domain.products import Version
from freshet.domain.reviews import Review
from freshet.representation import lexicon
from freshet.representation.encoders.sentiment import SentimentModel
from freshet.representation.opinions import OPINION_BUCKETS, OPINION_FEATURES, OPINION_LENGTH, opinion_inputs
from freshet.representation.sentiment import LEAST_REVIEWS, FitRules, fit, rated, untaught

PRAISE = (
    "Great phone, works perfectly.",
    "I love it!",
    "Not bad at all, my kids were happy with it.",
    "Easy to set up and very comfortable",
    "Can't recommend this enough, excellent battery.",
)
COMPLAINT = (
    "Stopped working after a week.",
    "I don't like it, the sound is not good.",
    "Waste of money",
    "Looked nice but it fell apart, very disappointed",
    "Never buy from this seller, terrible service",
)


@pytest.mark.parametrize("text", PRAISE)
def test_the_lexicon_alone_knows_praise(text: str) -> None:
    assert untaught().scores([text])[0] > 0.5


@pytest.mark.parametrize("text", COMPLAINT)
def test_the_lexicon_alone_knows_complaint(text: str) -> None:
    assert untaught().scores([text])[0] < 0.0


def test_a_negation_reaches_to_the_end_of_its_clause_and_no_further() -> None:
    near, far, none = untaught().scores(["not good", "not now, good", "good"])
    assert near < 0.0 < far
    assert far == pytest.approx(none, abs=0.5)


def test_words_of_the_lexicon_are_said_once() -> None:
    listed = [word for words in lexicon._WORDS.values() for word in words.split()]
    assert len(listed) == len(set(listed)) == len(lexicon.VALENCES)
    assert not set(lexicon.NEGATORS) & set(lexicon.VALENCES)


@pytest.mark.parametrize("text", ["", " \n", "\0", "очень хорошая", "とても良い", "word " * 50_000, "!" * 100_000])
def test_any_text_has_inputs_and_a_score(text: str) -> None:
    inputs = opinion_inputs([text])
    assert inputs["tokens"].shape == (1, OPINION_LENGTH)
    assert inputs["tokens"].max() <= OPINION_BUCKETS
    assert inputs["lexicon"].shape == (1, OPINION_FEATURES)
    assert np.isfinite(inputs["lexicon"].astype(np.float32)).all()
    assert np.isfinite(untaught().scores([text])).all()


def test_a_long_text_is_read_at_both_ends() -> None:
    begun = opinion_inputs(["awful " + "word " * 5_000, "word " * 5_000 + "awful", "word " * 5_000])["lexicon"]
    assert begun[0, 0] < begun[2, 0]
    assert begun[1, 0] < begun[2, 0]


def shop_reviews(count: int) -> list[Review]:
    """A shop whose shoppers say "zork" for good and "blim" for bad: words that no lexicon has."""
    said = (("zork and more", 5.0), ("all blim", 1.0), ("zork blim", 3.0))
    return [
        Review(f"r{i}", "p", rating, f"{text} number {i}", Version(i, i))
        for i in range(count)
        for text, rating in (said[i % 3],)
    ]


def test_a_shop_teaches_its_own_words_and_keeps_what_the_lexicon_knows() -> None:
    texts, praise = rated(shop_reviews(300))
    assert (len(texts), int(praise.sum())) == (200, 100)
    judge = fit(texts, praise)
    good, bad, lovely, awful = judge.scores(["zork", "blim", "lovely", "awful"])
    assert good > 1.0 > -1.0 > bad
    assert lovely > 0.0 > awful


def test_with_few_reviews_of_a_kind_the_lexicon_speaks_alone() -> None:
    texts, praise = rated(shop_reviews(3 * LEAST_REVIEWS - 3))
    assert np.array_equal(fit(texts, praise).scores(["zork"]), untaught().scores(["zork"]))
    assert np.array_equal(fit([], np.zeros(0, dtype=np.bool_)).lexicon, untaught().lexicon)


def test_a_text_that_was_written_often_teaches_once() -> None:
    copies = [Review(f"r{i}", "p", 1.0, "Bad  shoe" if i % 2 else "bad shoe", Version(i, i)) for i in range(500)]
    assert len(rated(copies)[0]) == 1


def test_the_same_reviews_give_the_same_judge() -> None:
    first, second = (fit(*rated(shop_reviews(200)), FitRules(1.0, 1.0)) for _ in range(2))
    assert np.array_equal(first.words, second.words)
    assert first.intercept == second.intercept


def test_the_served_network_says_what_the_judge_says() -> None:
    judge = fit(*rated(shop_reviews(300)))
    texts = [*PRAISE, *COMPLAINT, "zork", "blim", "", "と"]
    inputs = {name: torch.from_numpy(values) for name, values in opinion_inputs(texts).items()}
    served = SentimentModel(judge)(inputs["tokens"], inputs["lexicon"]).numpy()
    assert served.shape == (len(texts), 1)
    np.testing.assert_allclose(served[:, 0], 1.0 / (1.0 + np.exp(-judge.scores(texts))), atol=1e-4)
