"""The stubs beside the .proto files are what the .proto files generate, and the contract keeps its promises of form."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import EnumDescriptor, FileDescriptor

from freshet.domain.interactions import Kind
from freshet.domain.products import FIELDS
from freshet.v1 import (
    ingestion_service_pb2,
    interaction_pb2,
    product_pb2,
    recommendation_service_pb2,
    stream_pb2,
)

PROTO = Path(__file__).parents[2] / "proto"
FILES = [
    module.DESCRIPTOR
    for module in (ingestion_service_pb2, interaction_pb2, product_pb2, recommendation_service_pb2, stream_pb2)
]


def test_the_committed_stubs_are_what_the_proto_files_generate(tmp_path: Path) -> None:
    subprocess.run(
        [PROTO / "generate.sh", tmp_path], env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}, check=True
    )
    generated = {path.name: path.read_text() for path in (tmp_path / "freshet/v1").iterdir()}
    committed = {path.name: path.read_text() for path in (PROTO / "freshet/v1").glob("*_pb2*") if path.is_file()}
    assert generated == committed


def test_the_reference_is_what_the_comments_say(tmp_path: Path) -> None:
    page = tmp_path / "api.md"
    subprocess.run([sys.executable, PROTO / "reference.py", page], check=True)
    assert page.read_text() == (PROTO.parent / "docs" / "api.md").read_text(), "`make proto` writes docs/api.md anew"


def enums(file: FileDescriptor) -> list[EnumDescriptor]:
    nested = [enum for message in file.message_types_by_name.values() for enum in message.enum_types]
    return [*file.enum_types_by_name.values(), *nested]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_enum_starts_at_unspecified(file: FileDescriptor) -> None:
    for enum in enums(file):
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")


def test_the_kinds_of_interaction_are_the_same_in_the_contract_and_the_domain() -> None:
    kinds = interaction_pb2.Interaction.DESCRIPTOR.enum_types_by_name["Kind"].values_by_name
    assert {kind.name: int(kind) for kind in Kind} == {
        name: value.number for name, value in kinds.items() if value.number
    }


def test_an_update_mask_may_name_every_field_of_a_product_but_its_key() -> None:
    assert set(FIELDS) == {field.name for field in product_pb2.Product.DESCRIPTOR.fields} - {"product_id"}
