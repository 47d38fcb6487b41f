#!/usr/bin/env python3
"""Caffe nets through OpenCV's DNN module, which reads them up to version 4 (`opencv.txt` pins one)."""

import re

import cv2
import numpy as np
from seatrial_runner import Loaded, Runner, RunnerError, Value, serve, tensor


class Caffe(Runner):
    runtime, version, formats = "opencv", cv2.__version__, ["caffe"]

    def load(self, request):
        if not hasattr(cv2.dnn, "readNetFromCaffe"):
            raise RunnerError("unsupported_format", f"OpenCV {cv2.__version__} no longer reads Caffe: install one before 5")
        if request.accelerator != "cpu":
            # Its OpenCL target computes on the CPU where there is no GPU, and only prints that it does.
            raise RunnerError("no_device", f"this runner computes on the CPU, not on {request.accelerator}")
        if request.precision not in ("", "fp32"):
            raise RunnerError("no_device", f"this runner computes in fp32, not in {request.precision}")
        prototxt, caffemodel = request.file("prototxt"), request.file("caffemodel")
        cv2.setNumThreads(request.threads)
        try:
            self.net = cv2.dnn.readNetFromCaffe(prototxt, caffemodel)
        except cv2.error as error:
            unknown = re.search(r'layer of type "(\w+)"|Unknown layer type (\w+)', str(error))
            if unknown:
                raise RunnerError("unsupported_op", str(error), operator=unknown[1] or unknown[2]) from error
            raise RunnerError("bad_input", str(error)) from error
        self.net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        self.net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
        self.input, shape = declared(prototxt)
        self.names = list(self.net.getUnconnectedOutLayersNames())
        ids, _, shapes = self.net.getLayersShapes(shape)
        shape_of = {int(layer): sizes[0] for layer, sizes in zip(np.ravel(ids), shapes)}
        outputs = [tensor(name, "f32", [int(size) for size in shape_of[self.net.getLayerId(name)]]) for name in self.names]
        return Loaded(inputs=[tensor(self.input, "f32", shape)], outputs=outputs, precision="fp32",
                      threads=cv2.getNumThreads())  # fmt: skip

    def set_inputs(self, inputs):
        value = inputs[self.input]
        if value.kind != "f32":
            raise RunnerError("bad_input", f"input {value.name!r} is {value.kind}; Caffe nets take f32")
        self.net.setInput(np.frombuffer(value.content, np.float32).reshape(value.shape), self.input)

    def infer(self):
        self.last = self.net.forward(self.names)

    def outputs(self):
        return [Value(name, "f32", list(value.shape), value.astype("<f4").tobytes())
                for name, value in zip(self.names, self.last)]  # fmt: skip

    def unload(self):
        self.net = self.last = None


def declared(path):
    """Name and shape of the input that a prototxt declares: `input: "data" input_dim: 1 …`, `input_shape { dim: 1 … }`, or
    a layer of type Input."""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = re.sub(r"#.*", "", file.read())
    name = re.search(r'^\s*input\s*:\s*"([^"]+)"', text, re.M) or re.search(r'top\s*:\s*"([^"]+)"', text)
    sizes = re.findall(r"input_dim\s*:\s*(\d+)", text)
    if not sizes:
        shape = re.search(r"(?:input_)?shape\s*:?\s*{([^}]*)}", text)
        sizes = re.findall(r"dim\s*:\s*(\d+)", shape[1]) if shape else []
    if name is None or not sizes:
        raise RunnerError("bad_input", "the prototxt declares no input with its size")
    return name[1], [int(size) for size in sizes]


if __name__ == "__main__":
    serve(Caffe())
