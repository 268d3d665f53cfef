#!/usr/bin/env python3
"""embed.py - `rebus embed` of many small pictures, end to end, beside the encoder's own packed speed.

    embed.py PROGRAM [-m MODEL] [--pictures N] [--folder DIR] [--repeat N] [-t THREADS]

Makes, in DIR (default: a temporary folder; what is there already is kept), N grey pictures of 28 x 28 as PNG and as JPEG: soft blobs
with noise, seeded. Then `rebus bench` times the encoder over packed runs of pictures that are processed before, and `rebus embed
FOLDER -o OUT.npy` the whole: start of the program, listing, decoding, encoding, writing. Prints pictures a second and the share of
the encoder's speed, and fails below 0.85, which decoding ahead must reach. Needs numpy and Pillow.
"""
import argparse, json, os, subprocess, sys, tempfile, time
import numpy as np
from PIL import Image

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def pictures(folder, ending, count):
    os.makedirs(folder, exist_ok=True)
    y, x = np.mgrid[0:28, 0:28]
    for i in range(count):
        path = os.path.join(folder, f"{i:06d}{ending}")
        if os.path.exists(path):
            continue
        r = np.random.default_rng(i)
        cx, cy, wide = r.uniform(6, 22), r.uniform(6, 22), r.uniform(20, 90)
        soft = 255 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / wide) + r.normal(0, 6, (28, 28))
        Image.fromarray(np.clip(soft, 0, 255).astype(np.uint8)).save(path)
    return folder


def encoder(program, model, one, threads):
    """Pictures a second of the tower, whole runs of 160 pictures."""
    out = subprocess.run([program, "bench", "-m", model, "--image", one, "--copies", "160", "--json", "-q", *threads], capture_output=True, text=True, check=True).stdout
    parts = json.loads(out)["parts"]
    return next(p["pictures_per_second"] for p in parts if p["part"] == "vision")


def whole(program, model, folder, out, count, threads):
    for path in (out, out + ".files", out + ".part"):
        if os.path.exists(path):
            os.remove(path)
    start = time.perf_counter()
    subprocess.run([program, "embed", "-m", model, folder, "-o", out, "-q", *threads], check=True)
    took = time.perf_counter() - start
    rows = np.load(out, mmap_mode="r").shape[0]
    if rows != count:
        raise SystemExit(f"{out}: {rows} rows, expected {count}")
    return count / took


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("-m", "--model", default=os.path.join(ROOT, "models", "vit-fashion"))
    p.add_argument("--pictures", type=int, default=10000)
    p.add_argument("--folder")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("-t", "--threads", type=int)
    p.add_argument("--make", action="store_true", help="make the pictures only")
    a = p.parse_args()
    threads = ["-t", str(a.threads)] if a.threads else []
    with tempfile.TemporaryDirectory() as scratch:
        at = a.folder or scratch
        sets = {e: pictures(os.path.join(at, e[1:]), e, a.pictures) for e in (".png", ".jpg")}
        if a.make:
            return 0
        one = os.path.join(sets[".png"], "000000.png")
        alone = [encoder(a.program, a.model, one, threads) for _ in range(a.repeat)]
        best = max(alone)
        print(f"encoder alone  {best:8,.0f} pictures/s  ({min(alone):,.0f} to {best:,.0f})")
        good = True
        for ending, folder in sets.items():
            speeds = [whole(a.program, a.model, folder, os.path.join(at, "o.npy"), a.pictures, threads) for _ in range(a.repeat)]
            share = max(speeds) / best
            good = good and share >= 0.85
            print(f"embed {ending}     {max(speeds):8,.0f} pictures/s  ({min(speeds):,.0f} to {max(speeds):,.0f}), {share:.2f} of the encoder's speed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
