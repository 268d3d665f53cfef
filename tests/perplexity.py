#!/usr/bin/env python3
"""perplexity.py - what a precision loses: perplexity of a text, and how far logits are from those of f32.

    tests/perplexity.py PROGRAM MODEL [--text FILE] [--tokens 256] [--precisions f32,stored]

MODEL is a folder or a GGUF file; the text is docs/architecture.md unless another is named, its first tokens. One pass gives the logits
of all of them (`rebus trace`). stored: no --precision, weights in blocks as they lie. For each precision a line:

    perplexity | cosine of the logits with those of the first precision, mean and least over places | share of places with the same best token
"""
import argparse
import array
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def trace(program, model, text, precision, where):
    command = [program, "trace", "-m", model, "--raw", "--text", text, "-o", where] + ([] if precision == "stored" else ["--precision", precision])
    p = subprocess.run(command, capture_output=True, text=True)
    if p.returncode:
        sys.exit(p.stderr)
    with open(where, "rb") as f:
        raw = f.read()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    get = lambda k, c: array.array(c, raw[8 + n + head[k]["data_offsets"][0]:8 + n + head[k]["data_offsets"][1]])
    return get("input_ids", "q"), get("logits", "f"), head["logits"]["shape"][-1]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("program")
    p.add_argument("model")
    p.add_argument("--text", default=os.path.join(ROOT, "docs", "architecture.md"))
    p.add_argument("--tokens", type=int, default=256)
    p.add_argument("--precisions", default="f32,stored")
    o = p.parse_args()
    with open(o.text, encoding="utf-8") as f:
        text = f.read()[:4 * o.tokens]
    base = None
    with tempfile.TemporaryDirectory() as folder:
        for precision in o.precisions.split(","):
            ids, logits, width = trace(o.program, o.model, text, precision, os.path.join(folder, "t.safetensors"))
            places, loss, cosines, same = min(len(ids), o.tokens), 0.0, [], 0
            for i in range(places):
                row = logits[i * width:(i + 1) * width]
                top = max(row)
                if i + 1 < places:
                    loss += math.log(sum(math.exp(x - top) for x in row)) + top - row[ids[i + 1]]
                if base is not None:
                    other = base[i * width:(i + 1) * width]
                    dot, a, b = (sum(x * y for x, y in zip(u, v)) for u, v in ((row, other), (row, row), (other, other)))
                    cosines.append(dot / math.sqrt(a * b))
                    same += row.index(top) == other.index(max(other))
            line = "%-7s perplexity of %d tokens %.3f" % (precision, places, math.exp(loss / (places - 1)))
            if base is None:
                base = logits
            else:
                line += "; cosine %.6f, least %.6f; the same best token at %.1f %%" % (sum(cosines) / places, min(cosines), 100 * same / places)
            print(line, flush=True)


if __name__ == "__main__":
    main()
