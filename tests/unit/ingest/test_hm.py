"""H&M's files become products and purchases."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from freshet.errors import ConfigurationError, InvalidInput
from freshet.ingest import hm

ARTICLES = """article_id,product_code,prod_name,product_type_name,product_group_name,graphical_appearance_name,\
colour_group_name,perceived_colour_value_name,perceived_colour_master_name,department_name,index_name,\
index_group_name,section_name,garment_group_name,detail_desc
0000000101,1,Strap top,Vest top,Upper body,Solid,Black,Dark,Black,Jersey,Ladieswear,Ladieswear,Basics,Jersey Basic,Top
0000000102,1,Strap top,Vest top,Upper body,Solid,White,Light,White,Jersey,Ladieswear,Ladieswear,Basics,Jersey Basic,
"""
PURCHASES = """t_dat,customer_id,article_id,price,sales_channel_id,split
2020-09-21,anna,0000000101,0.03,2,train
2020-09-21,ben,0000000101,0.05,2,train
2020-09-22,anna,0000000101,0.01,2,test
2020-09-22,ben,0000000102,0.02,2,valid
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "articles.csv").write_text(ARTICLES)
    (tmp_path / "purchases_split.csv.gz").write_bytes(gzip.compress(PURCHASES.encode()))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0000000101.jpg").write_bytes(b"jpeg")
    return tmp_path


def test_prices_come_from_train_alone(folder: Path) -> None:
    first, second = hm.read_products(folder)
    assert first.price == pytest.approx(0.04)
    assert second.price is None


def test_a_product_has_its_words_and_its_picture_inside(folder: Path) -> None:
    first, second = hm.read_products(folder)
    assert first.title == "Strap top"
    assert first.categories == ("Ladieswear", "Jersey Basic", "Vest top")
    assert first.attributes["colour"] == "Black"
    assert first.image is not None
    assert first.image.content == b"jpeg"
    assert second.image is None
    assert next(hm.read_products(folder, images=False)).image is None


def test_only_the_splits_asked_for_are_read_and_times_are_the_same_every_time(folder: Path) -> None:
    train = list(hm.read_purchases(folder))
    assert [purchase.customer_id for purchase in train] == ["anna", "ben"]
    assert train == list(hm.read_purchases(folder, ("train",)))
    assert len({purchase.time_us for purchase in train}) == 2
    assert all(1_600_646_400 <= purchase.time_us / 1e6 < 1_600_732_800 for purchase in train)
    assert [p.split for p in hm.read_purchases(folder, ("valid", "test"))] == ["test", "valid"]


def test_an_unknown_split_and_a_folder_without_data_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="splits"):
        list(hm.read_purchases(folder, ("future",)))
    with pytest.raises(ConfigurationError, match="holds neither"):
        list(hm.read_purchases(tmp_path / "nothing"))


def test_a_row_that_is_no_purchase_is_named_by_its_line(folder: Path) -> None:
    (folder / "purchases_split.csv.gz").write_bytes(gzip.compress(PURCHASES.replace("0.05", "cheap").encode()))
    with pytest.raises(InvalidInput, match=r"purchases_split\.csv\.gz:3"):
        list(hm.read_purchases(folder))
