"""Words to rows: kept as products change, rare words weighing more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshet.recommend.lexicon import Lexicon, distinct
from freshet.representation.preprocessing import word_hashes

WORDS = ("red", "boot", "Hat", "straße", "靴")
titles = st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)


def lexicon_of(*titles_: str, texts: tuple[str, ...] = ()) -> Lexicon:
    lexicon = Lexicon()
    for row, title in enumerate(titles_):
        hashes = word_hashes(f"{title} {texts[row] if texts else ''}")
        lexicon.change(row, hashes, len(word_hashes(title)))
    return lexicon


@given(st.lists(st.tuples(st.integers(0, 5), titles, titles, st.booleans()), max_size=20))
def test_after_any_changes_it_holds_what_the_rows_hold_last(changes: list[tuple[int, str, str, bool]]) -> None:
    lexicon, last = Lexicon(), dict[int, tuple[str, str]]()
    for row, title, text, asked in changes:
        lexicon.change(row, word_hashes(f"{title} {text}"), len(word_hashes(title)))
        last[row] = title, text
        # Asking puts in what was gathered, and changes no answer.
        assert not asked or len(lexicon) <= len(WORDS)
    held = distinct(" ".join(f"{title} {text}" for title, text in last.values()))
    assert len(lexicon) == len(held)
    for row, (title, text) in last.items():
        assert set(lexicon.having(held, row)) == set(distinct(f"{title} {text}"))
        for word in held:
            titled = lexicon.shares({word: held[word]}, 6)[row, 1] > 0.0
            assert titled == (word in distinct(title))


def test_a_row_with_all_of_the_words_leads_and_rare_words_weigh_more() -> None:
    shares = lexicon_of("red boot", "red hat", "red shoe", "blue boot").shares(distinct("Red BOOT"), 4)
    assert shares[0] == pytest.approx([1.0, 1.0])
    # Three products are red, two are boots: being a boot says more.
    for column in shares.T:
        assert 1.0 > column[3] > column[1] == column[2] > 0.0


def test_a_word_in_the_title_counts_there_and_one_among_few_weighs_more_than_one_among_many() -> None:
    texts = ("", "red", "red and a great many other words of which nobody asked")
    whole, title = lexicon_of("red boot", "old boot", "odd boot", texts=texts).shares(distinct("red"), 3).T
    assert title.tolist() == [1.0, 0.0, 0.0]
    assert whole[0] > whole[1] > whole[2] > 0.0


def test_a_word_that_nothing_has_does_not_count() -> None:
    lexicon = lexicon_of("red boot")
    assert lexicon.shares(distinct("boot zanzibar"), 1)[0] == pytest.approx([1.0, 1.0])
    assert not lexicon.shares(distinct("zanzibar"), 1).any()
    assert not lexicon.shares({}, 1).any()
