"""Triton's Python backend running an ONNX file: for servers without the ONNX backend. Needs onnxruntime beside it."""

from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as backend


class TritonPythonModel:
    """One ONNX session. Requests that Triton hands over together run as one batch."""

    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [entry.name for entry in self.session.get_inputs()]
        self.outputs = [entry.name for entry in self.session.get_outputs()]

    def execute(self, requests):
        batches = [
            {name: backend.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
            for request in requests
        ]
        if len(batches) == 1:
            together = batches[0]
        else:
            together = {name: np.concatenate([batch[name] for batch in batches]) for name in self.inputs}
        results = self.session.run(self.outputs, together)
        responses, start = [], 0
        for batch in batches:
            end = start + len(batch[self.inputs[0]])
            tensors = [
                backend.Tensor(name, np.ascontiguousarray(result[start:end]))
                for name, result in zip(self.outputs, results, strict=True)
            ]
            responses.append(backend.InferenceResponse(tensors))
            start = end
        return responses
