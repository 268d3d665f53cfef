#!/usr/bin/env python3
"""peers.py - rebus beside PyTorch, ONNX Runtime, OpenVINO, llama.cpp and Pillow, on this machine, in the same run.

    bench/peers.py                     set up what is missing, measure everything, write docs/performance.md
    bench/peers.py --only vit1,jpeg    only these kinds of work; the others keep the numbers of their last run
    bench/peers.py --report            only write the document anew

Needs Python 3.11 and about 10 GB of disk; some twenty minutes where the peers are set up. The peers go into a virtual environment of their own
(--folder, build/bench), the models are made there with random weights (models.py). llama.cpp is built from the source
package llama-cpp-python; where that fails its rows say so.

    contender A: load, warm up   │ go            │ go            │        every contender is a process of its own (worker.py),
    contender B: load, warm up   │    go         │    go         │ ...    stopped (SIGSTOP) while it is not its turn
    contender C: load, warm up   │       go      │       go      │        median of all runs; spread: least and most

A turn lasts 0.6 seconds or one run. Other programs disturb: workers get the highest priority that the system allows, and a
turn in which others used more than a twentieth of the processors is repeated, a few times at most.
"""
import argparse
import glob
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PACKAGES = ["numpy", "pillow", "transformers==5.23.0", "onnx", "onnxruntime", "openvino", "gguf", "sentencepiece"]
TORCH = ["torch==2.13.0+cpu", "torch==2.13.0"]  # the first is smaller, where it can be had
SHOWN = ["torch", "transformers", "tokenizers", "onnxruntime", "openvino", "llama_cpp_python", "pillow"]
DISTURBED, AGAIN, LONG = 0.05, 6, 5  # share of the processors, repeats, seconds after which a turn is not repeated

SIZES = ["rebus", "torch-one", "torch-packed", "torch-padded"]
TOWER = ["rebus", "torch", "torch-compile", "onnxruntime", "openvino"]
# key: title, contenders, what a run is, how often it is in a run
WORK = {
    "vit1": ("ViT-B/16 at 224, f32, one picture", TOWER, "pictures/s", 1),
    "vit16": ("ViT-B/16 at 224, f32, 16 pictures", TOWER, "pictures/s", 16),
    "vit1-bf16": ("ViT-B/16 at 224, bf16, one picture", ["rebus", "torch", "openvino"], "pictures/s", 1),
    "vit16-bf16": ("ViT-B/16 at 224, bf16, 16 pictures", ["rebus", "torch", "openvino"], "pictures/s", 16),
    "vit1-int8": ("ViT-B/16 at 224, int8, one picture", ["rebus", "onnxruntime", "openvino"], "pictures/s", 1),
    "vit16-int8": ("ViT-B/16 at 224, int8, 16 pictures", ["rebus", "onnxruntime", "openvino"], "pictures/s", 16),
    "clip1": ("CLIP ViT-L/14 at 224, f32, one picture", ["rebus", "torch", "openvino"], "pictures/s", 1),
    "clip1-bf16": ("CLIP ViT-L/14 at 224, bf16, one picture", ["rebus", "torch", "openvino"], "pictures/s", 1),
    "clip16-bf16": ("CLIP ViT-L/14 at 224, bf16, 16 pictures", ["rebus", "torch", "openvino"], "pictures/s", 16),
    "attend1024": ("attention, 12 heads of 64, 1,024 tokens, f32", ["rebus", "torch"], "runs/s", 1),
    "attend4096": ("attention, 12 heads of 64, 4,096 tokens, f32", ["rebus", "torch"], "runs/s", 1),
    "attend1024-bf16": ("attention, 12 heads of 64, 1,024 tokens, bf16", ["rebus", "torch"], "runs/s", 1),
    "attend4096-bf16": ("attention, 12 heads of 64, 4,096 tokens, bf16", ["rebus", "torch"], "runs/s", 1),
    "jpeg": ("JPEG 1024 x 768 to 224 x 224, normalised, one thread", ["rebus", "rebus-pil", "pillow"], "pictures/s", 1),
    "start": ("process start to the first ViT-B/16 embedding of a JPEG", ["rebus", "onnxruntime"], "runs/s", 1),
    "decode-f32": ("one decode step, Llama of 135 million, f32 weights", ["rebus", "torch", "llama.cpp"], "tokens/s", 1),
    "decode-bf16": ("one decode step, Llama of 135 million, bf16 weights", ["rebus", "torch", "llama.cpp"], "tokens/s", 1),
    "prefill-bf16": ("512 tokens read, Llama of 135 million, bf16", ["rebus", "torch", "llama.cpp"], "tokens/s", 512),
    "together": ("one decode step of eight sequences, Llama of 135 million, bf16", ["rebus", "rebus-one", "torch"], "tokens/s", 8),
    "tok-smollm": ("tokenizing, byte-level BPE of 49,152 (SmolLM), one thread", ["rebus", "tokenizers"], "MB/s", 1),
    "tok-qwen": ("tokenizing, byte-level BPE of 151,643 (Qwen2), one thread", ["rebus", "tokenizers"], "MB/s", 1),
    "tok-llama": ("tokenizing, SentencePiece's BPE of 32,000 (Llama-2), one thread", ["rebus", "tokenizers"], "MB/s", 1),
    "tok-bert": ("tokenizing, WordPiece of 30,522 (BERT), one thread", ["rebus", "tokenizers"], "MB/s", 1),
    "tok-t5": ("tokenizing, Unigram of 32,000 (T5), one thread", ["rebus", "tokenizers"], "MB/s", 1),
    "tok-mt5": ("tokenizing, Unigram of 250,000 (mT5), one thread", ["rebus", "tokenizers"], "MB/s", 1),
    "tok-open-qwen": ("from tokenizer.json of 15 MB to a tokenizer, BPE of 151,643", ["rebus", "tokenizers"], "runs/s", 1),
    "tok-open-mt5": ("from tokenizer.json of 8 MB to a tokenizer, Unigram of 250,000", ["rebus", "tokenizers"], "runs/s", 1),
    "sizes": ("32 pictures of 64 to 1,024 patches, ViT-B/16, f32", SIZES, "pictures/s", 32),
    "sizes-bf16": ("32 pictures of 64 to 1,024 patches, ViT-B/16, bf16", SIZES, "pictures/s", 32),
}
# key: times the fastest peer, share of the peak; where one is missed the report shows the profile
AIMS = {"vit1": (1.05, 0.9), "vit16": (1.05, 0.9), "vit1-bf16": (1.1, 0.85), "vit16-bf16": (1, 0.85), "vit1-int8": (1.1, 0.8), "vit16-int8": (1, 0.8),
        "clip1": (1.05, 0.9), "clip1-bf16": (1.1, 0.85), "clip16-bf16": (1, 0.85), "attend1024": (1.2, 0), "attend4096": (1.2, 0), "attend1024-bf16": (2, 0),
        "attend4096-bf16": (2, 0), "jpeg": (2, 0), "decode-f32": (1, 0.85), "decode-bf16": (1, 0.85), "sizes": (1.3, 0), "sizes-bf16": (1.3, 0)}
NAMES = {"tokenizers": "Hugging Face tokenizers", "rebus-one": "rebus, one after the other", "torch": "PyTorch", "torch-compile": "PyTorch, torch.compile", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "pillow": "Pillow, NumPy",
         "rebus-pil": "rebus, Pillow's arithmetic", "torch-one": "PyTorch, one at a time", "torch-packed": "PyTorch, linears packed by hand",
         "torch-padded": "PyTorch, padded and masked"}
PROFILED = {"vit1-bf16": ["vit-b16", "--precision", "bf16"], "vit16-bf16": ["vit-b16", "--copies", "16", "--precision", "bf16"],
            "vit1-int8": ["vit-b16", "--precision", "int8"], "vit16-int8": ["vit-b16", "--copies", "16", "--precision", "int8"],
            "clip1-bf16": ["clip-l14", "--precision", "bf16"], "clip16-bf16": ["clip-l14", "--copies", "16", "--precision", "bf16"],
            "vit1": ["vit-b16"], "vit16": ["vit-b16", "--copies", "16"], "clip1": ["clip-l14"], "decode-f32": ["llama-135m"], "decode-bf16": ["llama-135m-bf16"],
            "prefill-bf16": ["llama-135m-bf16", "--precision", "bf16", "--text", "sixteen letters." * 32, "--max-tokens", "2"]}
REPEATS = {"sizes": 2, "sizes-bf16": 2, "vit16": 4, "vit16-bf16": 4, "clip16-bf16": 2, "decode-f32": 4, "decode-bf16": 4}
START_AIM = 0.2  # seconds
ONCE = {"torch-padded"}  # only the first turn: it takes as long as all others together


def run_quiet(command, log):
    with open(log, "a", encoding="utf-8") as f:
        return subprocess.run(command, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode == 0


# ------------------------------------------------------------------------------------------------ set-up
class Place:
    """Where everything lies: the environment, the models, rebus, results."""

    def __init__(self, folder, build):
        self.folder, self.build = os.path.abspath(folder), os.path.abspath(build)
        self.python = os.path.join(self.folder, "venv", "bin", "python")
        self.models, self.log = os.path.join(self.folder, "models"), os.path.join(self.folder, "log")
        self.results = os.path.join(self.folder, "results.json")
        self.rebus, self.attend = os.path.join(self.build, "rebus"), os.path.join(self.build, "bench", "attend")
        self.tokenize = os.path.join(self.build, "bench", "tokenize")

    def library(self):
        found = glob.glob(os.path.join(self.build, "src", "librebus.so.*.*"))
        return next(f for f in found if os.path.isfile(f))

    def set_up(self):
        os.makedirs(self.models, exist_ok=True)
        if not os.path.exists(self.build):
            subprocess.run(["meson", "setup", self.build, ROOT], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["ninja", "-C", self.build, "rebus", "bench/attend", "bench/streams", "bench/tokenize"] + [os.path.relpath(f, self.build) for f in glob.glob(self.build + "/src/librebus.so.0.*.*")
                                                                               if os.path.isfile(f)], check=True, stdout=subprocess.DEVNULL)
        if not os.path.exists(self.python):
            subprocess.run([sys.executable, "-m", "venv", os.path.dirname(os.path.dirname(self.python))], check=True)
        pip = [self.python, "-m", "pip", "install", "-q"]
        have = self.versions()
        if "torch" not in have and not any(run_quiet(pip + [t], self.log) for t in TORCH):
            sys.exit("peers: PyTorch cannot be installed; see " + self.log)
        if not all(p.split("=")[0] in have for p in PACKAGES) and not run_quiet(pip + PACKAGES, self.log):
            sys.exit("peers: the peers cannot be installed; see " + self.log)
        if "llama_cpp_python" not in have:
            print("building llama.cpp (some ten minutes)", flush=True)
            run_quiet(pip + ["llama-cpp-python"], self.log)
        make = "import models as m, sys; f = sys.argv[1]; m.photo(f), m.vit(f), m.clip(f), m.gguf(f, False), m.gguf(f, True)"
        if not all(os.path.exists(self.models + f) for f in ("/clip-l14.onnx", "/llama-135m-bf16.gguf")):
            print("making models", flush=True)
            with open(self.log, "a", encoding="utf-8") as f:
                subprocess.run([self.python, "-c", make, self.models], check=True, cwd=HERE, stdout=f, stderr=f)

    def tokenizers(self, works):
        for name in sorted({w.replace("-open", "") for w in works if w.startswith("tok-")}):
            with open(self.log, "a", encoding="utf-8") as f:
                subprocess.run([self.python, "-c", "import texts, sys; texts.tokenizer(sys.argv[1], sys.argv[2])", self.models, name], check=True, cwd=HERE, stdout=f, stderr=f)

    def versions(self):
        if not os.path.exists(self.python):
            return {}
        text = subprocess.run([self.python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
        return {p["name"].lower().replace("-", "_"): p["version"] for p in json.loads(text or "[]")}


# ------------------------------------------------------------------------------------------------ turns
def raise_priority(pid):
    """As high as the system lets us: in its scheduling group, and of that group among the others."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, -20)
        with open("/proc/%d/autogroup" % pid, "w") as f:
            f.write("-20")
    except OSError:
        pass


def busy():
    """Processor seconds used by anyone so far, and by a process and its threads."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")


def used(pid):
    with open("/proc/%d/stat" % pid) as f:
        v = f.read().rsplit(")", 1)[1].split()
    return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")


class Worker:
    def __init__(self, place, work, contender, threads):
        command = [place.python, os.path.join(HERE, "worker.py"), work, contender, str(threads), place.models, place.library()]
        if contender == "rebus" and work.startswith("attend"):
            tokens, _, kind = work[len("attend"):].partition("-")
            command = [place.attend, tokens, str(threads)] + ([kind] if kind else [])
        if contender == "rebus" and work.startswith("tok-open"):
            command = [place.tokenize, "open", os.path.join(place.models, "tok" + work[len("tok-open"):])]
        elif contender == "rebus" and work.startswith("tok-"):
            command = [place.tokenize, "encode", os.path.join(place.models, work), place.models + "/texts.txt"]
        self.log = open(place.log, "a", encoding="utf-8")
        self.name, self.times, self.resident, self.disturbed = contender, [], 0, 0
        spare = os.cpu_count() - (1 if work == "jpeg" or work.startswith("tok-") else threads)
        self.allowed = DISTURBED + max(0, spare) / os.cpu_count()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, start_new_session=True)
        raise_priority(self.process.pid)
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.process.kill()
            raise RuntimeError("%s at %s does not start; see %s" % (contender, work, place.log))
        self.about = json.loads(line[6:])
        os.kill(self.process.pid, signal.SIGSTOP)

    def turn(self):
        pid = self.process.pid
        for attempt in range(AGAIN + 1):
            start, all_before, own_before = time.monotonic(), busy(), used(pid)
            os.kill(pid, signal.SIGCONT)
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("%s ended in a run: exit code %s; see its log" % (self.name, self.process.wait()))
            answer = json.loads(line)
            others = busy() - all_before - (used(pid) - own_before)
            share = others / (time.monotonic() - start) / os.cpu_count()
            os.kill(pid, signal.SIGSTOP)
            if share <= self.allowed or attempt == AGAIN or time.monotonic() - start > LONG:
                break
            time.sleep(0.5)
        self.disturbed += share > self.allowed
        self.times += answer["seconds"]
        self.resident = answer.get("resident", 0)
        time.sleep(0.1)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


def measure(place, work, threads, repeats):
    workers, said = [], {}
    for contender in WORK[work][1]:
        try:
            workers.append(Worker(place, work, contender, threads))
        except RuntimeError as why:
            said[contender] = {"why": str(why)}
    try:
        for i in range(repeats):
            for w in workers:
                if not i or w.name not in ONCE:
                    w.turn()
    except BrokenPipeError:
        raise RuntimeError("a contender ended: %s" % [(w.name, w.process.poll()) for w in workers]) from None
    finally:
        for w in workers:
            w.end()
    if len({w.about.get("sum") for w in workers}) > 1:
        raise RuntimeError("%s: the contenders' ids differ: %s" % (work, [(w.name, w.about) for w in workers]))
    for w in workers:
        said[w.name] = {"seconds": w.times, "resident": w.resident, "disturbed": w.disturbed, "turns": 1 if w.name in ONCE else repeats, "about": w.about}
    return said


START = """import sys, numpy as np, onnxruntime as ort
from PIL import Image
o = ort.SessionOptions(); o.intra_op_num_threads = int(sys.argv[3])
s = ort.InferenceSession(sys.argv[1], o, providers=["CPUExecutionProvider"])
x = np.asarray(Image.open(sys.argv[2]).convert("RGB").resize((224, 224), 2), np.float32) / 127.5 - 1
np.save(sys.argv[4], s.run(None, {"pixel_values": x.transpose(2, 0, 1)[None].copy()})[0][:, 0])"""


def measure_start(place, threads, repeats):
    """Whole processes, one after the other; wall time and the most memory they had."""
    out = os.path.join(place.folder, "start.npy")
    photo, vit = place.models + "/photo.jpg", place.models + "/vit-b16"
    commands = {"rebus": [place.rebus, "embed", "-m", vit, photo, "-o", out, "-t", str(threads), "--restart"],
                "onnxruntime": [place.python, "-c", START, vit + ".onnx", photo, str(threads), out]}
    said = {n: {"seconds": [], "resident": 0, "disturbed": 0, "turns": repeats, "about": {}} for n in commands}
    for i in range(repeats + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            raise_priority(p.pid)
            _, code, usage = os.wait4(p.pid, 0)
            took = time.perf_counter() - start
            p.returncode = code
            if code:
                raise RuntimeError("%s fails at start" % name)
            if i:
                said[name]["seconds"].append(took)
                said[name]["resident"] = max(said[name]["resident"], usage.ru_maxrss << 10)
    return said


def raised(command):
    p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, stdin=subprocess.DEVNULL)
    raise_priority(p.pid)
    return p.communicate()[0]


def bench_of(place, threads, args):
    return [place.rebus, "bench", "-m", os.path.join(place.models, args[0]), "-t", str(threads), "--repeat", "3", *args[1:]]


def peaks(place, threads, best):
    """The best of some tries and of what was found before: a peak is what was reached once."""
    best = dict(best)
    for precision in ["f32"] * 5 + ["bf16", "int8"] * 3:
        got = json.loads(raised(bench_of(place, threads, ["vit-b16", "--json", "--precision", precision])))["peaks"]
        if precision != "f32":
            got = {"gflops_" + precision: got["gflops_per_second"]}
        for k, v in got.items():
            better = min if k.endswith("_us") else max
            best[k] = better(best.get(k, v), v)
    return best


def streams(place, threads):
    """Steps that wait for memory: what bench/streams says, the best of three tries of each."""
    best = {}
    for _ in range(3):
        for name, rate, share in re.findall(r"^  (\w+) +([\d.]+) GB/s, ([\d.]+) of a copy", raised([os.path.join(place.build, "bench", "streams"), str(threads)]), re.M):
            best[name] = max(best.get(name, (0, 0)), (float(share), float(rate)))
    return best


def profile(place, threads, work):
    """Of two profiles the one that was disturbed least, and of it the part that this work is."""
    part, found = "decode" if work.startswith("decode") else "prefill" if work.startswith("prefill") else "vision", []
    for _ in range(2):
        text = raised(bench_of(place, threads, PROFILED[work] + ["--profile"]))
        at = text.index("\n" + part) + 1
        end = re.compile(r"^\S", re.M).search(text, at + 1).start()
        found.append((float(text[at:].split()[1]), text[:text.index("\n", text.index("\n") + 1) + 1] + text[at:end]))
    return min(found)[1]


def machine():
    about = {"system": "%s %s" % (platform.system(), platform.release().split("-")[0]), "python": platform.python_version()}
    try:
        about["processor"] = re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read()).group(1)
        about["memory"] = int(re.search(r"MemTotal:\s*(\d+)", open("/proc/meminfo").read()).group(1)) >> 10
        text = subprocess.run(["lscpu"], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout
        about["family"] = ", ".join("%s %s" % (k, v) for k, v in re.findall(r"(CPU family|Model|Stepping):\s*(\d+)", text))
        about["caches"] = ", ".join("%s %s" % (k, v) for k, v in re.findall(r"(L\d\w?) cache:\s*(.*?)(?: \(.*)?\n", text))
    except (OSError, AttributeError):
        pass
    about["cores"] = os.cpu_count()
    return about


# ------------------------------------------------------------------------------------------------ the document
def share_of(work, said, median, peak):
    """Of the peak arithmetic, or of the reading; None where neither is counted."""
    about = next((x["about"] for x in said.values() if "about" in x and ("flops" in x["about"] or "bytes" in x["about"])), {})
    if "flops" in about:
        return about["flops"] / median / peak.get("gflops_" + work.rsplit("-", 1)[-1], peak["gflops_per_second"]) * 1e-9
    return about["bytes"] / median / peak["gb_per_second"] * 1e-9 if "bytes" in about else None


def medians(said, ours):
    return [statistics.median(s["seconds"]) for n, s in said.items() if "seconds" in s and n.startswith("rebus") == ours]


def missed(work, said, peak):
    """What was aimed at and not reached, in words."""
    times, share = AIMS.get(work, (0, 0))
    rebus, peers = min(medians(said, True), default=0), min(medians(said, False), default=0)
    got, words = share_of(work, said, rebus, peak) if rebus else None, []
    if rebus and peers and peers / rebus < times:
        words.append("%g times the fastest peer" % times)
    if work == "start" and rebus > START_AIM:
        words.append("%g s" % START_AIM)
    if got is not None and got < share:
        words.append("%.0f %% of the peak" % (100 * share))
    return " and ".join(words)


def row(work, contender, said, best_peer, peak):
    s = said[contender]
    title = NAMES.get(contender, contender)
    if "why" in s:
        return "| %s | not there: %s | | | | |" % (title, s["why"].split(";")[0])
    units = next((x["about"]["size"] / 1e6 for x in said.values() if "size" in x.get("about", {})), WORK[work][3])
    median = statistics.median(s["seconds"])
    rate = units / median
    got = share_of(work, said, median, peak)
    share = "%.0f %%" % (100 * got) if got is not None and contender != "torch-padded" else ""
    memory = "%.0f MiB" % (s["resident"] / 2**20) if s["resident"] else ""
    name = "**%s**" % title if contender.startswith("rebus") else title
    ratio = "%.2f" % (best_peer / median) if contender.startswith("rebus") and best_peer else ""
    return "| %s | %.1f ms (%.1f to %.1f) | %.2f %s | %s | %s | %s |" % (name, median * 1e3, min(s["seconds"]) * 1e3, max(s["seconds"]) * 1e3, rate, WORK[work][2], ratio,
                                                                    share, memory)


def report(place, path):
    with open(place.results, encoding="utf-8") as f:
        r = json.load(f)
    m, p, out = r["machine"], r["peaks"], []
    say = out.append
    say("# Performance\n")
    say("Written by `bench/peers.py`, which sets up the peers, makes the models (published sizes, random weights) and runs everything in turns; to have "
        "numbers of your machine run it. `rebus bench -m FOLDER --profile` shows where the time of any model goes, and its share of the machine's peaks.\n")
    say("- processor: %s (%s), %d cores used as %d threads; %s; %d MiB of memory" % (m.get("processor", "?"), m.get("family", ""), m["cores"], r["threads"],
                                                                               m.get("caches", ""), m.get("memory", 0)))
    say("- system: %s, Python %s" % (m["system"], m["python"]))
    say("- versions: rebus %s; %s" % (r["rebus"], ", ".join("%s %s" % (n.replace("_", "-"), r["versions"].get(n, "missing")) for n in SHOWN)))
    say("- peaks measured by `rebus bench` between the rows, the best of all tries: %.0f GFLOP/s of f32 multiply-adds%s, %.1f GB/s read from memory; an empty step of the team "
        "%.2f us, waking it %.0f us" % (p["gflops_per_second"], "".join(", %.0f of %s" % (p["gflops_" + x], x) for x in ("bf16", "int8") if "gflops_" + x in p),
                                             p["gb_per_second"], p["barrier_us"], p["entry_us"]))
    say("- %s\n" % r["date"])
    say("All numbers of a row come from one run; rows may come from different runs (`--only`), with other programs on the machine or without, so compare "
        "within a row.\n")
    say("Times are medians (least to most) of all runs of all turns; the ratio is rebus beside the fastest peer, more than 1 is faster. The share is of the peak "
        "arithmetic, for decode steps of the reading (all weights once a step); operations and bytes are counted as rebus does them. Memory is the most a "
        "process had resident, mapped files in it; those of Python have Python and their libraries in them.\n")
    for work in WORK:
        if work not in r["work"]:
            continue
        said = r["work"][work]
        best = min(medians(said, False), default=0)
        say("## %s\n" % (WORK[work][0][:1].upper() + WORK[work][0][1:]))
        say("| | time | rate | ratio | share of peak | memory |\n|---|---|---|---|---|---|")
        out += [row(work, c, said, best, p) for c in WORK[work][1] if c in said]
        noisy = [c for c, s in said.items() if s.get("disturbed")]
        if noisy:
            say("\nOther programs disturbed %s." % ", ".join("%d of %d turns of %s" % (said[c]["disturbed"], said[c]["turns"], c) for c in noisy))
        say("")
        aim = missed(work, said, p)
        if aim:
            say("The aim was %s; what stands in the way: docs/numerics.md, \"What is missing to the peak\".\n" % aim)
        if aim and work in r.get("profiles", {}):
            say("<details><summary>Where the time goes (<code>rebus bench -m %s --profile</code>)</summary>\n" % " ".join(PROFILED[work]))
            say("```\n%s```\n\n</details>\n" % r["profiles"][work])
    if "streams" in r:
        say("## Steps that wait for memory\n")
        say("`bench/streams %d` of the build folder: 16,384 rows of 768 (48 MiB a matrix), beside a copy of as many bytes on as many threads; more than 1 where an "
            "operation reads more than it writes.\n" % r["threads"])
        say("| | GB/s | beside a copy |\n|---|---|---|")
        out += ["| %s | %.1f | %.2f |" % (n, rate, share) for n, (share, rate) in r["streams"].items()]
        say("")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--folder", default=os.path.join(ROOT, "build", "bench"), help="environment, models, results (default: build/bench)")
    a.add_argument("--build", default=os.path.join(ROOT, "build"), help="rebus's build folder (default: build)")
    a.add_argument("--output", default=os.path.join(ROOT, "docs", "performance.md"))
    a.add_argument("--only", default="", help="kinds of work, with commas: " + ",".join(WORK))
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--repeats", type=int, default=5, help="turns of each contender")
    a.add_argument("--report", action="store_true", help="measure nothing")
    o = a.parse_args()
    place = Place(o.folder, o.build)
    if not o.report:
        place.set_up()
        only = [w for w in o.only.split(",") if w] or list(WORK)
        unknown = set(only) - set(WORK)
        if unknown:
            sys.exit("peers: unknown work %s" % ", ".join(sorted(unknown)))
        r = {"work": {}, "profiles": {}}
        if os.path.exists(place.results):
            with open(place.results, encoding="utf-8") as f:
                r = json.load(f)
        r.update(machine=machine(), versions=place.versions(), threads=o.threads, peaks=peaks(place, o.threads, r.get("peaks", {})), date=time.strftime("%Y-%m-%d"),
                 rebus=subprocess.run([place.rebus, "--version"], capture_output=True, text=True).stdout.split()[-1])
        place.tokenizers(only)
        if not o.only:
            r["streams"] = streams(place, o.threads)
        for work in only:
            print(work, flush=True)
            repeats = min(o.repeats, REPEATS.get(work, o.repeats))
            r["work"][work] = measure_start(place, o.threads, repeats) if work == "start" else measure(place, work, o.threads, repeats)
            if work in PROFILED and missed(work, r["work"][work], r["peaks"]):
                r["profiles"][work] = profile(place, o.threads, work)
            with open(place.results + ".part", "w", encoding="utf-8") as f:
                json.dump(r, f)
            os.replace(place.results + ".part", place.results)
            for name, s in r["work"][work].items():
                print("    %-14s %s" % (name, s.get("why") or "%.2f ms" % (1e3 * statistics.median(s["seconds"]))), flush=True)
    report(place, o.output)


if __name__ == "__main__":
    main()
