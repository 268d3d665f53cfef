"""gguf_file.py - a checkpoint folder of a text model written as the GGUF file that llama.cpp's converter would make of it.

    convert(folder, path, kind=0, change={})     kind: 0 f32, 1 f16; change: members of config.json instead of the folder's
    write(path, values, tensors)                 values: {key: (kind, value)}; tensors: [(name, sides outermost first, type, bytes)]

Standard library only: what the tests of the program need. Query and key of llama are stored for neighbouring pairs, norms of gemma
with their 1, matrices of gpt2 turned, as that converter does.
"""
import array
import json
import os
import re
import struct

U32, I32, F32, BOOL, TEXT, LIST = 4, 5, 6, 7, 8, 9
PACK = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}


def text(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


def value(kind, v):
    if kind == TEXT:
        return text(v)
    if kind == LIST:
        of, items = v
        return struct.pack("<IQ", of, len(items)) + b"".join(value(of, x) for x in items)
    return struct.pack(PACK[kind], v)


def write(path, values, tensors, alignment=32):
    head, data, offset = b"", b"", 0
    for key, (kind, v) in values.items():
        head += text(key) + struct.pack("<I", kind) + value(kind, v)
    for name, sides, kind, raw in tensors:
        head += text(name) + struct.pack("<I", len(sides)) + b"".join(struct.pack("<Q", s) for s in reversed(sides)) + struct.pack("<IQ", kind, offset)
        raw += bytes(-len(raw) % alignment)
        data += raw
        offset += len(raw)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + head
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % alignment) + data)


# ------------------------------------------------------------------------------------------------ folders
def load_json(folder, name):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def read_tensors(folder):
    """{name: (sides, array of floats)}"""
    out = {}
    for name in sorted(os.listdir(folder)):
        if not re.match(r"model.*\.safetensors$", name):
            continue
        with open(os.path.join(folder, name), "rb") as f:
            raw = f.read()
        n = struct.unpack("<Q", raw[:8])[0]
        for key, t in json.loads(raw[8:8 + n]).items():
            if key == "__metadata__":
                continue
            begin, end = (8 + n + o for o in t["data_offsets"])
            b = raw[begin:end]
            if t["dtype"] == "BF16":
                b = b"".join(b"\0\0" + b[i:i + 2] for i in range(0, len(b), 2))
            x = array.array("f", struct.unpack("<%de" % (len(b) // 2), b)) if t["dtype"] == "F16" else array.array("f", b)
            out[key] = (t["shape"], x)
    return out


def transposed(sides, x):
    rows, columns = sides
    return [columns, rows], array.array("f", [x[r * columns + c] for c in range(columns) for r in range(rows)])


def paired(sides, x, heads):
    """Rows of each head: 0, d/2, 1, d/2 + 1, ..."""
    row = len(x) // sides[0]
    dim = sides[0] // heads
    out = array.array("f")
    for h in range(heads):
        for i in range(dim // 2):
            for half in (i, i + dim // 2):
                at = (h * dim + half) * row
                out.extend(x[at:at + row])
    return sides, out


LAYER = [("input_layernorm", "attn_norm"), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
         ("self_attn.o_proj", "attn_output"), ("self_attn.qkv_proj", "attn_qkv"), ("self_attn.q_norm", "attn_q_norm"), ("self_attn.k_norm", "attn_k_norm"),
         ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"), ("mlp.gate_up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
         ("ln_1", "attn_norm"), ("attn.c_attn", "attn_qkv"), ("attn.c_proj", "attn_output"), ("ln_2", "ffn_norm"), ("mlp.c_fc", "ffn_up"), ("mlp.c_proj", "ffn_down")]
NORMS = {"post_attention_layernorm": "ffn_norm"}
FOUR = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "transformer.wte": "token_embd",
         "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm", "wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}


def gguf_name(name, four):
    stem, end = name.rsplit(".", 1)
    m = re.match(r"(?:model\.layers|transformer\.h|h)\.(\d+)\.(.*)", stem)
    if not m:
        return OUTER[stem] + "." + end
    rows = dict(LAYER)
    rows.update(FOUR if four else NORMS)
    return "blk.%s.%s.%s" % (m.group(1), rows[m.group(2)], end)


def words(folder, c):
    t, tc = load_json(folder, "tokenizer.json"), load_json(folder, "tokenizer_config.json")
    vocab = dict(t["model"]["vocab"])
    special = {a["content"]: a for a in t["added_tokens"]}
    vocab.update({a["content"]: a["id"] for a in t["added_tokens"]})
    tokens = sorted(vocab, key=vocab.get)
    pieces = t["model"].get("byte_fallback")
    kind = lambda s: (3 if special[s]["special"] else 4) if s in special else 6 if pieces and re.match(r"<0x..>$", s) else 1
    merges = [m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]]
    out = {"tokenizer.ggml.model": (TEXT, "llama" if pieces else "gpt2"), "tokenizer.ggml.tokens": (LIST, (TEXT, tokens)),
           "tokenizer.ggml.token_type": (LIST, (I32, [kind(s) for s in tokens]))}
    if pieces:
        out["tokenizer.ggml.scores"] = (LIST, (F32, [-float(i) for i in range(len(tokens))]))
    else:
        out["tokenizer.ggml.merges"] = (LIST, (TEXT, merges))
        out["tokenizer.ggml.pre"] = (TEXT, "qwen2" if c["model_type"] == "qwen2" else "llama-bpe" if "{1,3}" in json.dumps(t["pre_tokenizer"]) else "gpt-2")
    single = json.dumps([p for p in (t["post_processor"] or {}).get("processors", [t["post_processor"] or {}]) if "single" in p])
    for name, member, key in (("bos", "bos_token", "bos"), ("eos", "eos_token", "eos"), ("unk", "unk_token", "unknown"), ("pad", "pad_token", "padding")):
        s = tc.get(member)
        s = s["content"] if isinstance(s, dict) else s
        if s in vocab:
            out["tokenizer.ggml.%s_token_id" % key] = (U32, vocab[s])
            if name in ("bos", "eos"):
                out["tokenizer.ggml.add_%s_token" % name] = (BOOL, json.dumps({"SpecialToken": {"id": s, "type_id": 0}}) in single)
    chat = tc.get("chat_template")
    path = os.path.join(folder, "chat_template.jinja")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            chat = f.read()
    if isinstance(chat, str):
        out["tokenizer.chat_template"] = (TEXT, chat)
    return out


def settings(c, arch):
    out = {"general.architecture": (TEXT, arch)}
    put = lambda key, kind, member: c.get(member) is not None and out.__setitem__(arch + "." + key, (kind, c[member]))
    if arch == "gpt2":
        for key, member in (("embedding_length", "n_embd"), ("block_count", "n_layer"), ("attention.head_count", "n_head"), ("context_length", "n_positions"),
                            ("feed_forward_length", "n_inner")):
            put(key, U32, member)
        put("attention.layer_norm_epsilon", F32, "layer_norm_epsilon")
        return out
    for key, member in (("embedding_length", "hidden_size"), ("block_count", "num_hidden_layers"), ("attention.head_count", "num_attention_heads"),
                        ("attention.head_count_kv", "num_key_value_heads"), ("context_length", "max_position_embeddings"),
                        ("feed_forward_length", "intermediate_size"), ("attention.key_length", "head_dim"), ("attention.sliding_window", "sliding_window")):
        put(key, U32, member)
    put("attention.layer_norm_rms_epsilon", F32, "rms_norm_eps")
    for member in ("attn_logit_softcapping", "final_logit_softcapping"):
        put(member, F32, member)
    rope = dict(c.get("rope_scaling") or {}, **(c.get("rope_parameters") or {}))
    theta = rope.get("rope_theta", c.get("rope_theta"))
    if theta:
        out[arch + ".rope.freq_base"] = (F32, theta)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in ("linear", "yarn", "longrope"):
        out[arch + ".rope.scaling.type"] = (TEXT, kind)
        for key, k, member in (("factor", F32, "factor"), ("original_context_length", U32, "original_max_position_embeddings"), ("attn_factor", F32, "attention_factor")):
            if rope.get(member) is not None:
                out["%s.rope.scaling.%s" % (arch, key)] = (k, rope[member])
    return out


def llama3_factors(rope, theta, dim):
    """What llama.cpp's converter puts into rope_freqs.weight."""
    import math
    factor, low, high, original = (rope[k] for k in ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"))
    out = []
    for i in range(0, dim, 2):
        wave = 2 * math.pi * theta ** (i / dim)
        smooth = (original / wave - low) / (high - low)
        out.append(1 if wave < original / high else factor if wave > original / low else 1 / ((1 - smooth) / factor + smooth))
    return out


def convert(folder, path, kind=0, change={}, more={}):
    c = dict(load_json(folder, "config.json"), **change)
    arch = {"gemma3_text": "gemma3", "mistral": "llama"}.get(c["model_type"], c["model_type"])
    heads, kv = c.get("num_attention_heads"), c.get("num_key_value_heads")
    tensors = []
    for name, (sides, x) in read_tensors(folder).items():
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        if arch == "llama" and ".q_proj." in name:
            sides, x = paired(sides, x, heads)
        elif arch == "llama" and ".k_proj." in name:
            sides, x = paired(sides, x, kv or heads)
        elif arch == "gpt2" and re.search(r"c_(attn|proj|fc)\.weight$", name):
            sides, x = transposed(sides, x)
        elif arch.startswith("gemma") and name.endswith("norm.weight"):
            x = array.array("f", [v + 1 for v in x])
        wide = kind and len(sides) > 1 and "position" not in gguf_name(name, arch in ("gemma2", "gemma3"))
        tensors.append((gguf_name(name, arch in ("gemma2", "gemma3")), sides, 1 if wide else 0, struct.pack("<%de" % len(x), *x) if wide else x.tobytes()))
    rope = dict(c.get("rope_scaling") or {}, **(c.get("rope_parameters") or {}))
    lists = {}
    if rope.get("rope_type") == "llama3":
        lists["rope_freqs.weight"] = llama3_factors(rope, rope.get("rope_theta", c.get("rope_theta")), c["head_dim"])
    if rope.get("short_factor"):
        lists["rope_factors_short.weight"], lists["rope_factors_long.weight"] = rope["short_factor"], rope["long_factor"]
    tensors += [(n, [len(v)], 0, array.array("f", v).tobytes()) for n, v in lists.items()]
    write(path, {**settings(c, arch), **words(folder, c), **more}, tensors)
