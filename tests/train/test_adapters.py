#!/usr/bin/env python3
"""test_adapters.py - LoRA as a user has it: adapters of PEFT computed, trained further, folded; adapters made, written, resumed.

    test_adapters.py PROGRAM [-k WORD] [-v]

adapters/ holds adapters that PEFT made and what PyTorch computes with them (make_adapters.py, which also has PEFT read
what rebus writes). Standard library only. The last line is `N passed, N failed`.
"""
import json, math, os, struct, subprocess

import test_train as base
from test_train import HERE, PICTURES, ROOT, check, test

base.TESTS.clear()
ADAPTERS = os.path.join(HERE, "adapters")


def golden():
    with open(os.path.join(ADAPTERS, "golden.json")) as f:
        return json.load(f)


def tensors(path):
    with open(path, "rb") as f:
        n, = struct.unpack("<Q", f.read(8))
        head, data = json.loads(f.read(n)), f.read()
    size = {"F32": ("f", 4), "F16": ("e", 2), "BF16": ("H", 2)}
    out = {}
    for k, v in head.items():
        if k == "__metadata__" or v["dtype"] not in size:
            continue
        letter, width = size[v["dtype"]]
        a, b = v["data_offsets"]
        x = struct.unpack(f"<{(b - a) // width}{letter}", data[a:b])
        out[k] = [struct.unpack("<f", struct.pack("<I", i << 16))[0] for i in x] if v["dtype"] == "BF16" else list(x)
    return out


def off(got, want):
    check(len(got) == len(want), f"{len(got)} numbers, expected {len(want)}")
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(got, want)) / sum(b * b for b in want))


def run(w, *arguments, code=0):
    p = subprocess.run([w.program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)
    check(p.returncode == code, f"{arguments[0]}: exit code {p.returncode}: {p.stderr.decode()[:300]}")
    return p.stderr.decode() if code else p.stdout.decode()


def logits(w, folder, text, *more):
    words = "gpt2" in folder
    what = ["--text", text] if words else ["--image", os.path.join(PICTURES, "photo.jpg")]
    what += ["--text", text] if "llava" in folder else []
    run(w, "trace", "-m", folder, *what, *more, "-o", w.path("trace.safetensors"))
    return tensors(w.path("trace.safetensors"))["logits"][-300:]


def samples(w):
    names = ["photo.jpg", "shapes.png", "tall.png", "wide.png"]
    return w.write("four.jsonl", "\n".join(json.dumps({"image": os.path.join(PICTURES, n), "label": i * 3 % 5}) for i, n in enumerate(names)).encode())


def text_of(path):
    with open(path, "rb") as f:
        return f.read()


@test
def computed_beside_and_folded(w):
    g = golden()
    for name, case in g["cases"].items():
        folder, adapter, merged = os.path.join(ROOT, case["folder"]), os.path.join(ADAPTERS, name), w.path("merged-" + name)
        for what, got in (("beside", logits(w, folder, g["text"], "--adapter", adapter)),
                          ("folded", run(w, "convert", "-m", folder, "--adapter", adapter, "-o", merged) and logits(w, merged, g["text"]))):
            check(off(got, case["logits"]) < 1e-5, f"{name}, {what}: logits are off by {off(got, case['logits']):.2g}")
        check(off(logits(w, folder, g["text"]), case["logits"]) > 1e-2, f"{name}: the adapter changes nothing")
        files = [f for f in os.listdir(merged) if f.endswith(".safetensors")]
        got = {k: v for f in files for k, v in tensors(os.path.join(merged, f)).items()}
        for k, want in case["merged"].items():
            if k in got:  # else tied, or of another name in memory
                sum_ = sum(x * x for x in got[k])
                check(abs(sum_ - want) <= 1e-5 * want + 1e-12, f"{name}: {k}: {sum_}, expected {want}")
        for precision, bound in (("bf16", 0.1), ("int8", 0.2)):
            d = off(logits(w, folder, g["text"], "--adapter", adapter, "--precision", precision), case["logits"])
            check(d < bound, f"{name}: {precision}: logits are off by {d:.2g}")


@test
def trained_as_pytorch_does(w):
    g = golden()
    case = g["cases"]["vit"]
    w.train(model=os.path.join(ROOT, case["folder"]), adapter=os.path.join(ADAPTERS, "vit"), data=samples(w), out=w.path("on"),
            **{k.replace("-", "_"): v for k, v in g["recipe"].items()})
    for got, want in zip(w.log("on"), case["curve"], strict=True):
        for key, bound in (("loss", 2e-4), ("norm", 2e-3)):
            check(abs(got[key] - want[key]) <= bound * max(abs(want[key]), 1e-3), f"step {got['step']}: {key} {got[key]}, expected {want[key]}")
    before, after = (tensors(os.path.join(d, "adapter_model.safetensors")) for d in (os.path.join(ADAPTERS, "vit"), w.path("on")))
    check(set(before) == set(after), f"other keys: {set(before) ^ set(after)}")
    check(all(before[k] != after[k] for k in before), "something did not move")
    with open(os.path.join(ADAPTERS, "vit", "adapter_config.json")) as f, open(os.path.join(w.path("on"), "adapter_config.json")) as h:
        a, b = json.load(f), json.load(h)
    check(all(a[k] == b[k] for k in ("r", "lora_alpha", "use_rslora", "peft_type", "modules_to_save")), f"{b}")


LORA = dict(model=base.FIXTURE, lora="q_proj,fc1", lora_rank=3, lora_alpha=6, lora_dropout=0.2, batch=2, steps=30, save_every=3, log_every=1, rate=1e-2, warmup=2, ema=0.9)


@test
def made_written_merged(w):
    o = dict(LORA, data=samples(w), lora_whole="^classifier[.]")
    w.train(out=w.path("made"), merge=w.path("merged"), **o)
    keys = tensors(w.path("made/adapter_model.safetensors"))
    layers = [f"base_model.model.vit.layers.{i}.{m}.lora_{x}.weight" for i in range(2) for m in ("attention.q_proj", "mlp.fc1") for x in "AB"]
    check(set(keys) == set(layers) | {"base_model.model.classifier.weight", "base_model.model.classifier.bias"}, f"{sorted(keys)}")
    check(all(any(v) for v in keys.values()), "factors of zeros: nothing was learned")
    check(not os.path.exists(w.path("made/config.json")), "an adapter's folder has a config.json: transformers would take it for a model")
    a, b = logits(w, base.FIXTURE, "", "--adapter", w.path("made")), logits(w, w.path("merged"), "")
    check(off(a, b) < 1e-5, f"merged and beside differ by {off(a, b):.2g}")
    was, now = tensors(os.path.join(base.FIXTURE, "model.safetensors")), tensors(w.path("merged/model.safetensors"))
    moved = {k for k in now if k in was and now[k] != was[k]}
    want = {f"vit.encoder.layer.{i}.{m}.weight" for i in range(2) for m in ("attention.attention.query", "intermediate.dense")} | {"classifier.weight", "classifier.bias"}
    check(moved == want, f"moved: {sorted(moved ^ want)}")


@test
def resumed_and_threads(w):
    o = dict(LORA, data=samples(w))
    w.train(out=w.path("whole"), threads=1, **o)
    import random, signal
    r, kills = random.Random(5), 0
    for _ in range(100):
        p = subprocess.Popen(w.command(out=w.path("killed"), threads=2, **o), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            p.wait(0.03 + r.random() * 0.1)
            break
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            p.wait()
            kills += 1
    w.train(out=w.path("killed"), threads=3, **o)
    base.same_files(w, "whole", "killed", ("adapter_model.safetensors", "adapter_config.json", "state.safetensors", "log.jsonl"))


@test
def names_find_layers(w):
    """PEFT's ways to name modules: a list of ends, an expression for whole names, all-linear; in memory or as the file has them."""
    data = samples(w)
    for target, count in (("q_proj", 2), ("layers.1.attention.q_proj", 1), ("attention.attention.query,fc2", 4), (r"vit\.layers\.0\..*", 6), ("all-linear", 13),
                          (r".*\.(q|k)_proj", 4)):
        out = w.path("names")
        w.train(model=base.FIXTURE, data=data, out=out, steps=1, lora=target)
        n = len(tensors(os.path.join(out, "adapter_model.safetensors"))) // 2
        check(n == count, f"{target}: {n} modules, expected {count}")
        os.remove(os.path.join(out, "state.safetensors"))


@test
def one_line_each(w):
    data = samples(w)

    def fails(code, words, **options):
        text = w.train(code=code, **{**dict(model=base.FIXTURE, data=data, out=w.path("bad"), steps=1), **options})
        check(all(x in text for x in words), f"{text!r} does not say {words}")

    def refuses(words, **changes):
        folder = w.path("refused")
        os.makedirs(folder, exist_ok=True)
        config = dict(json.loads(text_of(os.path.join(ADAPTERS, "vit", "adapter_config.json"))), **changes)
        w.write("refused/adapter_config.json", json.dumps(config).encode())
        if not os.path.exists(os.path.join(folder, "adapter_model.safetensors")):
            w.write("refused/adapter_model.safetensors", text_of(os.path.join(ADAPTERS, "vit", "adapter_model.safetensors")))
        text = run(w, "classify", "-m", base.FIXTURE, "--adapter", folder, os.path.join(PICTURES, "photo.jpg"), code=1)
        check(all(x in text for x in words) and text.count("\n") == 1, f"{text!r} does not say {words}")

    fails(2, ["lora nothing", "no linear layer"], lora="nothing")
    fails(2, ["lora", "adapter"], lora="q_proj", adapter="x")
    fails(2, ["merge"], merge=w.path("m"))
    fails(1, ["lora", "parenthesis"], lora="(")
    fails(1, ["adapter_config.json"], adapter=w.folder)
    refuses(["use_dora"], use_dora=True)
    refuses(["peft_type", "IA3"], peft_type="IA3")
    refuses(["lora_alpha"], lora_alpha="much")
    w.write("refused/adapter_model.safetensors", text_of(os.path.join(ADAPTERS, "gpt2", "adapter_model.safetensors")))
    refuses(["c_attn", "fits no"])
    w.write("refused/adapter_model.safetensors", text_of(os.path.join(ADAPTERS, "vit", "adapter_model.safetensors"))[:900])
    refuses(["adapter_model.safetensors"])


if __name__ == "__main__":
    base.main()
