"""The suite `sentiment` splits honestly and judges as it says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from freshet.errors import ConfigurationError
from freshet.evaluate import sentiment
from freshet.evaluate.sentiment import Texts


def told(count: int = 120) -> Texts:
    """Every fourth complains; a word that the lexicon lacks tells which."""
    praise = np.arange(count) % 4 != 0
    texts = [f"{'zork' if good else 'blim'} item {i}" for i, good in enumerate(praise)]
    return Texts(texts, praise, [f"p{i % 10}" for i in range(count)])


def test_no_product_and_no_text_is_on_two_sides_of_a_split() -> None:
    data = told()
    parts = sentiment.split(data, 0, by_product=True)
    products = [set(part.products) for part in parts]
    assert sum(map(len, products)) == len(set.union(*products)) == 10
    assert sorted(text for part in parts for text in part.texts) == sorted(data.texts)
    assert [len(part.texts) for part in sentiment.split(data, 1, by_product=False)] == [84, 12, 24]
    assert sentiment.split(data, 1, by_product=False)[0].texts != sentiment.split(data, 2, by_product=False)[0].texts


@pytest.mark.parametrize("model", ["tf_idf_logistic_regression", "freshet"])
def test_what_is_learned_tells_the_rest_apart(model: str) -> None:
    train, valid, test = sentiment.split(told(400), 0, by_product=False)
    scorer = sentiment.MODELS[model](train, valid)
    assert sentiment.quality(scorer(test.texts), test.praise)["macro_f1"] > 0.95
    assert np.isfinite(scorer([""])).all()


def test_the_mean_of_both_kinds_f1_is_not_fooled_by_the_majority() -> None:
    praise = np.array([True, True, True, False])
    assert sentiment.quality(np.ones(4), praise) == {"accuracy": 0.75, "macro_f1": pytest.approx(3 / 7)}
    assert sentiment.quality(np.where(praise, 1.0, -1.0), praise) == {"accuracy": 1.0, "macro_f1": 1.0}


def test_reviews_between_praise_and_complaint_and_repeated_texts_are_left_out(tmp_path: Path) -> None:
    rows = [("Fine", 5.0), ("fine ", 5.0), ("so so", 3.0), ("bad", 2.0), ("", 1.0)]
    with gzip.open(tmp_path / sentiment.BEAUTY, "wt") as file:
        file.writelines(json.dumps({"reviewText": text, "overall": stars, "asin": "a"}) + "\n" for text, stars in rows)
    read = sentiment.read_beauty(tmp_path)
    assert ([text.lower() for text in read.texts], read.praise.tolist()) == (["fine", "bad"], [True, False])


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"womens_clothing_reviews.csv.zip is not there"):
        sentiment.read_clothing(tmp_path)
