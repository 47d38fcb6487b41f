#!/usr/bin/env python3
"""A scorer that does what its labels say, for tests of every way in which a scorer can fail.

It tells the mean of all values of the one output, and how many there are. `BEHAVIOUR in open`, `… in judge` (at the second
example) or `… in conclude`, or the name of a lie about the figures.
"""

import math
import os
import signal
import socket
import struct
import subprocess
import sys
import time

import seatrial_runner
from seatrial_runner import Figure, Scorer


class Scripted(Scorer):
    runtime, version = "scripted", "1"

    def open(self, request):
        with open(request.labels, encoding="utf-8") as file:
            self.script = file.read().strip()
        self.values, self.examples = [], request.examples
        self.behave("open")

    def judge(self, index, outputs):
        (output,) = outputs.values()
        self.values += struct.unpack("<%df" % (len(output.content) // 4), output.content)
        if index == 1:
            self.behave("judge")
        if self.script == "verdicts" or (self.script == "some verdicts" and index < 2):
            return index % 2 == 0
        return None

    def figures(self):
        self.behave("conclude")
        mean = math.fsum(self.values) / len(self.values)
        honest = [Figure("mean", mean, mean - 1, mean + 1, self.examples), Figure("values", len(self.values))]
        return LIES.get(self.script, lambda mean, values: [mean, values])(*honest)

    def behave(self, place):
        name, _, wanted = self.script.partition(" in ")
        if wanted == place:
            BEHAVIOURS[name](self.session)


LIES = {
    "other metric": lambda mean, values: [mean, values, Figure("median", 1.0)],
    "missing metric": lambda mean, values: [mean],
    "metric twice": lambda mean, values: [mean, values, mean],
    "not a number": lambda mean, values: [Figure("mean", math.nan), values],
    "bounds the wrong way": lambda mean, values: [Figure("mean", 1.0, 2.0, 0.0), values],
    "one bound": lambda mean, values: [Figure("mean", 1.0, low=0.5), values],
    "more examples": lambda mean, values: [Figure("mean", 1.0, examples=1000), values],
    "neither value nor reason": lambda mean, values: [Figure("mean"), values],
    "many figures": lambda mean, values: [Figure("m%d" % number, 1.0) for number in range(2_000)],
    "absent": lambda mean, values: [Figure("mean", absent="nothing has a mean today"), values],
}


def hang(_):
    while True:
        time.sleep(1)


def silence(session):
    # As something that keeps the interpreter's lock: no thread says anything.
    with session.lock:
        hang(session)


def flood(session):
    while True:
        session.outgoing.write(b"\xff" * (1 << 16))


def flood_of_progress(session):
    while True:
        session.say(session.busy[0], "progress", b"")


def flood_standard_error(_):
    for _ in range(8 << 8):
        sys.stderr.write("#" * 4095 + "\n")


def deafness(session):
    session.hear = lambda: hang(session)


def throw(_):
    raise ValueError("the labels make no sense")


def trespass(_):
    done = []
    for name, attempt in [
        ("wrote outside its folder", lambda: open("../../trespassed", "w").close()),
        ("read a file of the system", lambda: open("/etc/passwd").close()),
        ("started a program", lambda: subprocess.run(["/bin/true"], check=True)),
        ("called out", lambda: socket.create_connection(("127.0.0.1", 9), timeout=1)),
    ]:
        try:
            attempt()
            done.append(name)
        except ConnectionRefusedError:
            done.append(name)
        except (OSError, subprocess.SubprocessError):
            pass
    if done:
        raise ValueError(", ".join(done))


BEHAVIOURS = {
    "segfault": lambda _: os.kill(os.getpid(), signal.SIGSEGV),
    "exit 0": lambda _: os._exit(0),
    "exit 3": lambda _: os._exit(3),
    "print": lambda _: (print("a line", flush=True), os.write(1, b"of C\n")),
    "hang": hang,
    "silence": silence,
    "flood": flood,
    "flood of progress": flood_of_progress,
    "flood standard error": flood_standard_error,
    "deafness": deafness,
    "throw": throw,
    "trespass": trespass,
}


if __name__ == "__main__":
    # As `serve`, with a session that misbehaves.
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    scorer = Scripted()
    scorer.session = seatrial_runner.Judging(scorer, incoming, outgoing)
    scorer.session.run()
