"""A shop's own folder is judged by what its shoppers chose last; where nobody chose enough, it says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from freshet.errors import ConfigurationError
from freshet.evaluate.commands import app

KINDS = ("linen dress", "rain coat", "running shoe", "leather boot", "wool hat", "silk scarf")


def write_shop(folder: Path, shoppers: int = 60, chosen: int = 4) -> Path:
    """Shoppers who each keep to one kind of 48 products."""
    products = [
        {"productId": f"p{i}", "title": f"{KINDS[i % 6]} {i}", "price": 5.0 + i, "categories": [KINDS[i % 6]]}
        for i in range(48)
    ]
    generator = np.random.default_rng(7)
    touched = [
        {"user_id": f"u{user}", "product_id": f"p{user % 6 + 6 * place}", "kind": "PURCHASE"}
        for user in range(shoppers)
        for place in generator.choice(8, chosen, replace=False).tolist()
    ]
    for name, rows in (("products", products), ("interactions", touched)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_folder_in_the_place_of_a_name_is_a_shops_own(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(write_shop(tmp_path)), "--seeds", "2", "--json"], catch_exceptions=False)
    document = json.loads(result.stdout.splitlines()[-1])
    found = {row["model"]: row["metrics"] for row in document["rows"]}
    assert list(found) == ["popularity", "tf_idf", "ease", "content_ease", "freshet, by content alone", "freshet"]
    # Six kinds of eight: who knows the kind ranks the five that are left among the first ten.
    assert found["freshet"]["hr_at_10"] > 0.9 > found["popularity"]["hr_at_10"]
    assert found["freshet, by content alone"]["hr_at_10"] > 0.9
    assert found["freshet"]["hr_at_10_sd"] < 0.1
    assert "hr_at_10_sd" not in found["ease"]


def test_without_seeds_no_network_is_trained(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["shop", str(write_shop(tmp_path)), "--seeds", "0", "--json"])
    rows = json.loads(result.stdout.splitlines()[-1])["rows"]
    assert [row["model"] for row in rows] == ["popularity", "tf_idf", "ease", "content_ease"]


def test_a_shop_where_nobody_chose_three_products_cannot_be_judged(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no shopper .* has chosen three products"):
        CliRunner().invoke(app, [str(write_shop(tmp_path, chosen=2))], catch_exceptions=False)


def test_a_folder_without_products_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"products\.jsonl is missing"):
        CliRunner().invoke(app, [str(tmp_path)], catch_exceptions=False)


def test_what_is_neither_a_name_nor_a_folder_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path / "nowhere")])
    assert isinstance(result.exception, ConfigurationError)
    assert "nowhere: there is no such folder, and no such way of measuring (live, shop, hm" in str(result.exception)
