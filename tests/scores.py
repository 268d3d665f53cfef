#!/usr/bin/env python3
"""scores.py - whole test sets through the program, packed, against the scores of the reference.

    scores.py PROGRAM --fashion DIR --easy-vqa DIR [--batch-size N] [--precision f32|bf16|int8]

    vit-fashion, clip-fashion   the 10,000 test pictures of Fashion-MNIST (DIR: the idx files, gzip)
    llava-easyvqa               easy-VQA's 9,673 test questions, greedy (DIR: the package's data folder)

Run from the root of the source tree; only the standard library is used. A score is right if as many are correct as
models/NAME/results.json says; in bf16 and int8, if no more than one in 200 fewer are. Pictures and lists go to a temporary folder.
"""
import argparse
import gzip
import json
import os
import struct
import subprocess
import tempfile
import time
import zlib

GARMENTS = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def png(path, rows, width):
    """A grey picture; rows: its bytes, row after row."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    lines = b"".join(b"\0" + rows[i:i + width] for i in range(0, len(rows), width))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows) // width, 8, 0, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b""))


def idx(path):
    """(sizes, bytes) of an idx file."""
    data = gzip.open(path).read()
    sides = data[3]
    return struct.unpack(">%dI" % sides, data[4:4 + 4 * sides]), data[4 + 4 * sides:]


def run(argv, lines):
    begin = time.time()
    out = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    if len(out) != lines:
        raise SystemExit("%s: %d lines, expected %d" % (" ".join(argv[:4]), len(out), lines))
    return [json.loads(line) for line in out], time.time() - begin


def results(name):
    with open("models/%s/results.json" % name) as f:
        return json.load(f)


def report(name, good, of, seconds, exact):
    want = results(name)
    same = of == want["of"] and (good == want["correct"] if exact else good >= want["correct"] - of / 200)
    print("%-14s %5d of %5d correct, the reference %5d of %5d  (%.1f s)%s" % (name, good, of, want["correct"], want["of"], seconds, "" if same else "  FAIL"), flush=True)
    return same


def fashion(program, folder, extra, temporary):
    (count, height, width), pixels = idx(folder + "/t10k-images-idx3-ubyte.gz")
    labels = idx(folder + "/t10k-labels-idx1-ubyte.gz")[1]
    names = []
    for i in range(count):
        names.append("%s/%05d.png" % (temporary, i))
        png(names[-1], pixels[i * height * width:(i + 1) * height * width], width)
    with open(temporary + "/pictures", "w") as f:
        f.write("\n".join(names) + "\n")
    captions = results("clip-fashion")["captions"]
    for name, classes in (("vit-fashion", GARMENTS), ("clip-fashion", captions)):
        argv = [program, "classify", "-q", "-m", "models/" + name, "--files", temporary + "/pictures", "--top", "1", "--json"] + extra
        if name == "clip-fashion":
            argv += [x for c in captions for x in ("--label", c)]
        said, seconds = run(argv, count)
        chosen = [classes.index(s["labels"][0]) for s in said]
        yield report(name, sum(c == labels[i] for i, c in enumerate(chosen)), count, seconds, "f32" in extra)


def questions(program, folder, extra, temporary):
    with open(folder + "/test/questions.json") as f:
        test = json.load(f)
    with open(temporary + "/questions.jsonl", "w") as f:
        for question, _, picture in test:
            f.write(json.dumps({"content": [{"image": "%s/test/images/%d.png" % (folder, picture)}, {"text": question}]}) + "\n")
    said, seconds = run([program, "ask", "-q", "-m", "models/llava-easyvqa", "--batch", temporary + "/questions.jsonl", "--max-tokens", "6", "--json"] + extra, len(test))
    yield report("llava-easyvqa", sum(s["text"].strip() == answer for s, (_, answer, _) in zip(said, test)), len(test), seconds, "f32" in extra)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--fashion")
    parser.add_argument("--easy-vqa")
    parser.add_argument("--batch-size", default="64")
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16", "int8"])
    args = parser.parse_args()
    extra, passed = ["--batch-size", args.batch_size, "--precision", args.precision], []
    with tempfile.TemporaryDirectory() as temporary:
        if args.fashion:
            passed += fashion(args.program, args.fashion, extra, temporary)
        if args.easy_vqa:
            passed += questions(args.program, args.easy_vqa, extra, temporary)
    print("%d passed, %d failed" % (sum(passed), len(passed) - sum(passed)))
    return 0 if passed and all(passed) else 1


if __name__ == "__main__":
    raise SystemExit(main())
