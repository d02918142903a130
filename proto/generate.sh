#!/bin/sh
# Writes the Python stubs beside the .proto files. Run from anywhere; uses the project's own environment.
set -eu
cd "$(dirname "$0")"
out=${1:-.}
"${PYTHON:-../.venv/bin/python}" -m grpc_tools.protoc --proto_path=. --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" \
  freshet/v1/product.proto freshet/v1/interaction.proto freshet/v1/stream.proto \
  freshet/v1/ingestion_service.proto freshet/v1/recommendation_service.proto
# Messages alone have no services: drop the empty files.
rm -f "$out"/freshet/v1/product_pb2_grpc.py "$out"/freshet/v1/interaction_pb2_grpc.py "$out"/freshet/v1/stream_pb2_grpc.py
