"""Everything that a runner needs: a program that loads models of one framework and times itself, or a scorer, which comes
with a dataset and judges what any model answers to it.

A runner subclasses `Runner`, fills in a few methods and calls `serve`. Nothing but Python's own library (3.8 or later)
is needed, since the frameworks that need runners disagree about the version of protobuf. The protocol is
`proto/seatrial/v1/runner.proto`; `seatrial-agent runner check PROGRAM` holds any program against it.

    class Doubler(Runner):
        runtime, version, formats = "doubler", "1", ["onnx"]

        def load(self, request):
            return Loaded(inputs=[tensor("x", "f32", [4])], outputs=[tensor("y", "f32", [4])])

        def set_inputs(self, inputs):
            self.x = array("f", inputs["x"].content)

        def infer(self):
            self.y = array("f", (2 * x for x in self.x))

        def outputs(self):
            return [Value("y", "f32", [4], self.y.tobytes())]

    serve(Doubler())

A scorer subclasses `Scorer`:

    class Negative(Scorer):
        version = "1"

        def open(self, request):
            self.seen = self.negative = 0

        def judge(self, index, outputs):
            (value,) = array("f", outputs["y"].content)
            self.seen, self.negative = self.seen + 1, self.negative + (value < 0)

        def figures(self):
            return [Figure("negative", self.negative / self.seen, examples=self.seen)]

    serve(Negative())
"""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

PROTOCOL = 1
# No frame is longer, and a tensor above this goes by file, in bytes.
MAX_FRAME = 16 << 20
INLINE = 1 << 20
INLINE_TOGETHER = 8 << 20
# Samples of one message.
CHUNK = 4096
# Between two signs of life, in seconds.
ALIVE = 2


def numbered(names):
    return {name: number for number, name in enumerate(names.split(), 1)}


ELEMENT_TYPES = numbered("f32 f16 bf16 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool i4 u4 string")
ELEMENT_NAMES = {number: name for name, number in ELEMENT_TYPES.items()}
# Bytes of an element, of the types that are read here.
SIZES = {"f32": 4, "f16": 2, "bf16": 2, "f64": 8, "i8": 1, "u8": 1, "i16": 2, "u16": 2, "i32": 4, "u32": 4, "i64": 8,
         "u64": 8, "bool": 1}  # fmt: skip
FEATURES = numbered("tensors tokens text streaming scoring images profiling cancel energy judging")
STAGES = numbered("hello load compile allocate first_inference warmup measure generate score teardown")
ERRORS = numbered(
    "unsupported_op unsupported_format wrong_abi missing_library no_device fallback_refused out_of_memory bad_input "
    "timeout internal"
)
REQUESTS = {number: name for name, number in numbered(
    "- load run generate score tokenize probe profile unload cancel shutdown open judge conclude").items()}  # fmt: skip
ANSWERS = numbered(
    "- hello loaded samples outputs tokens generated scored tokenized probed profiled done progress error judged figures"
)
CAPTURE_LAST, CAPTURE_ALL = 2, 3


class RunnerError(Exception):
    """What went wrong: one of `ERRORS`, in words; `stage` is one of `STAGES`, where the SDK cannot tell."""

    def __init__(self, kind, message, stage=None, operator="", code=""):
        super().__init__(message)
        self.kind, self.stage, self.operator, self.code = kind, stage, operator, code


# --- the wire: what protobuf writes, as far as the protocol needs it ---


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(tag, value):
    return some_number(tag, value) if value else b""


def some_number(tag, value):
    """An `optional` number, which is written also when it is zero."""
    return b"" if value is None else varint(tag << 3) + varint(int(value))


def message(tag, content):
    return varint(tag << 3 | 2) + varint(len(content)) + content


def data(tag, value):
    value = value.encode() if isinstance(value, str) else value
    return message(tag, value) if value else b""


def packed(tag, values):
    return data(tag, b"".join(map(varint, values)))


def double(tag, value):
    return varint(tag << 3 | 1) + struct.pack("<d", value)


def read_varint(buffer, at):
    value = shift = 0
    while True:
        if at >= len(buffer) or shift > 63:
            raise RunnerError("bad_input", "a number of the message does not end")
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(buffer):
    """The fields of a message as (tag, value): a number, or bytes."""
    at = 0
    while at < len(buffer):
        key, at = read_varint(buffer, at)
        tag, kind = key >> 3, key & 7
        if kind == 0:
            value, at = read_varint(buffer, at)
            yield tag, value
            continue
        if kind == 2:
            length, at = read_varint(buffer, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise RunnerError("bad_input", "wire type %d is not used" % kind)
        if at + length > len(buffer):
            raise RunnerError("bad_input", "a field is longer than its message")
        yield tag, bytes(buffer[at : at + length])
        at += length


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def numbers(value):
    """A repeated number: one, or several packed."""
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        one, at = read_varint(value, at)
        found.append(one)
    return found


# --- what a runner says and hears ---


@dataclass
class Tensor:
    """An input or output as a model declares it; −1 for an axis that the caller fixes."""

    name: str
    kind: str
    shape: list


def tensor(name, kind, shape):
    return Tensor(name, kind, list(shape))


@dataclass
class Value:
    """A tensor with its content: dense, little-endian."""

    name: str
    kind: str
    shape: list
    content: bytes


@dataclass
class LoadRequest:
    """`files` are roles and paths in the order of the variant; `cache_folder` is the one folder that may be written."""

    files: list = field(default_factory=list)
    format: str = ""
    accelerator: str = "cpu"
    precision: str = ""
    threads: int = 1
    cache_folder: str = ""
    options: dict = field(default_factory=dict)
    allow_fallback: bool = False

    def file(self, role):
        """The path of the one file that has this role."""
        found = [path for of, path in self.files if of == role]
        if len(found) != 1:
            roles = ", ".join(of for of, _ in self.files)
            raise RunnerError("bad_input", "the variant needs one file with the role %r, and has %s" % (role, roles))
        return found[0]


@dataclass
class Loaded:
    """What a model turned out to be. `accelerator` is what really computes; `rest` names nodes that are not on it."""

    inputs: list
    outputs: list
    accelerator: str = "cpu"
    precision: str = ""
    threads: int | None = None
    delegated: int | None = None
    nodes: int | None = None
    rest: list = field(default_factory=list)
    fallback: str = ""
    # In nanoseconds, where the framework tells them apart.
    compile_ns: int = 0
    upload_ns: int = 0
    allocate_ns: int = 0


class Runner:
    """One framework. Whatever a method raises is told to the agent; `RunnerError` says of which kind it is."""

    runtime = "unnamed"
    version = "0"
    build = ""
    formats: Any = ()
    # Kind, device, driver, and whether it is a CPU after all.
    accelerators: Any = (("cpu", "", "", False),)

    def load(self, request):
        """Makes a model ready, and returns `Loaded`."""
        raise NotImplementedError

    def set_inputs(self, inputs):
        """Takes `Value`s by name, for every inference from now on; not timed."""
        raise NotImplementedError

    def infer(self):
        """One inference, to its end: all that is timed."""
        raise NotImplementedError

    def outputs(self):
        """The last inference's outputs as `Value`s, in the order of `Loaded.outputs`; not timed."""
        raise NotImplementedError

    def unload(self):
        """Lets go of the model."""


@dataclass
class OpenRequest:
    """What a scorer is to judge: `labels` is the path of the dataset's own file for it, empty when there is none, and
    `metrics` are the names of the figures that it will be asked for. `cache_folder` is the one folder that may be
    written."""

    labels: str = ""
    examples: int = 0
    cache_folder: str = ""
    metrics: list = field(default_factory=list)


@dataclass
class Figure:
    """One figure: its value, the bounds of its 95 % interval and the number of examples that it rests on where there are
    any; or, with `value` None, why there is none in `absent`."""

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    examples: int | None = None
    absent: str = ""


class Scorer:
    """Judges the outputs of any model on one dataset. Whatever a method raises ends the judging."""

    runtime = "scorer"
    version = "0"
    build = ""

    def open(self, request):
        """Begins anew: reads the labels, forgets what was judged before."""
        raise NotImplementedError

    def judge(self, index, outputs):
        """Takes the outputs of one example, `Value`s by name; may return whether it is right, and then of every one."""
        raise NotImplementedError

    def figures(self):
        """A `Figure` for each metric that `open` was told of, and no other."""
        raise NotImplementedError


def asked_accelerator():
    """What will be asked for, told before a model is: looking for a GPU costs time and memory that are no part of a job
    on the CPU."""
    return os.environ.get("SEATRIAL_ACCELERATOR", "cpu")


def serve(runner):
    """Answers the agent until it hangs up."""
    # The protocol has its streams to itself; whatever the framework prints goes to the log.
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    (Judging if isinstance(runner, Scorer) else Session)(runner, incoming, outgoing).run()


class Session:
    """The protocol over two streams."""

    def __init__(self, runner, incoming, outgoing):
        self.runner, self.incoming, self.outgoing = runner, incoming, outgoing
        self.lock = threading.Lock()
        self.folder = ""
        self.loaded = None
        self.inferred = False
        # The request that takes its time: its number, stage, and how far it is.
        self.answering = threading.Lock()
        self.busy = None

    def run(self):
        self.say(0, "hello", self.hello())
        threading.Thread(target=self.live, daemon=True).start()
        while True:
            request = self.hear()
            if request is None:
                # Nobody is left to hear what a framework's own ending has to say, and some of them hang in it.
                os._exit(0)
            self.answer(*request)

    def hear(self):
        """The next request as its number, its kind and its body; `None` at the end."""
        head = self.incoming.read(4)
        if len(head) < 4:
            return None
        (length,) = struct.unpack("<I", head)
        if length > MAX_FRAME:
            raise SystemExit("a frame of %d bytes is longer than any of the protocol" % length)
        body = self.incoming.read(length)
        if len(body) < length:
            return None
        number_of, kind, content = 0, None, b""
        for tag, value in fields(body):
            if tag == 1:
                number_of = value
            elif tag in REQUESTS:
                kind, content = REQUESTS[tag], value
        return number_of, kind, content

    def say(self, number_of, kind, content):
        frame = number(1, number_of) + message(ANSWERS[kind], content)
        with self.lock:
            self.outgoing.write(struct.pack("<I", len(frame)) + frame)
            self.outgoing.flush()

    def live(self):
        while True:
            time.sleep(ALIVE)
            with self.answering:
                # Held until it is said: no sign of life comes after the last answer.
                if self.busy is not None:
                    number_of, stage, share = self.busy
                    known = share()
                    body = number(1, STAGES[stage]) + (b"" if known is None else double(2, known))
                    self.say(number_of, "progress", body)

    def answer(self, number_of, kind, body):
        if kind == "shutdown":
            self.say(number_of, "done", b"")
            os._exit(0)
        stage, handler = self.offered().get(kind, ("hello", None))
        self.busy = (number_of, stage, lambda: None)
        try:
            if handler is None:
                raise RunnerError("bad_input", "this runner does not offer the request %s" % (kind or "of that number"))
            last = handler(number_of, body)
        except RunnerError as error:
            last = self.error(error.stage or stage, error.kind, str(error), error.operator, error.code)
        except MemoryError:
            last = self.error(stage, "out_of_memory", "the framework found no memory")
        except Exception as error:
            last = self.error(stage, "internal", "%s: %s" % (type(error).__name__, error))
        with self.answering:
            self.busy = None
        self.say(number_of, *last)

    def offered(self):
        """Stage and handler of each request that is answered."""
        return {"load": ("load", self.load), "unload": ("teardown", self.unload),
                "run": ("measure" if self.inferred else "first_inference", self.measure)}  # fmt: skip

    def error(self, stage, kind, text, operator="", code=""):
        body = number(1, STAGES[stage]) + number(2, ERRORS[kind]) + data(3, code) + data(4, text[:8000] or kind)
        return "error", body + data(5, operator)

    def hello(self):
        runner = self.runner
        body = number(1, PROTOCOL) + number(2, PROTOCOL)
        body += data(3, runner.runtime) + data(4, runner.version) + data(5, runner.build)
        for kind, device, driver, software in runner.accelerators:
            body += message(6, data(1, kind) + data(2, device) + data(3, driver) + number(4, software))
        body += b"".join(data(7, name) for name in runner.formats)
        return body + packed(8, [ELEMENT_TYPES[name] for name in SIZES]) + packed(9, [FEATURES["tensors"]])

    # --- loading ---

    def load(self, _, body):
        request = LoadRequest()
        for tag, value in fields(body):
            if tag == 1:
                one = dict(fields(value))
                request.files.append((one.get(1, b"model").decode(), one.get(2, b"").decode()))
            elif tag == 2:
                request.format = value.decode()
            elif tag == 3:
                request.accelerator = value.decode()
            elif tag == 4:
                request.precision = value.decode()
            elif tag == 5:
                request.threads = value
            elif tag == 7:
                request.cache_folder = value.decode()
            elif tag == 8:
                one = dict(fields(value))
                request.options[one.get(1, b"").decode()] = one.get(2, b"").decode()
            elif tag == 9:
                request.allow_fallback = bool(value)
        for _, path in request.files:
            if not os.path.isfile(path):
                raise RunnerError("bad_input", "there is no file %s" % path)
        self.folder, self.loaded, self.inferred = request.cache_folder, None, False
        begun = time.perf_counter_ns()
        loaded = self.runner.load(request)
        read = time.perf_counter_ns() - begun - loaded.compile_ns - loaded.upload_ns - loaded.allocate_ns
        if loaded.accelerator != request.accelerator and not request.allow_fallback:
            asked = "%s is asked for and %s computes" % (request.accelerator, loaded.accelerator)
            raise RunnerError("fallback_refused", asked + (": " + loaded.fallback if loaded.fallback else ""))
        self.loaded = loaded
        body = number(1, max(read, 0)) + number(2, loaded.compile_ns)
        body += number(3, loaded.upload_ns) + number(4, loaded.allocate_ns)
        for tag, tensors in ((5, loaded.inputs), (6, loaded.outputs)):
            for one in tensors:
                kind = number(2, ELEMENT_TYPES[one.kind])
                body += message(tag, data(1, one.name) + kind + packed(3, one.shape))
        body += data(7, loaded.accelerator) + data(8, loaded.precision)
        body += some_number(9, loaded.delegated) + some_number(10, loaded.nodes)
        body += b"".join(data(11, name) for name in loaded.rest[:32]) + data(12, loaded.fallback)
        return "loaded", body + some_number(17, loaded.threads)

    def unload(self, *_):
        self.loaded = None
        self.runner.unload()
        return "done", b""

    # --- running ---

    def measure(self, number_of, body):
        if self.loaded is None:
            raise RunnerError("bad_input", "no model is loaded")
        inputs, asked = [], {}
        for tag, value in fields(body):
            if tag == 1:
                inputs.append(self.value(value))
            else:
                asked[tag] = value
        capture = asked.get(5, 0)
        if capture == CAPTURE_ALL or asked.get(6):
            raise RunnerError("bad_input", "this runner neither keeps the outputs of all inferences nor clears caches")
        if inputs:
            self.set_inputs(inputs)
        for _ in range(asked.get(2, 0)):
            self.runner.infer()
        self.loop(number_of, asked.get(3, 0), asked.get(4, 0), asked.get(8, 0), asked.get(7, 0), asked.get(9, 0))
        self.inferred = True
        outputs = self.runner.outputs()
        if capture == CAPTURE_LAST:
            return "outputs", self.written(outputs)
        digest = hashlib.sha256()
        for one in outputs:
            digest.update(one.content)
        return "outputs", data(2, digest.digest())

    def set_inputs(self, inputs):
        given, known = sorted(one.name for one in inputs), sorted(one.name for one in self.loaded.inputs)
        if given != known:
            raise RunnerError("bad_input", "the model has the inputs %s and is given %s" % (known, given))
        self.runner.set_inputs({one.name: one for one in inputs})

    def loop(self, number_of, repeat, least, most, longest, interval):
        """Times one inference after the other, and tells the times in chunks, between two inferences."""
        infer, clock = self.runner.infer, time.perf_counter_ns
        count = inferring = 0
        samples, starts = [], []
        begun = first = clock()

        def share():
            of_count = count / repeat if repeat else 1.0
            of_time = (clock() - begun) / least if least else 1.0
            return min(of_count, of_time, 1.0)

        self.busy = (number_of, self.busy[1], share)
        while True:
            if interval:
                time.sleep(max(begun + count * interval - clock(), 0) / 1e9)
            start = clock()
            infer()
            end = clock()
            if count == 0:
                first = start
            count += 1
            inferring += end - start
            samples.append(end - start)
            starts.append(start - first)
            elapsed = end - begun
            enough = count >= repeat and elapsed >= least
            if enough or (most and count >= most) or (longest and elapsed >= longest):
                break
            if len(samples) == CHUNK:
                self.tell(number_of, samples, starts)
                samples, starts = [], []
        self.tell(number_of, samples, starts, number(4, elapsed - inferring))

    def tell(self, number_of, samples, starts, more=b""):
        info = time.get_clock_info("perf_counter")
        clock = data(2, "perf_counter") + number(3, max(int(info.resolution * 1e9), 1))
        self.say(number_of, "samples", packed(1, samples) + clock + more + packed(6, starts))

    def value(self, body):
        name, kind, shape, content = "", "", [], b""
        for tag, value in fields(body):
            if tag == 1:
                name = value.decode()
            elif tag == 2:
                kind = ELEMENT_NAMES.get(value, "")
            elif tag == 3:
                shape += [signed(one) for one in numbers(value)]
            elif tag == 4:
                content = value
            elif tag == 5:
                with open(os.path.join(self.folder, os.path.basename(value.decode())), "rb") as file:
                    content = file.read()
        check_size(name, kind, shape, content)
        return Value(name, kind, shape, content)

    def written(self, outputs):
        body, left = b"", INLINE_TOGETHER
        for index, one in enumerate(outputs):
            check_size(one.name, one.kind, one.shape, one.content)
            head = data(1, one.name) + number(2, ELEMENT_TYPES[one.kind]) + packed(3, one.shape)
            if len(one.content) <= min(INLINE, left):
                left -= len(one.content)
                body += message(1, head + message(4, one.content))
            else:
                file_name = "output-%d.bin" % index
                with open(os.path.join(self.folder, file_name), "wb") as file:
                    file.write(one.content)
                body += message(1, head + data(5, file_name))
        return body


class Judging(Session):
    """The protocol of a scorer over two streams."""

    def hello(self):
        scorer = self.runner
        body = number(1, PROTOCOL) + number(2, PROTOCOL)
        body += data(3, scorer.runtime) + data(4, scorer.version) + data(5, scorer.build)
        return body + packed(8, [ELEMENT_TYPES[name] for name in SIZES]) + packed(9, [FEATURES["judging"]])

    def offered(self):
        return {kind: ("score", getattr(self, kind)) for kind in ("open", "judge", "conclude")}

    def open(self, _, body):
        request = OpenRequest()
        for tag, value in fields(body):
            if tag == 1:
                request.labels = value.decode()
            elif tag == 2:
                request.examples = value
            elif tag == 3:
                request.cache_folder = value.decode()
            elif tag == 4:
                request.metrics.append(value.decode())
        self.folder, self.loaded = request.cache_folder, None
        self.runner.open(request)
        self.loaded = request
        return "done", b""

    def judge(self, _, body):
        self.check_open()
        index, outputs = 0, {}
        for tag, value in fields(body):
            if tag == 1:
                index = value
            elif tag == 2:
                one = self.value(value)
                outputs[one.name] = one
        right = self.runner.judge(index, outputs)
        return "judged", some_number(1, right)

    def conclude(self, *_):
        self.check_open()
        body = b""
        for one in self.runner.figures():
            content = data(1, one.name)
            for tag, value in ((2, one.value), (3, one.low), (4, one.high)):
                content += b"" if value is None else double(tag, value)
            body += message(1, content + some_number(5, one.examples) + data(6, one.absent))
        return "figures", body

    def check_open(self):
        if self.loaded is None:
            raise RunnerError("bad_input", "nothing was opened that could be judged")


def check_size(name, kind, shape, content):
    if kind not in SIZES:
        raise RunnerError("bad_input", "tensor %r is of type %r, which is not read" % (name, kind))
    expected = SIZES[kind]
    for axis in shape:
        expected *= axis
    if len(content) != expected:
        what = "tensor %r of %s %s takes %d bytes and has %d"
        raise RunnerError("bad_input", what % (name, kind, list(shape), expected, len(content)))
