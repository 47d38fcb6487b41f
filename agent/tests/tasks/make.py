"""Makes a small labelled package of each task, and what the reference implementations say of its answers. Needs
xtask/requirements.txt; run it in its folder.

The models of the tests double their input, so each example holds half of what is answered. All values are such that
halving and doubling in f32 is exact.
"""

import contextlib
import io
import json
from pathlib import Path

import jiwer
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import f1_score, jaccard_score, mean_absolute_error, max_error, root_mean_squared_error
from sklearn.metrics.pairwise import cosine_similarity

rng = np.random.default_rng(20260731)
expected = {}


def package(name, task, examples, answers, labels, classes=()):
    folder = Path(name)
    folder.mkdir(exist_ok=True)
    np.save(folder / "inputs.npy", (np.asarray(answers, dtype=np.float32) / 2).astype("<f4"))
    lines = [f'name = "{name}"', f'task = "{task}"', f"examples = {examples}"]
    if classes:
        lines.append(f"classes = {json.dumps(list(classes))}")
    lines += ["", "[[inputs]]", 'name = "input"', 'kind = "npy"', 'member = "inputs.npy"', "", "[labels]", *labels]
    (folder / "dataset.toml").write_text("\n".join(lines) + "\n")
    return folder


def quarters(values):
    """Rounded to what a f32 holds exactly."""
    return np.round(np.asarray(values) * 4) / 4


def detection():
    images, classes, boxes = 6, ["cup", "cat", "car"], 9
    truth, answers = [], np.zeros((images, boxes, 6))
    for image in range(images):
        for row in range(boxes):
            left, top = quarters(rng.uniform(0, 200, 2))
            width, height = quarters(rng.uniform(8, 150, 2))
            kind = int(rng.integers(len(classes)))
            if row < 6:
                truth.append({"id": len(truth) + 1, "image_id": 100 + image, "category_id": 7 - kind,
                              "bbox": [left, top, width, height], "area": float(width * height),
                              "iscrowd": int(rng.random() < 0.1)})
                left, top, width, height = quarters([left, top, width, height] + rng.normal(0, 4, 4))
            score = np.float32(rng.integers(1, 1000) / 1024)
            answers[image, row] = [left, top, left + width, top + height, score, kind]
    file = {"images": [{"id": 100 + image} for image in range(images)],
            "categories": [{"id": 7 - kind, "name": name} for kind, name in enumerate(classes)], "annotations": truth}
    folder = package("detection", "detection", images, answers, ['kind = "coco"', 'member = "annotations.json"'], classes)
    (folder / "annotations.json").write_text(json.dumps(file))
    results = [{"image_id": 100 + image, "category_id": 7 - int(k), "score": float(score),
                "bbox": [left, top, right - left, bottom - top]}
               for image in range(images) for left, top, right, bottom, score, k in answers[image]]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = file
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = ["map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100"]
    expected["detection"] = {name: None if value == -1 else float(value)
                             for name, value in zip(names, evaluation.stats, strict=False)}


def segmentation():
    examples, classes, height, width = 4, ["road", "tree", "sky"], 6, 5
    truth = rng.integers(0, 3, (examples, height, width))
    answer = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 3, truth.shape))
    truth = np.where(rng.random(truth.shape) < 0.1, 255, truth).astype("u1")
    scores = np.eye(3)[answer].transpose(0, 3, 1, 2) * 2 + quarters(rng.uniform(0, 1.5, (examples, 3, height, width)))
    folder = package("segmentation", "segmentation", examples, scores,
                     ['kind = "npy"', 'member = "masks.npy"', "ignore = 255"], classes)
    np.save(folder / "masks.npy", truth)
    answer, kept = scores.argmax(1), truth != 255
    expected["segmentation"] = {"miou": float(jaccard_score(truth[kept], answer[kept], average="macro")),
                                "pixel_accuracy": float((truth[kept] == answer[kept]).mean())}


def text():
    alphabet, steps = "abcd 今天气", 24
    truth, read, scores = ["abc dab", "今天 天气", "a", "cc dd"], ["abd dab", "今天天气", "ab", "cc dd"], []
    for words in read:
        path = []
        for sign in words:
            if path and path[-1] == alphabet.index(sign) + 1:
                path.append(0)  # a blank between two equal characters
            path += [alphabet.index(sign) + 1] * int(rng.integers(1, 3))
        path = path[:steps] + [0] * (steps - len(path))
        scores.append(np.eye(len(alphabet) + 1)[path] * 2 + quarters(rng.uniform(0, 1.5, (steps, len(alphabet) + 1))))
    folder = package("text", "text", len(truth), scores, ['kind = "lines"', 'member = "texts.txt"'])
    (folder / "texts.txt").write_text("\n".join(truth) + "\n")
    expected["text"] = {"cer": jiwer.cer(truth, read), "wer": jiwer.wer(truth, read),
                        "text_exact": sum(a == b for a, b in zip(truth, read, strict=True)) / len(truth)}


def multilabel():
    examples, classes = 12, ["dog", "siren", "rain", "door"]
    labels = (rng.random((examples, 4)) < 0.4).astype(int)
    scores = np.clip(quarters(labels * 0.5 + rng.uniform(0, 0.75, labels.shape)) + np.arange(4) / 64, 0, 2)
    folder = package("multilabel", "multilabel", examples, scores,
                     ['kind = "csv"', 'member = "events.csv"', 'column = "events"'], classes)
    rows = [";".join(classes[k] for k in np.flatnonzero(row)) for row in labels]
    (folder / "events.csv").write_text("file,events\n" + "".join(f"{n}.wav,{row}\n" for n, row in enumerate(rows)))
    answered, labelled = (scores >= 0.75).astype(int), labels.any(1)
    expected["multilabel"] = {
        "top1": float(labels[np.arange(examples), scores.argmax(1)][labelled].mean()),
        "f1_macro": float(f1_score(labels, answered, average="macro")),
        "f1_micro": float(f1_score(labels, answered, average="micro")),
    }


def retrieval():
    examples, queries = 20, 6
    who = [f"person {n}" for n in rng.integers(0, 5, examples)]
    centres = {name: rng.normal(0, 1, 8) for name in sorted(set(who))}
    vectors = quarters([centres[name] * 3 + rng.normal(0, 3, 8) for name in who])
    folder = package("retrieval", "retrieval", examples, vectors,
                     ['kind = "lines"', 'member = "who.txt"', f"queries = {queries}"])
    (folder / "who.txt").write_text("\n".join(who) + "\n")
    names = np.array(who)
    order = np.argsort(-cosine_similarity(vectors[:queries], vectors[queries:]).round(12), axis=1, kind="stable")
    relevant = names[:queries, None] == names[None, queries:]
    judged, figures = relevant.any(1), {}
    for k in (1, 5, 10):
        found = np.take_along_axis(relevant, order[:, :k], axis=1)[judged]
        figures[f"hit_{k}"] = float(found.any(1).mean())
        figures[f"recall_{k}"] = float((found.sum(1) / relevant[judged].sum(1)).mean())
    expected["retrieval"] = figures


def regression():
    truth = quarters(rng.normal(40, 20, 15))
    answers = quarters(truth + rng.normal(0, 3, 15))
    folder = package("regression", "regression", 15, answers[:, None], ['kind = "npy"', 'member = "ages.npy"'])
    np.save(folder / "ages.npy", truth)
    expected["regression"] = {"mae": float(mean_absolute_error(truth, answers)),
                              "rmse": float(root_mean_squared_error(truth, answers)),
                              "max_error": float(max_error(truth, answers))}


for make in (detection, segmentation, text, multilabel, retrieval, regression):
    make()
Path("expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
