#!/usr/bin/env python3
"""Scores how far a classifier's confidence can be trusted: expected calibration error and negative log-likelihood.

The labels are a JSON file: `{"labels": [3, 0, …]}` with the class of each example, and where they are not as here
`"output": "logits"` (the only output), `"scores": "logits"` (or `"probabilities"`) and `"bins": 15`.

- `ece`: the examples are put into bins of equal width by the probability of their first class, and the difference between
  the share that is right and the mean probability is averaged over the bins, each as its number of examples [Guo et al.,
  On Calibration of Modern Neural Networks, 2017]. A probability on the border of two bins belongs to the lower one.
- `nll`: the mean of minus the natural logarithm of the label's probability, with its normal 95 % interval.
"""

import json
import math
import struct
import sys

from seatrial_runner import Figure, RunnerError, Scorer, serve

FORMATS = {"f32": "f", "f64": "d", "f16": "e"}
NAMES = ("ece", "nll")


def numbers(value):
    """The numbers of a tensor, whose axes are one of classes and any of size 1."""
    if value.kind not in FORMATS:
        raise RunnerError("bad_input", "output %r is of type %s: expected numbers with fractions" % (value.name, value.kind))
    size = struct.calcsize(FORMATS[value.kind])
    return list(struct.unpack("<%d%s" % (len(value.content) // size, FORMATS[value.kind]), value.content))


def softmax(logits):
    """Logarithms of probabilities."""
    most = max(logits)
    log_sum = most + math.log(math.fsum(math.exp(logit - most) for logit in logits))
    return [logit - log_sum for logit in logits]


class Calibration(Scorer):
    runtime, version = "calibration", "1"

    def open(self, request):
        unknown = sorted(set(request.metrics) - set(NAMES))
        if unknown:
            raise RunnerError("bad_input", "this scorer knows %s, and not %s" % (", ".join(NAMES), ", ".join(unknown)))
        if not request.labels:
            raise RunnerError("bad_input", "the dataset has no labels: add [labels] with kind = \"file\"")
        with open(request.labels, encoding="utf-8") as file:
            told = json.load(file)
        self.metrics = request.metrics
        self.labels, self.output = told["labels"], told.get("output")
        self.is_logits, self.bins = told.get("scores", "logits") == "logits", told.get("bins", 15)
        if len(self.labels) != request.examples:
            text = "there are %d labels for %d examples" % (len(self.labels), request.examples)
            raise RunnerError("bad_input", text)
        self.losses = []
        # Of each bin: examples, those that are right, and the sum of their confidences.
        self.binned = [[0, 0, 0.0] for _ in range(self.bins)]

    def judge(self, index, outputs):
        scores = numbers(self.chosen(outputs))
        label = self.labels[index]
        if not 0 <= label < len(scores):
            raise RunnerError("bad_input", "label %d of example %d is no class of %d" % (label, index, len(scores)))
        if not all(map(math.isfinite, scores)):
            raise RunnerError("bad_input", "an output of example %d is not a finite number" % index)
        if self.is_logits:
            logs = softmax(scores)
        elif min(scores) < 0 or abs(math.fsum(scores) - 1) > 1e-3:
            raise RunnerError("bad_input", "the outputs of example %d are no probabilities" % index)
        else:
            logs = [math.log(score) if score > 0 else -math.inf for score in scores]
        best = max(range(len(logs)), key=lambda kind: (logs[kind], -kind))
        confidence, right = min(math.exp(logs[best]), 1.0), best == label
        chosen = self.binned[min(max(math.ceil(confidence * self.bins) - 1, 0), self.bins - 1)]
        chosen[0] += 1
        chosen[1] += right
        chosen[2] += confidence
        self.losses.append(-logs[label])
        return right

    def chosen(self, outputs):
        if self.output in outputs:
            return outputs[self.output]
        if self.output is None and len(outputs) == 1:
            return next(iter(outputs.values()))
        wanted = "one output" if self.output is None else "the output %r" % self.output
        raise RunnerError("bad_input", "the labels ask for %s, and the model has %s" % (wanted, sorted(outputs)))

    def figures(self):
        told = {"ece": self.ece, "nll": self.nll}
        return [told[name]() for name in self.metrics]

    def ece(self):
        count = len(self.losses)
        gaps = (abs(right - confidence) for examples, right, confidence in self.binned if examples)
        return Figure("ece", math.fsum(gaps) / count, examples=count)

    def nll(self):
        count = len(self.losses)
        if not all(map(math.isfinite, self.losses)):
            hopeless = sum(map(math.isinf, self.losses))
            return Figure("nll", absent="%d examples have a label of probability 0, so that it is infinite" % hopeless)
        mean = math.fsum(self.losses) / count
        if count < 2:
            return Figure("nll", mean, examples=count)
        variance = math.fsum((loss - mean) ** 2 for loss in self.losses) / (count - 1)
        half = 1.959963984540054 * math.sqrt(variance / count)
        return Figure("nll", mean, mean - half, mean + half, count)


if __name__ == "__main__":
    if sys.version_info < (3, 8):
        raise SystemExit("Python 3.8 or later is needed")
    serve(Calibration())
