"""Published layouts are read as they are, ranks count ties against us, and neighbour tables know before from after."""

from __future__ import annotations

import gzip
import json
from math import log2
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from freshet.errors import ConfigurationError
from freshet.evaluate.datasets import read_sequences, read_user_items
from freshet.evaluate.metrics import recall_and_ndcg
from freshet.evaluate.suites import sequences, user_items
from freshet.representation import neighbours
from freshet.representation.neighbours import UNORDERED, NeighbourRules


def matrix(*rows: list[int]) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.array(rows, np.float32))


def test_recall_and_ndcg_of_several_targets_by_hand() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.1], [0.4, 0.4, 0.2, 0.1], [1.0, 0.0, 0.0, 0.0]])
    targets = matrix([0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0])
    seen = matrix([1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0])
    recall, ndcg = recall_and_ndcg(lambda begin, end: scores[begin:end], targets, seen, cutoff=2)
    # The first user's item 1 comes first once item 0 is left out; the second's target ties, and so stands second.
    first, second = 1.0 / (1.0 + 1.0 / log2(3)), 1.0 / log2(3)
    assert recall == pytest.approx((0.5 + 1.0) / 2)
    assert ndcg == pytest.approx((first + second) / 2)


def test_a_user_without_a_target_is_not_judged_and_a_seen_target_is_not_found() -> None:
    scores = np.array([[0.9, 0.1], [0.9, 0.1]])
    assert recall_and_ndcg(lambda b, e: scores[b:e], matrix([0, 0], [1, 0]), matrix([0, 0], [1, 0]), 1) == (0.0, 0.0)


def write_pairs(path: Path, *pairs: tuple[int, int]) -> None:
    with gzip.open(path, "wt") as opened:
        opened.writelines(f"{user} {item}\n" for user, item in pairs)


def small_user_items(folder: Path) -> None:
    write_pairs(folder / "shop_trn_user_item.txt.gz", (0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (2, 1), (2, 1))
    write_pairs(folder / "shop_val_user_item.txt.gz", (0, 2))
    write_pairs(folder / "shop_tst_user_item.txt.gz", (1, 0), (2, 3))
    np.save(folder / "shop_image_feat.npy", np.eye(4, 6, dtype=np.float16))


def test_user_item_files_become_matrices(tmp_path: Path) -> None:
    small_user_items(tmp_path)
    valid, test = read_user_items(tmp_path, "shop")
    assert test.known.shape == (3, 4)
    assert test.known.toarray().tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 0, 0]], "a pair counts once"
    assert valid.targets.nonzero()[1].tolist() == [2]
    assert test.targets.nonzero()[1].tolist() == [0, 3]
    assert test.features["image"].shape == (4, 6)
    rows = user_items("shop", 1.0)(tmp_path, lambda _: None)
    parts = ["freshet, what is chosen together", "freshet, what is alike"]
    assert [row.model for row in rows] == ["popularity", "ease", *parts, "freshet", "freshet, the service's formula"]
    assert all(0.0 <= value <= 1.0 for row in rows for value in row.metrics.values())


def test_a_missing_file_and_a_bad_line_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="shop_trn_user_item"):
        read_user_items(tmp_path, "shop")
    (tmp_path / "Shop.txt").write_text("1 5 6 7\n2 5 x 7\n")
    with pytest.raises(ConfigurationError, match=r"Shop\.txt, line 2"):
        read_sequences(tmp_path, "Shop")
    (tmp_path / "Shop.txt").write_text("1 5 6\n")
    with pytest.raises(ConfigurationError, match="line 1: has 2 items"):
        read_sequences(tmp_path, "Shop")


def test_sequences_hold_out_the_last_two_items(tmp_path: Path) -> None:
    lines = [f"{user} {' '.join(str(1 + (user + step) % 9) for step in range(5))}" for user in range(40)]
    (tmp_path / "Shop.txt").write_text("\n".join(lines))
    (tmp_path / "Shop_item2attributes.json").write_text(json.dumps({"1": [0, 1], "2": [1], "9": [2]}))
    data = read_sequences(tmp_path, "Shop")
    assert data.items == 9
    assert data.history(-2)[0].tolist() == [0, 1, 2]
    assert data.targets(-1)[0] == 4
    assert data.attributes.toarray()[0].tolist() == [1, 1, 0]
    found = {row.model: row.metrics["ndcg_at_10"] for row in sequences("Shop")(tmp_path, lambda _: None)}
    assert found["freshet"] == pytest.approx(1.0), "the next item always follows the last"
    assert found["popularity"] < 0.9
    assert found["freshet, the service's formula"] > found["ease"], "it learns that the last item says most"


def test_transitions_know_what_comes_before_from_what_comes_after() -> None:
    histories = [np.array([0, 1, 2]), np.array([0, 1, 3]), np.array([0, 1, 2])]
    content = neighbours.unit_rows(np.eye(5, dtype=np.float32))
    tables = neighbours.fit(histories, 5, content, NeighbourRules(content_weight=0.0))
    (scores,) = tables.scores([np.array([1])])
    assert scores.argmax() == 2
    assert scores[0] < scores[3] < scores[2], "0 comes before 1; 3 followed once, 2 twice"
    assert scores[4] == 0.0


def test_two_steps_reach_what_nobody_touched_together() -> None:
    histories = [np.array([0, 1]), np.array([1, 2])]
    tables = neighbours.fit(histories, 4, neighbours.unit_rows(np.eye(4, dtype=np.float32)), UNORDERED)
    (scores,) = tables.scores([np.array([0])])
    assert scores[2] > scores[3] == 0.0


def test_content_places_an_item_that_nobody_touched() -> None:
    content = neighbours.unit_rows(np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]], np.float32))
    tables = neighbours.fit([np.array([0, 1]), np.array([0, 1])], 3, content, UNORDERED)
    (scores,) = tables.scores([np.array([0])])
    assert scores[2] > 0.0
