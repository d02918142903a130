"""Writes docs/api.md, the reference of the contract, from the comments in the .proto files.

python proto/reference.py [FILE]
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb
from grpc_tools import protoc

HERE = Path(__file__).parent
NAMES = ("recommendation_service", "ingestion_service", "product", "interaction", "stream")
HEAD = """# API reference

Package `freshet.v1`. Written from the comments in `proto/freshet/v1` by `make proto`; change it there. How to use it:
[recommending.md](recommending.md) and [publishing.md](publishing.md).
"""
_TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in pb.FieldDescriptorProto.Type.items()}
_MESSAGE, _ENUM = pb.FieldDescriptorProto.TYPE_MESSAGE, pb.FieldDescriptorProto.TYPE_ENUM
_REPEATED = pb.FieldDescriptorProto.LABEL_REPEATED


class Comments:
    """The comments of one file, by the path of what they stand at (descriptor.proto, SourceCodeInfo)."""

    def __init__(self, file: pb.FileDescriptorProto) -> None:
        self._by_path: dict[tuple[int, ...], str] = {}
        for location in file.source_code_info.location:
            text = location.leading_comments or location.trailing_comments
            self._by_path[tuple(location.path)] = " ".join(line.strip() for line in text.splitlines()).strip()
        first = next((at for at in file.source_code_info.location if tuple(at.path) == (12,)), None)
        self.about = "" if first is None else " ".join(first.leading_comments.split())

    def at(self, *path: int) -> str:
        return self._by_path.get(path, "")


def read() -> Sequence[pb.FileDescriptorProto]:
    """The contract's files with their comments, in the order of `NAMES`."""
    wanted = [f"freshet/v1/{name}.proto" for name in NAMES]
    included = Path(protoc.__file__).parent / "_proto"
    with tempfile.NamedTemporaryFile() as written:
        arguments = [f"--proto_path={HERE}", f"--proto_path={included}", "--include_source_info"]
        if status := protoc.main(["protoc", *arguments, f"--descriptor_set_out={written.name}", *wanted]):
            raise SystemExit(status)
        read = pb.FileDescriptorSet.FromString(Path(written.name).read_bytes())
    by_name = {file.name: file for file in read.file}
    return [by_name[name] for name in wanted]


def page() -> str:
    """docs/api.md as it should be."""
    parts = [HEAD]
    for file in read():
        comments = Comments(file)
        parts.append(f"## {file.name}\n")
        if comments.about:
            parts.append(f"{comments.about}\n")
        for i, service in enumerate(file.service):
            parts.append(_service(service, comments, i))
        for i, message in enumerate(file.message_type):
            parts += _message(message, comments, (4, i), "")
        for i, enum in enumerate(file.enum_type):
            parts.append(_enum(enum, comments, (5, i), ""))
    return "\n".join(parts)


def _service(service: pb.ServiceDescriptorProto, comments: Comments, place: int) -> str:
    lines = [
        f"### service {service.name}\n",
        f"{comments.at(6, place)}\n",
        "| method | takes | gives | |",
        "|---|---|---|---|",
    ]
    for i, method in enumerate(service.method):
        takes = _link(method.input_type, "stream " if method.client_streaming else "")
        gives = _link(method.output_type, "stream " if method.server_streaming else "")
        lines.append(f"| `{method.name}` | {takes} | {gives} | {_cell(comments.at(6, place, 2, i))} |")
    return "\n".join(lines) + "\n"


def _message(message: pb.DescriptorProto, comments: Comments, path: tuple[int, ...], outer: str) -> Iterator[str]:
    if message.options.map_entry:
        return
    name = f"{outer}{message.name}"
    maps = {entry.name: entry.field[1] for entry in message.nested_type if entry.options.map_entry}
    lines = [f"### {name}\n"]
    if about := comments.at(*path):
        lines.append(f"{about}\n")
    if message.field:
        lines += ["| field | type | no. | |", "|---|---|---|---|"]
    for i, field in enumerate(message.field):
        about = _cell(comments.at(*path, 2, i))
        lines.append(f"| `{field.name}` | {_type(field, message, maps)} | {field.number} | {about} |")
    yield "\n".join(lines) + "\n"
    for i, nested in enumerate(message.nested_type):
        yield from _message(nested, comments, (*path, 3, i), f"{name}.")
    for i, enum in enumerate(message.enum_type):
        yield _enum(enum, comments, (*path, 4, i), f"{name}.")


def _enum(enum: pb.EnumDescriptorProto, comments: Comments, path: tuple[int, ...], outer: str) -> str:
    lines = [f"### {outer}{enum.name}\n"]
    if about := comments.at(*path):
        lines.append(f"{about}\n")
    lines += ["| value | no. | |", "|---|---|---|"]
    lines += [
        f"| `{value.name}` | {value.number} | {_cell(comments.at(*path, 2, i))} |" for i, value in enumerate(enum.value)
    ]
    return "\n".join(lines) + "\n"


def _type(
    field: pb.FieldDescriptorProto, message: pb.DescriptorProto, maps: Mapping[str, pb.FieldDescriptorProto]
) -> str:
    one = _link(field.type_name) if field.type in (_MESSAGE, _ENUM) else _TYPES[field.type]
    entry = field.type_name.rpartition(".")[2]
    if field.type == _MESSAGE and entry in maps:
        value = maps[entry]
        return f"map of string to {_link(value.type_name) if value.type_name else _TYPES[value.type]}"
    if field.label == _REPEATED:
        return f"repeated {one}"
    if field.proto3_optional:
        return f"optional {one}"
    if field.HasField("oneof_index"):
        return f"{one}, one of `{message.oneof_decl[field.oneof_index].name}`"
    return one


def _link(type_name: str, before: str = "") -> str:
    """A type by name; those of this contract with a link to their heading."""
    name = type_name.removeprefix(".")
    if not name.startswith("freshet.v1."):
        return f"{before}`{name}`"
    short = name.removeprefix("freshet.v1.")
    return f"{before}[{short}](#{re.sub(r'[^a-z0-9_]', '', short.lower())})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    to = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "docs" / "api.md"
    to.write_text(page(), encoding="utf-8")
