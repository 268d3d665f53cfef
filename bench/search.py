#!/usr/bin/env python3
"""search.py - `rebus search` over a million vectors, stored as f32, f16 and int8: time of the whole command, and recall of int8.

    search.py PROGRAM [--rows N] [--width N] [--folder DIR] [--repeat N] [-t THREADS]

Makes, in DIR (default: a temporary folder; the f32 file takes rows * width * 4 bytes), unit vectors in 1,000 clusters, their
names, and a CLIP of that width from models/clip-fashion with random projections; then runs `rebus search --text` and times it,
from the start of the process to its end, the files in the page cache. The answers are compared with NumPy's. Needs numpy.
"""
import argparse, json, os, shutil, statistics, struct, subprocess, sys, tempfile, time
import numpy as np

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def model(folder, width):
    """models/clip-fashion with projections to `width`"""
    shutil.copytree(os.path.join(ROOT, "models", "clip-fashion"), folder, ignore=shutil.ignore_patterns("pictures"))
    path = os.path.join(folder, "model.safetensors")
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    head, body, tensors = json.loads(data[8:8 + n]), b"", {}
    for name, t in head.items():
        if name == "__metadata__":
            continue
        a, b = t["data_offsets"]
        raw, shape = data[8 + n + a:8 + n + b], t["shape"]
        if name.endswith("_projection.weight"):
            shape = [width, shape[1]]
            raw = np.random.default_rng(len(name)).standard_normal(shape).astype(t["dtype"].lower().replace("f", "float")).tobytes()
        tensors[name] = {"dtype": t["dtype"], "shape": shape, "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(tensors).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + body)
    config = json.load(open(os.path.join(folder, "config.json")))
    config["projection_dim"] = width
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))


def vectors(folder, rows, width):
    """f32.npy, f16.npy, int8.npy and their names, a block at a time"""
    r = np.random.default_rng(7)
    middle = r.standard_normal((1000, width), dtype=np.float32)
    kinds = {"f32": np.float32, "f16": np.float16, "int8": np.int8}
    out = {k: np.lib.format.open_memmap(os.path.join(folder, k + ".npy"), mode="w+", dtype=v, shape=(rows, width)) for k, v in kinds.items()}
    for i in range(0, rows, 20000):
        n = min(20000, rows - i)
        x = middle[r.integers(0, 1000, n)] + r.standard_normal((n, width), dtype=np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        out["f32"][i:i + n] = x
        out["f16"][i:i + n] = x
        out["int8"][i:i + n] = np.rint(x / (np.abs(x).max(axis=1, keepdims=True) / 127))
    for k in kinds:
        with open(os.path.join(folder, k + ".npy.files"), "w") as f:
            f.writelines(f"photos/{i // 1000:04d}/{i:08d}.jpg\n" for i in range(rows))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("--rows", type=int, default=1000000)
    p.add_argument("--width", type=int, default=512)
    p.add_argument("--folder")
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("-t", "--threads", type=int)
    a = p.parse_args()
    folder = a.folder or tempfile.mkdtemp(prefix="rebus-search")
    clip = os.path.join(folder, "clip")
    if not os.path.exists(clip):
        os.makedirs(folder, exist_ok=True)
        vectors(folder, a.rows, a.width)
        model(clip, a.width)
    texts = ["a photo of a bag.", "a photo of a dress.", "sneaker", "two coats"]
    want = {}
    for kind in ("f32", "f16", "int8"):
        path, times, found, scores = os.path.join(folder, kind + ".npy"), [], [], []
        for i in range(a.repeat + 1):
            text = texts[i % len(texts)]
            began = time.perf_counter()
            args = [a.program, "search", "-m", clip, path, "--text", text, "--top", "10", "--json"] + (["-t", str(a.threads)] if a.threads else [])
            got = json.loads(subprocess.run(args, check=True, stdout=subprocess.PIPE).stdout)
            if i:
                times.append(time.perf_counter() - began)
            found.append(got["files"])
            scores.append(got["scores"])
            if kind == "f32" and text not in want:
                q = json.loads(subprocess.run([a.program, "embed", "-m", clip, "--text", text, "--json"], check=True, stdout=subprocess.PIPE).stdout)["vector"]
                s = np.concatenate([x @ np.array(q, np.float32) for x in np.array_split(np.load(path, mmap_mode="r"), 50)])
                best = np.argsort(-s, kind="stable")[:10]
                want[text] = [f"photos/{x // 1000:04d}/{x:08d}.jpg" for x in best], s[best]
        same = statistics.mean(len(set(f) & set(want[texts[i % len(texts)]][0])) / 10 for i, f in enumerate(found))
        off = max(float(np.abs(np.array(s[:1]) - want[texts[i % len(texts)]][1][:1]).max()) for i, s in enumerate(scores))
        print(f"{kind:5} {os.path.getsize(path) / 1e6:8.0f} MB  {statistics.median(times) * 1e3:7.1f} ms ({min(times) * 1e3:.1f} to {max(times) * 1e3:.1f})  "
              f"of NumPy's ten best in f32: {same * 100:.1f} %, best score off by {off:.1e}")
    if not a.folder:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
