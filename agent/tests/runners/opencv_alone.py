#!/usr/bin/env python3
"""Times a Caffe net in OpenCV without anything around it: prints the median of a second, in ms."""

import statistics
import sys
import time

import cv2
import numpy as np

prototxt, caffemodel = sys.argv[1:]
cv2.setNumThreads(1)
net = cv2.dnn.readNetFromCaffe(prototxt, caffemodel)
names = list(net.getUnconnectedOutLayersNames())
net.setInput(np.random.default_rng(7).uniform(-1, 1, (1, 1, 28, 28)).astype(np.float32), "image")
# As long as an attempt warms up.
end = time.perf_counter() + 0.5
while time.perf_counter() < end:
    net.forward(names)
samples, end = [], time.perf_counter() + 1
while time.perf_counter() < end:
    start = time.perf_counter_ns()
    net.forward(names)
    samples.append(time.perf_counter_ns() - start)
print(statistics.median(samples) / 1e6)
