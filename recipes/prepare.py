#!/usr/bin/env python3
"""prepare.py - writes public data sets in the forms that `rebus train` reads. Only the standard library is used.

    prepare.py captions FASHION OUT    Fashion-MNIST (FASHION: the idx files, gzip) as pictures with captions
    prepare.py questions EASY_VQA OUT  easy-VQA (EASY_VQA: the package's data folder) as pictures with questions and answers

OUT gets train.jsonl, test.jsonl and, for captions, the pictures as PNG.
"""
import gzip
import json
import os
import struct
import sys
import zlib

GARMENTS = ["t-shirt", "pair of trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
PHRASES = ["a photo of a {}.", "a {}", "a small grey picture of a {}.", "this is a {}."]
PARTS = {"train": "train", "test": "t10k"}


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
    with gzip.open(path) as f:
        data = f.read()
    sides = data[3]
    return struct.unpack(">%dI" % sides, data[4:4 + 4 * sides]), data[4 + 4 * sides:]


def captions(folder, out):
    """Each training picture with one of four phrases in turn; each test picture with the first phrase."""
    for part, name in PARTS.items():
        (count, height, width), pixels = idx("%s/%s-images-idx3-ubyte.gz" % (folder, name))
        labels = idx("%s/%s-labels-idx1-ubyte.gz" % (folder, name))[1]
        os.makedirs("%s/%s" % (out, part), exist_ok=True)
        with open("%s/%s.jsonl" % (out, part), "w") as f:
            for i in range(count):
                file = "%s/%05d.png" % (part, i)
                png("%s/%s" % (out, file), pixels[i * height * width:(i + 1) * height * width], width)
                phrase = PHRASES[i % len(PHRASES) if part == "train" else 0]
                f.write(json.dumps({"image": file, "text": phrase.format(GARMENTS[labels[i]])}) + "\n")


def questions(folder, out):
    os.makedirs(out, exist_ok=True)
    for part in PARTS:
        with open("%s/%s/questions.json" % (folder, part)) as f:
            asked = json.load(f)
        with open("%s/%s.jsonl" % (out, part), "w") as f:
            for question, answer, picture in asked:
                file = os.path.abspath("%s/%s/images/%d.png" % (folder, part, picture))
                f.write(json.dumps({"image": file, "text": question, "answer": answer}) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("captions", "questions"):
        raise SystemExit(__doc__.strip())
    {"captions": captions, "questions": questions}[sys.argv[1]](sys.argv[2], sys.argv[3])
