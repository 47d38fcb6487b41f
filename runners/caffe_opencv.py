#!/usr/bin/env python3
"""Caffe nets through OpenCV's DNN module, which reads them up to version 4 (`opencv.txt` pins one).

On a GPU by OpenCL. OpenCV says which layers are meant for it and no more: one whose OpenCL code fails is computed by its
CPU code without a word. So what ran there is never known to the last layer, and no job is a pass of the GPU.
"""

import os
import re

from seatrial_runner import Loaded, Runner, RunnerError, Value, asked_accelerator, serve, tensor

if asked_accelerator() == "gpu":
    # Unless it may choose a device that is no GPU, OpenCV does not tell that there is one.
    os.environ.setdefault("OPENCV_OPENCL_DEVICE", "::")

import cv2  # noqa: E402
import numpy as np  # noqa: E402


class Caffe(Runner):
    runtime, version, formats = "opencv", cv2.__version__, ["caffe"]

    def __init__(self):
        self.device = opencl()
        if self.device is not None:
            self.accelerators = (*Runner.accelerators, ("gpu", *self.device))

    def load(self, request):
        if not hasattr(cv2.dnn, "readNetFromCaffe"):
            raise RunnerError("unsupported_format", f"OpenCV {cv2.__version__} no longer reads Caffe: install one before 5")
        on_gpu = request.accelerator == "gpu"
        if request.accelerator != "cpu" and not (on_gpu and self.device is not None):
            raise RunnerError("no_device", f"OpenCV has no {request.accelerator} here")
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
        self.net.setPreferableTarget(cv2.dnn.DNN_TARGET_OPENCL if on_gpu else cv2.dnn.DNN_TARGET_CPU)
        self.input, shape = declared(prototxt)
        self.names = list(self.net.getUnconnectedOutLayersNames())
        ids, _, shapes = self.net.getLayersShapes(shape)
        shape_of = {int(layer): sizes[0] for layer, sizes in zip(np.ravel(ids), shapes)}
        outputs = [tensor(name, "f32", [int(size) for size in shape_of[self.net.getLayerId(name)]]) for name in self.names]
        place = self.place(shape) if on_gpu else {}
        return Loaded(inputs=[tensor(self.input, "f32", shape)], outputs=outputs, precision="fp32",
                      threads=cv2.getNumThreads(), **place)  # fmt: skip

    def place(self, shape):
        """Where OpenCV means to compute each layer, as the fields of `Loaded`."""
        # It decides once there is an input, and says what it decided when it draws the net.
        self.net.setInput(np.zeros(shape, np.float32), self.input)
        layers = re.findall(r'label="{?([^"\\]+)\\n.*OCV/(\w+)', self.net.dump())
        rest = [name for name, target in layers if target != "OCL"]
        name, _, software = self.device
        if len(rest) == len(layers):
            why = f"OpenCV puts none of {len(layers)} layers on the OpenCL device {name!r}; its words are in the log"
            return {"accelerator": "cpu", "delegated": 0, "nodes": len(layers), "rest": rest, "fallback": why}
        untold = "OpenCV tells which layers are meant for OpenCL, and not whether their OpenCL code ran"
        why = f"the OpenCL device {name!r} is a program that computes on the CPU; {untold}" if software else untold
        counts = {"delegated": len(layers) - len(rest), "nodes": len(layers), "rest": rest} if rest else {}
        return {"accelerator": "gpu", "fallback": why, **counts}

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


def opencl():
    """Name and driver of the device that stands for a GPU, and whether it is a CPU; nothing looks for one unasked."""
    if asked_accelerator() != "gpu" or not cv2.ocl.haveOpenCL():
        return None
    device = cv2.ocl.Device.getDefault()
    if not device.available():
        return None
    driver = f"{device.vendorName()} {device.driverVersion()}".strip()
    return device.name(), f"OpenCL, {driver}", bool(device.type() & cv2.ocl.Device_TYPE_CPU)


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
