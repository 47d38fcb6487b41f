#!/usr/bin/env python3
"""A runner that does what its model's file says, for tests of every way in which a runner can fail.

Its model has four inputs and doubles the first two. `BEHAVIOUR` or `BEHAVIOUR in load`, as in `segfault in load`; what is
not said to be in load is done at the third inference or with what is told of it.
"""

import hashlib
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import seatrial_runner
from seatrial_runner import Loaded, Runner, RunnerError, Value, data, fields, message, number, packed, tensor

# Of an inference, in nanoseconds; of a script that begins with `slow`.
WORK, SLOW = 200_000, 5_000_000


class Scripted(Runner):
    runtime, version, formats = "scripted", "1.2", ["onnx"]
    build = "for tests"
    accelerators = (("cpu", "", "", False), ("gpu", "imagined", "", False))

    def load(self, request):
        with open(request.file("model"), encoding="utf-8") as file:
            self.script = file.read().strip()
        self.count = 0
        script, _, place = self.script.partition(" in ")
        if place == "load":
            misbehave(script, self.session)
        elif script == "unsupported op":
            raise RunnerError("unsupported_op", "there is no kernel", operator="Fancy", code="7")
        elif script == "out of memory":
            raise MemoryError
        elif script == "compile fail":
            raise RunnerError("internal", "the shader does not compile", stage="compile")
        elif script == "two threads":
            threading.Thread(target=compute, daemon=True).start()
        elif script == "no model":
            raise RunnerError("bad_input", "the file is no model")
        fallback = "3 of 10 nodes have no kernel" if script == "fallback" else ""
        # Asked for a GPU, it has none.
        accelerator = request.accelerator if script == "fallback" or script.startswith("gpu ") else "cpu"
        counts = {"fallback": (7, 10), "gpu partly": (7, 10), "gpu whole": (10, 10), "gpu admits": (10, 10)}
        delegated, nodes = counts.get(script, (None, None))
        if script == "gpu admits":
            print("DNN: tested with GPUs only, switching to CPU", file=sys.stderr, flush=True)
        return Loaded(inputs=[tensor("input", "f32", [1, 4])], outputs=[tensor("output", "f32", [1, 2])],
                      accelerator=accelerator, precision="fp32", threads=request.threads, fallback=fallback,
                      delegated=delegated, nodes=nodes)  # fmt: skip

    def set_inputs(self, inputs):
        self.values = struct.unpack("<4f", inputs["input"].content)

    def infer(self):
        begun = time.perf_counter_ns()
        work = SLOW if self.script.startswith("slow ") else WORK
        self.count += 1
        if self.count == 3 and self.script in BEHAVIOURS:
            misbehave(self.script, self.session)
        self.result = [2 * value for value in self.values[:2]]
        while time.perf_counter_ns() - begun < work:
            pass

    def outputs(self):
        values = [math.nan, 1.0] if self.script == "nan" else self.result
        return [Value("output", "f32", [1, 2], struct.pack("<2f", *values))]


class Session(seatrial_runner.Session):
    """Says what the script says instead of the truth."""

    def say(self, number_of, kind, content):
        script = getattr(self.runner, "script", "well")
        if kind == "samples" and script in LIES:
            told = dict(fields(content))
            ns, starts = LIES[script](seatrial_runner.numbers(told[1]), seatrial_runner.numbers(told[6]))
            content = packed(1, ns) + data(2, told[2]) + number(3, told[3]) + packed(6, starts)
        elif kind == "outputs" and script == "wrong size":
            content = message(1, data(1, "output") + number(2, 1) + packed(3, [1, 2]) + data(4, b"\0" * 12))
        elif kind == "outputs" and script == "wrong shape":
            content = message(1, data(1, "output") + number(2, 1) + packed(3, [1, 3]) + data(4, b"\0" * 12))
        elif kind == "outputs" and script == "no output":
            content = b""
        elif kind == "outputs" and script in PROMISES:
            frame = number(1, number_of) + message(seatrial_runner.ANSWERS[kind], content)
            self.outgoing.write(struct.pack("<I", len(frame) + PROMISES[script]) + frame)
            self.outgoing.flush()
            return
        super().say(number_of, kind, content)


LIES = {
    "long samples": lambda ns, starts: ([3 * one for one in ns], [3 * one for one in starts]),
    "short samples": lambda ns, starts: ([one // 10 for one in ns], starts),
    "slow shaved samples": lambda ns, starts: ([shaved(one) for one in ns], starts),
    "slow shaved samples and starts": lambda ns, starts: ([shaved(one) for one in ns], [shaved(one) for one in starts]),
    "equal samples": lambda ns, starts: ([WORK for _ in ns], starts),
    "overlapping samples": lambda ns, starts: (ns, [one // 2 for one in starts]),
    "fewer samples": lambda ns, starts: (ns[:10], starts[:10]),
}


def shaved(time):
    return time * 92 // 100


def compute():
    """As a library that uses more threads than it was told: hashing lets the interpreter's lock go."""
    block = bytes(32 << 20)
    while True:
        hashlib.sha256(block)


# By how many bytes a frame is said to be longer than it is.
PROMISES = {"short promise": -3, "long promise": 3}

BEHAVIOURS = {}


def behaviour(name):
    return lambda function: BEHAVIOURS.setdefault(name, function)


def misbehave(name, session):
    BEHAVIOURS[name](session)


@behaviour("segfault")
def segfault(_):
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


@behaviour("exit 0")
def exit_0(_):
    os._exit(0)


@behaviour("exit 3")
def exit_3(_):
    os._exit(3)


@behaviour("hang")
def hang(_):
    while True:
        time.sleep(1)


@behaviour("silence")
def silence(session):
    # As a framework that keeps the interpreter's lock: no thread says anything.
    with session.lock:
        hang(session)


@behaviour("print")
def prints(_):
    print("Loading model...", flush=True)
    os.write(1, b"a banner of C\n")


@behaviour("break frames")
def break_frames(session):
    session.outgoing.write(b"Loading model...\n")
    session.outgoing.flush()
    hang(session)


@behaviour("die in frame")
def die_in_frame(session):
    session.outgoing.write(struct.pack("<I", 100) + b"half")
    session.outgoing.flush()
    os._exit(3)


@behaviour("huge frame")
def huge_frame(session):
    session.outgoing.write(b"\xff\xff\xff\xff")
    session.outgoing.flush()
    hang(session)


@behaviour("flood")
def flood(session):
    block = os.urandom(1 << 16).replace(b"\0", b"\xff")
    while True:
        session.outgoing.write(block)


@behaviour("flood of progress")
def flood_of_progress(session):
    for _ in range(20_000):
        session.say(session.busy[0], "progress", number(1, 2))


@behaviour("flood standard error")
def flood_standard_error(_):
    for _ in range(8 << 8):
        sys.stderr.write("#" * 4095 + "\n")


@behaviour("close output")
def close_output(session):
    session.outgoing.close()
    hang(session)


@behaviour("escape")
def escape(_):
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
        os._exit(0)


@behaviour("trespass")
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
        raise RunnerError("internal", ", ".join(done))


if __name__ == "__main__":
    if os.environ.get("SEATRIAL_TOKEN") or os.environ.get("SECRET"):
        raise SystemExit("the agent's environment is none of a runner's business")
    # As `serve`, with a session that lies.
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    runner = Scripted()
    runner.session = Session(runner, incoming, outgoing)
    runner.session.run()
