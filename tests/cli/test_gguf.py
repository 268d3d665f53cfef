#!/usr/bin/env python3
"""test_gguf.py - GGUF files as models: every architecture gives what the folder it was made from gives.

    test_gguf.py PROGRAM [-v]

The folders are those of tests/parity/fixtures, which the parity tests compare with the reference; gguf_file.py writes the files.
Ids must be equal, logits within 1e-5 of each other (what is expressed otherwise, such as the order of a head's columns or
frequencies as factors, rounds otherwise), of a file in F16 within 2e-3. Then files that no model can be made of: one line, no crash. Standard library only.
"""
import argparse, array, json, math, os, shutil, struct, subprocess, sys, tempfile

import gguf_file as G

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIXTURES = os.path.join(ROOT, "tests", "parity", "fixtures")
PLAIN_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "attention_factor": 1.2}
# folder, what is changed in its configuration because GGUF cannot say it, type of the matrices
CASES = [("llama-hub", {}, 0), ("llama-v5", {}, 0), ("mistral-v5", {}, 0), ("qwen2-hub", {"rope_scaling": PLAIN_YARN, "use_sliding_window": False}, 0),
         ("qwen3-train", {}, 0), ("gemma-train", {}, 0), ("gemma2-train", {"query_pre_attn_scalar": 12}, 0),
         ("gemma3-train", {"query_pre_attn_scalar": 12, "layer_types": None, "sliding_window_pattern": 6}, 0), ("phi3-v5", {}, 0), ("gpt2-v5", {"activation_function": "gelu_new", "scale_attn_by_inverse_layer_idx": False, "scale_attn_weights": True}, 0), ("llama-hub", {}, 1)]
TEXTS = ["The quick brown fox, 12345 jumps!", " a  b\n\nc", "Émigré \U0001F600 x"]


class Failed(Exception):
    pass


def check(ok, text):
    if not ok:
        raise Failed(text)


def run(program, *arguments):
    p = subprocess.run([program, *arguments], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    return p.returncode, p.stdout, p.stderr.decode("utf-8", "replace")


def good(program, *arguments):
    code, out, err = run(program, *arguments)
    check(code == 0, "%s: %s" % (" ".join(arguments), err))
    return out


def traced(program, model, text, where, *more):
    good(program, "trace", "-m", model, "--raw", "--text", text, "-o", where, "--max-tokens", "8", "--ignore-eos", *more)
    with open(where, "rb") as f:
        raw = f.read()
    n = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for k, t in json.loads(raw[8:8 + n]).items():
        if k != "__metadata__":
            a, b = t["data_offsets"]
            out[k] = array.array({"F32": "f", "I64": "q"}[t["dtype"]], raw[8 + n + a:8 + n + b])
    return out


def distance(x, y):
    check(len(x) == len(y) and len(x), "%d numbers, expected %d" % (len(x), len(y)))
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y)) / sum(b * b for b in y))


def same_as_folder(program, folder, name, change, kind):
    source, path = os.path.join(folder, name), os.path.join(folder, name + ".gguf")
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(os.path.join(FIXTURES, name), source)
    with open(os.path.join(source, "config.json"), encoding="utf-8") as f:
        config = dict(json.load(f), **change)
    with open(os.path.join(source, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    G.convert(source, path, kind, change)
    for text in TEXTS:
        if "scores" in "".join(G.words(source, config)):  # blanks in front: llama.cpp and transformers differ by one
            text = text.lstrip()
        a, b = traced(program, path, text, folder + "/a.safetensors"), traced(program, source, text, folder + "/b.safetensors")
        check(a["input_ids"] == b["input_ids"], "%s: ids of %r: %s, expected %s" % (name, text, list(a["input_ids"]), list(b["input_ids"])))
        d = distance(a["logits"], b["logits"])
        check(d < (2e-3 if kind else 1e-5), "%s: logits off by %.2e" % (name, d))
        check(kind or a["generated_ids"] == b["generated_ids"], "%s: %s, expected %s" % (name, list(a["generated_ids"]), list(b["generated_ids"])))
    with open(os.path.join(FIXTURES, name, "golden.json"), encoding="utf-8") as f:
        chats = "chat_template" in G.load_json(source, "tokenizer_config.json") or os.path.exists(os.path.join(source, "chat_template.jinja"))
    info = json.loads(good(program, "inspect", "-m", path, "--json"))
    check(info["chat_template"] == chats, "%s: chat_template %s" % (name, info["chat_template"]))
    check(not info["warnings"], "%s: %s" % (name, info["warnings"]))


def refused(program, folder):
    source = os.path.join(FIXTURES, "llama-hub")
    path = os.path.join(folder, "bad.gguf")
    cases = [({"general.architecture": (G.TEXT, "mamba")}, "general.architecture: mamba, expected"), ({"general.architecture": (G.U32, 1)}, "general.architecture: missing"),
             ({"llama.block_count": (G.TEXT, "two")}, "llama.block_count: expected a whole number"), ({"llama.block_count": (G.U32, 3)}, "missing tensor"),
             ({"llama.embedding_length": (G.U32, 0)}, "hidden_size"), ({"llama.embedding_length": (G.U32, 33)}, "shape"),
             ({"llama.rope.dimension_count": (G.U32, 6)}, "rope.dimension_count: 6, expected"), ({"llama.expert_count": (G.U32, 8)}, "without experts"),
             ({"llama.attention.head_count": (G.LIST, (G.U32, [4, 2]))}, "the same for every block"), ({"tokenizer.ggml.pre": (G.TEXT, "new")}, "tokenizer.ggml.pre: new"),
             ({"tokenizer.ggml.model": (G.TEXT, "rwkv")}, "tokenizer.ggml.model: rwkv, expected gpt2 or llama"), ({"tokenizer.ggml.tokens": (G.U32, 1)}, "tokenizer.ggml.tokens"),
             ({"tokenizer.ggml.tokens": (G.LIST, (G.TEXT, [b"\xff", b"a"]))}, "tokenizer.ggml.token"), ({"tokenizer.ggml.merges": (G.LIST, (G.TEXT, ["a"]))}, "merges"),
             ({"tokenizer.ggml.token_type": (G.LIST, (G.I32, [1]))}, "a number for each token"), ({"tokenizer.chat_template": (G.TEXT, "{% if %}")}, "chat_template"),
             ({"llama.context_length": (G.F32, 1.5)}, "llama.context_length"),
             ({"llama.rope.freq_base": (G.F32, math.nan)}, "llama.rope.freq_base: expected a finite number"), ({"llama.attention.head_count": (G.U32, 0)}, "num_attention_heads")]
    for more, says in cases:
        G.convert(source, path, 0, {}, more)
        code, out, err = run(program, "ask", "-m", path, "hi")
        check(code == 1 and not out and err.count("\n") == 1 and says in err, "%s: %d %r, expected %r" % (more, code, err, says))
    code, out, err = run(program, "train", "-m", path)
    check(code != 0 and not out, "train: accepted a GGUF file")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("-v", action="store_true")
    o = p.parse_args()
    program, failed = os.path.abspath(o.program), 0
    tests = [(name + (" f16" if kind else ""), lambda f, c=(name, change, kind): same_as_folder(program, f, *c)) for name, change, kind in CASES]
    tests.append(("refused", lambda f: refused(program, f)))
    with tempfile.TemporaryDirectory() as folder:
        for name, test in tests:
            try:
                test(folder)
                if o.v:
                    print("ok", name)
            except Failed as e:
                failed += 1
                print("FAILED %s: %s" % (name, e))
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
