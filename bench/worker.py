"""worker.py - one contender at one kind of work, in a process of its own; peers.py starts it and tells it when to run.

    worker.py WORK CONTENDER THREADS MODELS LIBRARY        answers "ready {...}", then on every line "go" the seconds of a run

Everything is loaded and has run once or twice before "ready". What is timed starts with pixel values (or ids) in memory and ends with
the model's output in memory; the work "jpeg" starts with the file.
"""
import json
import os
import resource
import sys
import time

WORK, CONTENDER, THREADS, MODELS, LIBRARY = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
os.environ.update(OMP_NUM_THREADS=str(THREADS), HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")
import numpy as np

import models

SIDE = 224
TOKENS = 32  # of a decode run


def pixels(n, height=SIDE, width=SIDE):
    return np.random.default_rng(7).standard_normal((n, 3, height, width)).astype(np.float32)


def mixed():
    """32 patch grids of 64 to 1,024 patches, tall, wide and square."""
    rng = np.random.default_rng(5)
    grids = [(8, 8), (32, 32)]
    while len(grids) < 32:
        r, c = int(rng.integers(6, 41)), int(rng.integers(6, 41))
        if 64 <= r * c <= 1024 and max(r, c) <= 2 * min(r, c):
            grids.append((r, c))
    return grids


def rebus(name, precision="f32"):
    from librebus import Rebus
    return Rebus(LIBRARY, os.path.join(MODELS, name), THREADS, precision)


def torch_ready():
    import torch
    torch.set_num_threads(THREADS)
    torch.set_grad_enabled(False)
    return torch


def torch_vit(attention="sdpa"):
    import transformers as T
    return T.ViTModel.from_pretrained(os.path.join(MODELS, "vit-b16"), add_pooling_layer=False, attn_implementation=attention).eval()


# ------------------------------------------------------------------------------------------------ whole towers
def tower(name, n, precision="f32"):
    if CONTENDER == "rebus":
        r = rebus(name, precision)
        rgb = np.random.default_rng(7).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        prompts = [r.picture(rgb) for _ in range(n)]
        flops = r.bench(prompts[:1], 1, 1)["vision"]["flops"]
        return lambda: r.embed(prompts), {"flops": flops * n}
    if CONTENDER in ("torch", "torch-compile"):
        torch = torch_ready()
        if name == "vit-b16":
            model = torch_vit()
        else:
            import transformers as T
            model = T.CLIPModel.from_pretrained(os.path.join(MODELS, name)).eval().get_image_features
        x = torch.from_numpy(pixels(n))
        if precision == "bf16":
            x = x.bfloat16()
            model = (model if name == "vit-b16" else model.__self__).bfloat16()
            model = model if name == "vit-b16" else model.get_image_features
        if CONTENDER == "torch-compile":
            model = torch.compile(model)
        return lambda: model(x), {}
    path, x = models.vit_int8(MODELS) if precision == "int8" else os.path.join(MODELS, name + ".onnx"), pixels(n)
    if CONTENDER == "onnxruntime":
        import onnxruntime as ort
        o = ort.SessionOptions()
        o.intra_op_num_threads = THREADS
        s = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
        return lambda: s.run(None, {"pixel_values": x}), {}
    import openvino as ov
    core = ov.Core()
    model = core.read_model(path)
    model.reshape([n, 3, SIDE, SIDE])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32" if precision == "f32" else "bf16", "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    return lambda: request.infer([x]), {}


# ------------------------------------------------------------------------------------------------ attention
def attention(tokens, kind=""):
    torch = torch_ready()
    q, k, v = (torch.randn(1, 12, tokens, 64).to(torch.bfloat16 if kind == "bf16" else torch.float32) for _ in range(3))
    return lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v), {}


# ------------------------------------------------------------------------------------------------ pictures of all sizes
def embeddings(model, x, grid):
    return model.embeddings(x, interpolate_pos_encoding=True)[0]


def encode(torch, model, rows, attend):
    """The encoder over a table of rows [n, 768]; attend gets q, k, v of it."""
    F = torch.nn.functional
    for w in model.plain:
        y = F.layer_norm(rows, (768,), w["layernorm_before.weight"], w["layernorm_before.bias"], 1e-12)
        q, k, v = (F.linear(y, w[n + ".weight"], w[n + ".bias"]) for n in ("q", "k", "v"))
        rows = rows + F.linear(attend(q, k, v), w["o.weight"], w["o.bias"])
        y = F.layer_norm(rows, (768,), w["layernorm_after.weight"], w["layernorm_after.bias"], 1e-12)
        rows = rows + F.linear(F.gelu(F.linear(y, w["up.weight"], w["up.bias"])), w["down.weight"], w["down.bias"])
    return F.layer_norm(rows, (768,), model.layernorm.weight, model.layernorm.bias, 1e-12)


def plain_weights(model):
    """The layers' tensors under short names, whatever the library calls its modules."""
    short = (("query", "q"), ("q_proj", "q"), ("key", "k"), ("k_proj", "k"), ("value", "v"), ("v_proj", "v"), ("attention.output.dense", "o"),
             ("o_proj", "o"), ("intermediate.dense", "up"), ("fc1", "up"), ("output.dense", "down"), ("fc2", "down"),
             ("layernorm_before", "layernorm_before"), ("layernorm_after", "layernorm_after"))
    layers = {}
    for name, t in model.state_dict().items():
        number = [p for p in name.split(".") if p.isdigit()]
        if number:
            kind = next(b for a, b in short if a in name)
            layers.setdefault(int(number[0]), {})[kind + "." + name.split(".")[-1]] = t
    model.plain = [layers[i] for i in sorted(layers)]


def sizes(precision="f32"):
    """A run is long, so what is run before it to be warm is the first two pictures."""
    grids = mixed()
    about = {"units": len(grids), "tokens": sum(r * c for r, c in grids), "warm": True}
    if CONTENDER == "rebus":
        r = rebus("vit-b16", precision)
        rng = np.random.default_rng(7)
        prompts = [r.picture(rng.integers(0, 256, (16 * h, 16 * w, 3), np.uint8), height=16 * h, width=16 * w) for h, w in grids]
        return lambda: r.embed(prompts), dict(about, flops=r.bench(prompts, 1, 1)["vision"]["flops"])
    torch = torch_ready()
    model = torch_vit()
    every = [torch.from_numpy(pixels(1, 16 * r, 16 * c)) for r, c in grids]
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    if CONTENDER == "torch-one":
        model, every = model.to(kind), [x.to(kind) for x in every]
        run = lambda xs: [model(x, interpolate_pos_encoding=True) for x in xs]
        run(every[:2])
        return lambda: run(every), about
    plain_weights(model)
    F = torch.nn.functional
    heads = lambda t: t.unflatten(-1, (12, 64)).transpose(-3, -2)
    back = lambda t: t.transpose(-3, -2).flatten(-2)

    def packed(xs):
        counts = [1 + r * c for r, c in grids[:len(xs)]]
        rows = torch.cat([embeddings(model, x, g) for x, g in zip(xs, grids)])
        def attend(q, k, v):
            parts = [t.split(counts) for t in (q, k, v)]
            return torch.cat([back(F.scaled_dot_product_attention(*(heads(t)[None] for t in one)))[0] for one in zip(*parts)])
        return encode(torch, model, rows, attend)

    def padded(xs):
        counts = [1 + r * c for r, c in grids[:len(xs)]]
        mask = torch.zeros(len(xs), 1, 1, max(counts), dtype=torch.bool)
        for i, n in enumerate(counts):
            mask[i, :, :, :n] = True
        rows = torch.nn.utils.rnn.pad_sequence([embeddings(model, x, g) for x, g in zip(xs, grids)], batch_first=True)
        return encode(torch, model, rows, lambda q, k, v: back(F.scaled_dot_product_attention(heads(q), heads(k), heads(v), attn_mask=mask)))

    run = packed if CONTENDER == "torch-packed" else padded
    want = model(every[0], interpolate_pos_encoding=True).last_hidden_state[0]
    got = run(every[:2])[:len(want)] if CONTENDER == "torch-packed" else run(every[:2])[0, :len(want)]
    assert torch.allclose(want, got, atol=1e-3), "the peer's own encoder is wrong"
    model, every = model.to(kind), [x.to(kind) for x in every]
    plain_weights(model)
    run(every[:2])
    return lambda: run(every), about


# ------------------------------------------------------------------------------------------------ decoding
def jpeg():
    path = models.photo(MODELS)
    if CONTENDER == "pillow":
        from PIL import Image

        def run():
            x = np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
            return ((x.astype(np.float32) * np.float32(1 / 255) - np.float32(0.5)) / np.float32(0.5)).transpose(2, 0, 1).copy()
        return run, {}
    r = rebus("vit-b16")

    def run():
        p = r.prompt(pil=CONTENDER == "rebus-pil")
        r.call("rebus_prompt_image_file", p, path.encode())
        r.free(p)
    return run, {}


def decode(bf16):
    """A run is TOKENS steps after a prompt of 16 tokens; its time is one step's median."""
    if CONTENDER == "rebus":
        r = rebus("llama-135m-bf16" if bf16 else "llama-135m")
        p = r.prompt(raw=True)
        r.call("rebus_prompt_text", p, b"sixteen letters.")

        def run():
            part = r.bench([p], 1, TOKENS + 1)["decode"]
            run.bytes = part["bytes"]
            return part["ms"]["median"] / 1e3
        run()
        return run, {"own": True, "bytes": run.bytes}
    if CONTENDER == "llama.cpp":
        from llama_cpp import Llama
        m = Llama(models.gguf(MODELS, bf16), n_ctx=128, n_threads=THREADS, n_threads_batch=THREADS, verbose=False)

        def run():
            m.reset()
            m.eval(list(range(3, 19)))
            times = []
            for i in range(TOKENS):
                start = time.perf_counter()
                m.eval([20 + i])
                times.append(time.perf_counter() - start)
            return sorted(times)[TOKENS // 2]
        return run, {"own": True}
    torch = torch_ready()
    import transformers as T
    m = T.LlamaForCausalLM.from_pretrained(models.llama(MODELS, bf16), dtype=torch.bfloat16 if bf16 else torch.float32).eval()

    def run():
        o = m(torch.arange(16)[None], use_cache=True)
        times = []
        for i in range(TOKENS):
            start = time.perf_counter()
            o = m(torch.tensor([[20 + i]]), past_key_values=o.past_key_values, use_cache=True)
            times.append(time.perf_counter() - start)
        return sorted(times)[TOKENS // 2]
    return run, {"own": True}


def prefill():
    """A run reads 512 tokens and says the next token's logits."""
    if CONTENDER == "rebus":
        r = rebus("llama-135m-bf16", "bf16")
        p = r.prompt(raw=True)
        r.call("rebus_prompt_text", p, b"sixteen letters." * 32)

        def run():
            part = r.bench([p], 1, 1)["prefill"]
            run.flops = part["flops"]
            return part["ms"]["median"] / 1e3
        run()
        return run, {"own": True, "flops": run.flops}
    if CONTENDER == "llama.cpp":
        from llama_cpp import Llama
        m = Llama(models.gguf(MODELS, True), n_ctx=1024, n_batch=512, n_threads=THREADS, n_threads_batch=THREADS, verbose=False)

        def run():
            m.reset()
            start = time.perf_counter()
            m.eval(list(range(3, 515)))
            return time.perf_counter() - start
        return run, {"own": True}
    torch = torch_ready()
    import transformers as T
    m = T.LlamaForCausalLM.from_pretrained(models.llama(MODELS, True), dtype=torch.bfloat16).eval()
    return lambda: m(torch.arange(512)[None] % 256, use_cache=True, logits_to_keep=1), {}


def together():
    """One step of eight sequences; a step of each alone; PyTorch's step of the eight."""
    if CONTENDER.startswith("rebus"):
        r = rebus("llama-135m-bf16", "bf16")
        prompts = []
        for i in range(8):
            prompts.append(r.prompt(raw=True))
            r.call("rebus_prompt_text", prompts[-1], b"sixteen letter%02d" % i)
        one = CONTENDER == "rebus-one"

        def run():
            part = r.bench(prompts[:1] if one else prompts, 1, TOKENS + 1)["decode"]
            run.bytes = part["bytes"]
            return part["ms"]["median"] / 1e3 * (8 if one else 1)
        run()
        return run, {"own": True, "bytes": run.bytes} if not one else {"own": True}
    torch = torch_ready()
    import transformers as T
    m = T.LlamaForCausalLM.from_pretrained(models.llama(MODELS, True), dtype=torch.bfloat16).eval()

    def run():
        o = m(torch.arange(16)[None].repeat(8, 1), use_cache=True)
        times = []
        for i in range(TOKENS):
            start = time.perf_counter()
            o = m(torch.full((8, 1), 20 + i), past_key_values=o.past_key_values, use_cache=True)
            times.append(time.perf_counter() - start)
        return sorted(times)[TOKENS // 2]
    return run, {"own": True}


# ------------------------------------------------------------------------------------------------ tokenizers
def tokenize(name):
    """The peer's fastest call; rebus is tokenize.c. The sum of the ids is what peers.py compares."""
    from transformers import AutoTokenizer
    t = AutoTokenizer.from_pretrained(os.path.join(MODELS, name))._tokenizer
    with open(os.path.join(MODELS, "texts.txt"), encoding="utf-8", newline="") as f:
        docs = f.read().split("\0")
    run = lambda: t.encode_batch_fast(docs, add_special_tokens=False)
    total = count = 0
    for e in run():
        count += len(e.ids)
        for i in e.ids:
            total = (total * 31 + i) % 1000000007
    return run, {"tokens": count, "sum": total}


def open_tokenizer(name):
    from tokenizers import Tokenizer
    return lambda: Tokenizer.from_file(os.path.join(MODELS, name, "tokenizer.json")), {}


def main():
    made = {"vit1": lambda: tower("vit-b16", 1), "vit16": lambda: tower("vit-b16", 16), "clip1": lambda: tower("clip-l14", 1),
            "vit1-bf16": lambda: tower("vit-b16", 1, "bf16"), "vit16-bf16": lambda: tower("vit-b16", 16, "bf16"),
            "vit1-int8": lambda: tower("vit-b16", 1, "int8"), "vit16-int8": lambda: tower("vit-b16", 16, "int8"),
            "clip1-bf16": lambda: tower("clip-l14", 1, "bf16"), "clip16-bf16": lambda: tower("clip-l14", 16, "bf16"), "sizes": sizes,
            "sizes-bf16": lambda: sizes("bf16"), "jpeg": jpeg,
            "attend1024": lambda: attention(1024), "attend4096": lambda: attention(4096),
            "attend1024-bf16": lambda: attention(1024, "bf16"), "attend4096-bf16": lambda: attention(4096, "bf16"), "decode-f32": lambda: decode(False),
            "decode-bf16": lambda: decode(True), "prefill-bf16": prefill, "together": together}
    if WORK.startswith("tok-open"):
        run, about = open_tokenizer("tok" + WORK[len("tok-open"):])
    else:
        run, about = tokenize(WORK) if WORK.startswith("tok-") else made[WORK]()
    own, once = about.pop("own", False), 3
    if not about.pop("warm", False):
        start = time.perf_counter()
        run()
        once = time.perf_counter() - start
    if once < 3:
        start = time.perf_counter()
        run()
        once = min(once, time.perf_counter() - start)
    rounds = 1 if own else max(1, min(50, int(0.6 / once)))
    print("ready " + json.dumps(about), flush=True)
    for line in sys.stdin:
        if line.strip() != "go":
            break
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            took = run()
            times.append(took if own else time.perf_counter() - start)
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"seconds": times, "resident": rss << 10}), flush=True)


main()
