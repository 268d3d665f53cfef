#!/usr/bin/env python3
"""test_hostile.py - checkpoints, pictures, prompts and options that are broken, absurd or made to hurt.

    test_hostile.py PROGRAM [MODELS] [-k WORD] [-v]

Every case must end as the contract says: exit code 1 (cannot be done) or 2 (cannot be meant), exactly one line `rebus: ...` on
standard error, nothing on standard output, no file left, within SECONDS and MEMORY of address space. A few must succeed.
Standard library only. The last line is `N passed, N failed`.
"""
import argparse, array, io, json, os, resource, shutil, struct, subprocess, sys, tempfile, time, zipfile

import checkpoint

SECONDS, MEMORY = 20, 2 << 30
CASES = []


class Failed(Exception):
    pass


def case(f):
    CASES.append(f)
    return f


class World:
    def __init__(self, program, models, folder, bounded, slower):
        self.program, self.models, self.folder, self.bounded, self.slower, self.count = program, models, folder, bounded, slower, 0
        self.llava, self.clip, self.vit = (os.path.join(models, n) for n in ("llava-easyvqa", "clip-fashion", "vit-fashion"))
        self.shape, self.shoe = os.path.join(self.llava, "pictures", "0.png"), os.path.join(self.vit, "pictures", "00.png")

    def path(self, ending=""):
        self.count += 1
        return os.path.join(self.folder, f"{self.count}{ending}")

    def write(self, ending, data):
        p = self.path(ending)
        with open(p, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        return p

    def copy(self, model, **files):
        """A copy of a trained folder, some files replaced (None: removed); names with _ for . at the end"""
        to = self.path()
        shutil.copytree(model, to, ignore=shutil.ignore_patterns("pictures", "results.json"))
        for name, data in files.items():
            name = os.path.join(to, name.replace("__", "."))
            if data is None:
                os.remove(name)
            else:
                with open(name, "wb") as f:
                    f.write(data if isinstance(data, bytes) else data.encode() if isinstance(data, str) else json.dumps(data).encode())
        return to

    def config(self, model, path, value):
        """A copy whose config.json has another value at that path; value: a string is taken as JSON as it stands"""
        with open(os.path.join(model, "config.json")) as f:
            c = json.load(f)
        at = c
        *way, last = path.split(".")
        for name in way:
            at = at[name]
        mark = "@@value@@"
        at[last] = mark if isinstance(value, str) else value
        text = json.dumps(c)
        return self.copy(model, config__json=text.replace(f'"{mark}"', value) if isinstance(value, str) else text)

    def call(self, *args, env=None, stdin=b"", bounded=MEMORY):
        def limits():
            if self.bounded and bounded:
                resource.setrlimit(resource.RLIMIT_AS, (bounded, bounded))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("REBUS_")}
        try:
            p = subprocess.run([self.program, *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**environment, **(env or {})},
                               timeout=SECONDS * self.slower, preexec_fn=limits, cwd=self.folder)
        except subprocess.TimeoutExpired:
            raise Failed(f"no end after {SECONDS * self.slower} s: {show(args)}")
        return p.returncode, p.stdout, p.stderr

    def bad(self, *args, says=None, code=1, **more):
        """It must fail as it should; says: a word of the message"""
        got, out, err = self.call(*args, **more)
        line = err.decode("utf-8", "replace")
        if got != code or not err.startswith(b"rebus: ") or err.count(b"\n") != 1 or not err.endswith(b"\n") or out or len(line) < 12:
            raise Failed(f"exit {got}, expected {code}; standard error {line[:400]!r}; standard output {out[:80]!r}: {show(args)}")
        if any(b < 32 for b in err[:-1]):
            raise Failed(f"control bytes in {line[:300]!r}")
        if says and says not in line:
            raise Failed(f"{line[:300]!r}, expected a word of {says!r}: {show(args)}")

    def good(self, *args, **more):
        got, out, err = self.call(*args, **more)
        if got or not out:
            raise Failed(f"exit {got}: {err[:300]!r}: {show(args)}")
        return out

    def ask(self, model, *more, says=None, code=1, picture=None, **kind):
        self.bad("ask", "-m", model, "--image", picture or self.shape, "what shape is in the image?", *more, says=says, code=code, **kind)

    def classify(self, model, *more, picture=None, says=None, code=1, **kind):
        self.bad("classify", "-m", model, "--image", picture or self.shoe, *more, says=says, code=code, **kind)


def show(args):
    return " ".join(a if len(a) < 60 else a[:57] + "..." for a in map(os.fsdecode, args))


FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "parity", "fixtures")


# ------------------------------------------------------------------------------------------------ families without a trained folder
@case
def bert_mistakes(w):
    bert, out = os.path.join(FIXTURES, "bert-hub"), w.path(".safetensors")
    for path, value, says in (("type_vocab_size", 0, "type_vocab_size"), ("type_vocab_size", 2 ** 40, "type_vocab_size"), ("type_vocab_size", 1, "shape"), ("vocab_size", 5, "shape"),
                              ("max_position_embeddings", 0, "max_position_embeddings"), ("max_position_embeddings", 4, "shape"), ("hidden_size", 33, "multiple"), ("num_hidden_layers", 3, "layer.2"),
                              ("is_decoder", True, "encoder"), ("add_cross_attention", True, "encoder"), ("position_embedding_type", "\"relative_key\"", "absolute"),
                              ("tie_word_embeddings", False, "decoder.weight"), ("architectures", ["BertForPreTraining"], "cls.seq_relationship.weight"), ("hidden_act", "\"x\"", "hidden_act"),
                              ("architectures", ["BertForSequenceClassification"], "expected with BertForSequenceClassification")):
        w.bad("trace", "-m", w.config(bert, path, value), "--text", "a", "--pair", "b", "-o", out, says=says)
    w.bad("trace", "-m", bert, "--text", "a " * 60, "-o", out, says="48 tokens")
    w.bad("trace", "-m", bert, "--text", "a", "--pair", "b " * 60, "-o", out, says="48 tokens")
    w.bad("embed", "-m", bert, "--text", "a " * 50000, "--json", says="48 tokens")
    w.bad("trace", "-m", bert, "--image", w.shoe, "-o", out, code=2, says="picture")
    w.bad("trace", "-m", os.path.join(FIXTURES, "siglip2-hub"), "--text", "a", "--pair", "b", "-o", out, code=2, says="segment")
    for line in ('{"pair": "b"}', '{"text": "a", "pair": 5}', '{"content": [{"pair": "b"}]}', '{"content": [{"text": "a"}, {"pair": "b"}, {"pair": "c"}]}'):
        w.bad("embed", "-m", bert, "--batch", w.write(".jsonl", line + "\n"), "--json", code=2, says="pair")
        w.bad("trace", "-m", bert, "--batch", w.write(".jsonl", line + "\n"), "-o", out, code=2, says="pair")
    w.good("embed", "-m", bert, "--batch", w.write(".jsonl", '{"text": "a", "pair": ""}\n{"text": "", "pair": "b"}\n'), "--json")


@case
def budgets_of_patches(w):
    siglip, out = os.path.join(FIXTURES, "siglip2-hub"), w.path(".safetensors")
    with open(os.path.join(siglip, "preprocessor_config.json")) as f:
        pipe = json.load(f)
    for key, value in (("patch_size", 0), ("patch_size", -1), ("patch_size", 2 ** 40), ("patch_size", "6"), ("patch_size", [6, 6]), ("patch_size", 7), ("max_num_patches", 0), ("max_num_patches", 2 ** 31),
                       ("max_num_patches", None), ("max_num_patches", 0.5), ("do_resize", False)):
        w.bad("trace", "-m", w.copy(siglip, preprocessor_config__json={**pipe, key: value}), "--image", w.shoe, "-o", out)
    for n in ("0", "-1", "65537", "1e3", "x", "99999999999999999999"):
        w.bad("trace", "-m", siglip, "--image", w.shoe, "--max-patches", n, "-o", out, code=2, says="--max-patches")
    w.bad("trace", "-m", siglip, "--image", w.shoe, "--size", "7x6", "-o", out, code=2, says="multiples")
    for path, value, says in (("vision_config.num_patches", 15, "num_patches"), ("vision_config.num_patches", 2 ** 40, "num_patches"), ("vision_config.num_patches", 25, "shape"),
                              ("vision_config.patch_size", 5, "patch"), ("vision_config.vision_use_head", False, "vision_use_head"), ("vision_config.num_channels", 4, "shape")):
        w.bad("trace", "-m", w.config(siglip, path, value), "--image", w.shoe, "-o", out, says=says)


# ------------------------------------------------------------------------------------------------ weights
@case
def weights_cut_off(w):
    with open(os.path.join(w.vit, "model.safetensors"), "rb") as f:
        data = f.read()
    for n in (0, 1, 7, 8, 9, 100, 4096, len(data) // 2, len(data) - 1):
        w.classify(w.copy(w.vit, model__safetensors=data[:n]), says="model.safetensors")
    w.classify(w.copy(w.vit, model__safetensors=data + b"\0"))


@case
def weights_whose_header_lies(w):
    for n in (0, 1, 2 ** 31, 2 ** 62, 2 ** 63, 2 ** 64 - 1):
        w.classify(w.copy(w.vit, model__safetensors=struct.pack("<Q", n) + b"{}"))
    for header in (b"{" * 100000, b"[" * 100000, b'{"a":' * 50000, b'{"a":{"dtype":"F32","shape":[' + b"1," * 200000 + b"1]}}", b"\xff" * 64, b'{"__metadata__":{"a":"' + b"x" * 5000000 + b'"}}'):
        p = w.copy(w.vit)
        checkpoint.write(os.path.join(p, "model.safetensors"), header, b"")
        w.classify(p)


def retouched(w, model, change):
    """A copy whose header was changed"""
    p = w.copy(model)
    header, data = checkpoint.read(os.path.join(p, "model.safetensors"))
    data = change(header, data) or data
    checkpoint.write(os.path.join(p, "model.safetensors"), header, data)
    return p


@case
def weights_that_overlap_or_leave_the_file(w):
    name = "vit.layernorm.weight"

    def move(d0, d1):
        def change(h, data):
            a, b = h[name]["data_offsets"]
            h[name]["data_offsets"] = [a + d0, b + d1]
        return change
    for d in ((4, 4), (-4, -4), (0, 4), (4, 0), (0, 2 ** 40), (2 ** 40, 2 ** 40), (-10 ** 9, 0)):
        w.classify(retouched(w, w.vit, move(*d)))
    for shape in ([96, 2 ** 60], [2 ** 32, 2 ** 32], [-96], [96.5], [0], [], [1] * 64, "96", [2 ** 63, 0]):
        w.classify(retouched(w, w.vit, lambda h, d: h[name].update(shape=shape)))
    for kind in ("F99", "", "f32", 7, "I8", "F64"):
        w.classify(retouched(w, w.vit, lambda h, d: h[name].update(dtype=kind)))


@case
def weights_of_wrong_shape(w):
    def turn(name):
        def change(h, d):
            h[name]["shape"].reverse()
        return change
    w.classify(retouched(w, w.vit, turn("vit.encoder.layer.0.intermediate.dense.weight")), says="intermediate.dense.weight: shape")
    w.ask(retouched(w, w.llava, turn("multi_modal_projector.linear_1.weight")), says="linear_1")
    w.ask(retouched(w, w.llava, turn("language_model.lm_head.weight")), says="lm_head.weight: shape")


@case
def weights_that_are_missing(w):
    def drop(name):
        def change(h, d):
            h["other"] = h.pop(name)
        return change
    for name in ("vit.layernorm.weight", "vit.encoder.layer.5.output.dense.weight", "vit.embeddings.cls_token"):
        w.classify(retouched(w, w.vit, drop(name)), says=name)
    for name in ("multi_modal_projector.linear_2.bias", "language_model.model.layers.3.mlp.up_proj.weight", "language_model.lm_head.weight",
                 "vision_tower.embeddings.class_embedding"):
        w.ask(retouched(w, w.llava, drop(name)))
    w.classify(w.copy(w.vit, model__safetensors=None), says="no weights")


@case
def weights_that_are_not_numbers(w):
    for bits in (b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f"):
        def fill(name):
            def change(h, data):
                a, b = h[name]["data_offsets"]
                return data[:a] + bits * ((b - a) // 4) + data[b:]
            return change
        w.classify(retouched(w, w.vit, fill("vit.layernorm.weight")), says="not a number")
        w.classify(retouched(w, w.clip, fill("visual_projection.weight")), "--label", "a", "--label", "b", says="not a number")
        w.bad("embed", "-m", retouched(w, w.clip, fill("visual_projection.weight")), "--image", w.shoe, "--json", says="not a number")
        for name in ("language_model.model.norm.weight", "vision_tower.pre_layrnorm.weight", "language_model.model.embed_tokens.weight"):
            broken = retouched(w, w.llava, fill(name))
            w.ask(broken, says="not a number")
            w.ask(broken, "--temperature", "1", says="not a number")


@case
def shards_that_do_not_fit(w):
    for index in ("", "{}", "[]", '{"weight_map": 1}', '{"weight_map": {}}', '{"weight_map": {"a": "../model.safetensors"}}', '{"weight_map": {"a": "/dev/zero"}}',
                  '{"weight_map": {"a": 5}}', '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}', '{"weight_map": {"a": "config.json"}}',
                  '{"weight_map": ' + '{"a":' * 5000):
        p = w.copy(w.vit, model__safetensors=None)
        with open(os.path.join(p, "model.safetensors.index.json"), "w") as f:
            f.write(index)
        w.classify(p)


# ------------------------------------------------------------------------------------------------ JSON
HARMLESS = (b'{"a": 1e999999999}',)  # where no member is needed
BOMBS = [b"", b"{", b"null", b"[]", b"7", b'"text"', b"{}", b"[" * 1000000, b'{"a":' * 1000000, b'{"a":[' + b"0," * 6000000 + b"0]}", b"\xff\xfe{}", b"\0" * 1000,
         b'{"model_type": "vit"', b"{'model_type': 'vit'}", b'{"a": 1e999999999}', b'{"a": "' + b"\\u0041" * 1000000]


@case
def json_bombs_in_config(w):
    for bomb in BOMBS:
        w.classify(w.copy(w.vit, config__json=bomb))
        w.ask(w.copy(w.llava, config__json=bomb))


@case
def json_bombs_in_tokenizer(w):
    for bomb in BOMBS:
        w.ask(w.copy(w.llava, tokenizer__json=bomb))
        w.classify(w.copy(w.clip, tokenizer__json=bomb), "--label", "a")


@case
def json_bombs_in_the_other_files(w):
    for bomb in BOMBS:
        if bomb in (b"{}",):
            continue
        w.classify(w.copy(w.vit, preprocessor_config__json=bomb))
        w.ask(w.copy(w.llava, processor_config__json=bomb))
        if bomb not in HARMLESS:
            w.ask(w.copy(w.llava, tokenizer_config__json=bomb))
            w.ask(w.copy(w.llava, generation_config__json=bomb))


@case
def chat_templates_that_hurt(w):
    for template in ("{% for", "{{ x", "{% for a in messages %}", "{{ " + "(" * 100000 + " }}", "{{ " + "-" * 100000 + "1 }}", "{% if a %}" * 20000,
                     "{% for a in range(1000000000) %}x{% endfor %}", "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
                     "{{ 'x' * 1000000000 }}", "{{ 10 ** 10 ** 10 }}", "{{ messages[99].content.nothing.more }}", "{{ nothing() }}",
                     "{% set x = 'ab' %}" + "{% set x = x + x %}" * 60 + "{{ x }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{% include 'a' %}", "{{ 1 // 0 }}",
                     "{{ messages.__class__.__mro__ }}", "\xff\xfe", "{{ 'a'.join(" + "[" * 5000):
        w.ask(w.copy(w.llava, chat_template__jinja=template.encode("latin-1")))
    w.ask(w.copy(w.llava, chat_template__jinja="{{ raise_exception('no\nno') }}"), code=2, says="no no")
    w.ask(w.copy(w.llava, chat_template__jinja=b"x" * (2 << 20)), says="chat_template.jinja")


@case
def constraints_that_hurt(w):
    """Bombs of grammars, schemas and expressions"""
    ambiguous = "root ::= r0\n" + "".join(f'r{i} ::= r{i + 1} "a" | r{i + 1} "b"\n' for i in range(24)) + 'r24 ::= "c"'
    for g in (ambiguous, 'root ::= ("a" root | root "b")', 'root ::= "a"{1048576}{1048576}', "root ::= " + "(" * 100000, 'root ::= "ab', "root ::= [z-a]", "x" * (2 << 20),
              'root ::= ("ab"{500000} "c"{600000} "de"{500000})', "".join(f"r{i} ::= r{i + 1}\n" for i in range(200000)), 'root ::= "a" root'):
        p = w.write(".gbnf", g)
        got, out, err = w.call("ask", "-m", w.llava, "--image", w.shape, "what?", "--grammar-file", p)
        if got not in (1, 2) or out or err.count(b"\n") != 1:
            raise Failed(f"exit {got}: {err[:200]!r}: {g[:60]}")
    deep = '{"items":' * 60 + "{}" + "}" * 60
    for s, code in (('{"$ref":"#"}', 2), ('{"anyOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}', 2), ('{"minLength":1e18}', 1), ("[" * 100000, 1),
                    ('{"enum":"a"}', 2), ('{"required":5}', 2),
                    ('{"properties":[]}', 2), ('{"type":7}', 2), ('{"$ref":"#/a/b/c"}', 2), ('{"pattern":"(((("}', 2), ('{"minimum":"3"}', 2), ("", 2),
                    ('{"oneOf":[' + ",".join(["{}"] * 65) + "]}", 1)):
        w.ask(w.llava, "--json-schema", s, code=code)
    w.good("ask", "-m", w.llava, "--image", w.shape, "what?", "--json-schema", deep, "--max-tokens", "5", "--json")
    w.good("ask", "-m", w.llava, "--image", w.shape, "what?", "--json-schema", json.dumps({"enum": [f"word {i}" for i in range(6000)]}), "--max-tokens", "5", "--json")
    for e in ("(" * 5000 + ")" * 5000, "a{1000000}{1000000}", "(?=a)", "[", "a**", "\\", "(((((a{1000}){1000}){1000}){1000}){1000})[", "x{99999999}"):
        got, out, err = w.call("ask", "-m", w.llava, "--image", w.shape, "what?", "--regex", e)
        if got not in (1, 2) or out or err.count(b"\n") != 1:
            raise Failed(f"exit {got}: {err[:200]!r}: {e[:60]}")


def torch_file(pickle, *storages):
    """A zip as torch.save writes it"""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as z:
        z.writestr("a/data.pkl", pickle)
        for i, s in enumerate(storages):
            z.writestr(f"a/data/{i}", s)
    return data.getvalue()


@case
def pickles_that_hurt(w):
    """pytorch_model.bin is read, never run"""
    mark = w.path()
    run = b"cos\nsystem\n(S'touch " + mark.encode() + b"'\ntR."
    bombs = [run, b"c__builtin__\neval\n(S'1'\ntR.", b"cbuiltins\ngetattr\n.", b"\x80\x02" + b"(" * 200000 + b".", b"\x80\x02]" + b"q\x00h\x00a" * 50000 + b".", b"\x80\x02",
             b"", b"\x80\xff.", b"\x80\x02X\xff\xff\xff\x7fabc.", b"\x80\x04\x8d" + b"\xff" * 8 + b".", b"I1\n.", b"}.", b"\x80\x02}q\x00h\x00h\x00s.", b"N" * 100000, b"\x80\x02K\x01\x85" * 9 + b"R.",
             b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00J\xff\xff\xff\x7f"
             b"J\xff\xff\xff\x7f\x86K\x01K\x01\x86\x89NtRs."]
    for b in bombs:
        w.classify(w.copy(w.vit, model__safetensors=None, pytorch_model__bin=torch_file(b, b"\0" * 16)), says="pytorch_model.bin")
    whole = torch_file(b"}.", b"\0" * 64)
    for b in (b"", b"PK", whole[:30], whole[:-10], whole.replace(b"PK\1\2", b"PK\1\3"), b"PK\3\4" + b"\xff" * 200, run, b"\x80\x02" + whole):
        w.classify(w.copy(w.vit, model__safetensors=None, pytorch_model__bin=b))
    if os.path.exists(mark):
        raise Failed("a pickle was run")


@case
def folders_of_other_kinds(w):
    """Quantized weights and code of the folder's own"""
    with open(os.path.join(w.vit, "config.json")) as f:
        c = json.load(f)
    for method in ("gptq", "awq", "bitsandbytes", "fp8", "compressed-tensors", "\u001b[31m"):
        w.classify(w.copy(w.vit, config__json={**c, "quantization_config": {"quant_method": method, "bits": 4}}), says="quantization_config")
    w.classify(w.copy(w.vit, config__json={**c, "quantization_config": {"load_in_4bit": True}}), says="bitsandbytes")
    w.classify(w.copy(w.vit, config__json={**c, "model_type": "mine", "architectures": ["MyModel"], "auto_map": {"AutoModel": "modeling.MyModel"}}, modeling__py="import os"), says="auto_map")


@case
def tokenizers_that_go_round(w):
    """Parts within parts, parts that are missing, merges of nothing"""
    with open(os.path.join(w.llava, "tokenizer.json")) as f:
        t = json.load(f)
    nest = lambda kind, list_name, n: {"type": "Sequence", list_name: [nest(kind, list_name, n - 1)] if n else [{"type": kind}]}
    for key, part in (("normalizer", nest("NFC", "normalizers", 100)), ("pre_tokenizer", nest("Whitespace", "pretokenizers", 100)), ("decoder", nest("Fuse", "decoders", 100)),
                      ("normalizer", {"type": "Sequence"}), ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(" * 1000}, "behavior": "Isolated", "invert": False}),
                      ("pre_tokenizer", {"type": "UnicodeScripts"}), ("decoder", {"type": "CTC"}), ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA////"}),
                      ("post_processor", {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<none>", "type_id": 0}}], "pair": [], "special_tokens": {}}),
                      ("model", None), ("model", {"type": "BPE"}), ("model", {**t["model"], "merges": [["a"]]}), ("model", {**t["model"], "merges": ["no such pair"]}),
                      ("model", {**t["model"], "merges": [["\u0001", "\u0002"]]})):
        w.ask(w.copy(w.llava, tokenizer__json={**t, key: part}, tokenizer_config__json={"tokenizer_class": "TokenizersBackend"}), says="tokenizer.json")


@case
def texts_that_are_not_utf8(w):
    """Every broken part is read as U+FFFD, as the tokenizer page says; a line of --batch that is not UTF-8 is no JSON"""
    for text in (b"what\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xe2\x82"):
        got = w.good("tokens", "-m", w.llava, "--text", text, "--json")
        same = w.good("tokens", "-m", w.llava, "--text", text.decode("utf-8", "replace"), "--json")
        if got != same:
            raise Failed(f"{text!r}: {got[:200]!r}, expected {same[:200]!r}")
    w.bad("tokens", "-m", w.llava, "--batch", w.write(".jsonl", b'{"text": "\xff"}\n'), code=2, says="line 1")


# ------------------------------------------------------------------------------------------------ config.json
@case
def numbers_of_config_that_are_absurd(w):
    for name, values in {
            "num_attention_heads": (0, -3, 5, 97, 1025, 2 ** 40, "1e999", "null1", 1.5, "[3]"), "num_hidden_layers": (0, -1, 7, 2 ** 40, 1025, "true", "\"6\""),
            "hidden_size": (0, -96, 95, 97, 2 ** 40, 2 ** 63, 65536), "intermediate_size": (0, 255, 2 ** 31, 2 ** 62), "num_channels": (0, 1, 4, 2 ** 31),
            "image_size": (0, 1, 3, -28, 2 ** 31, "[28]", "[28, 28, 28]", "[28, -1]", 65536), "patch_size": (0, 29, 28, 5, 2 ** 31, "[4]", "{}"),
            "layer_norm_eps": ("NaN", "-1", "Infinity", "1e999", "\"x\""), "hidden_act": ("\"none\"", 7, "\"\"", "\"" + "g" * 100000 + "\""),
            "model_type": ("\"nothing\"", 7, "\"" + "v" * 100000 + "\"", "\"llama\"", "\"clip_vision_model\"", "\"v\\u0000it\"", "\"a\\nb\""),
            "architectures": ("[\"Nothing\"]", "[\"CLIPModel\"]", "[\"a\\nb\"]")}.items():
        for value in values:
            w.classify(w.config(w.vit, name, value))


@case
def numbers_of_a_text_model_that_are_absurd(w):
    for name, values in {
            "num_attention_heads": (0, 3, 8, 2 ** 40), "num_key_value_heads": (0, 3, 5, 8, -1), "head_dim": (0, 1, 31, 33, 64, 513, 2 ** 40), "num_hidden_layers": (0, 5, 2 ** 40),
            "hidden_size": (0, 127, 129, 2 ** 40), "intermediate_size": (0, 2 ** 40), "vocab_size": (0, 1, 359, 361, 2 ** 40), "max_position_embeddings": (0, 1, 10, -5),
            "rms_norm_eps": ("NaN", -1, "1e999"), "model_type": ("\"gpt9\"", "\"clip_vision_model\"", "\"llava\"", 7), "hidden_act": ("\"x\"",),
            "rope_parameters": ({"rope_theta": 0, "rope_type": "default"}, {"rope_theta": -1, "rope_type": "default"}, "{\"rope_theta\": 1e999, \"rope_type\": \"default\"}",
                                "{\"rope_theta\": NaN}", {"rope_theta": 1e4, "rope_type": "nothing"}, {"rope_theta": 1e4, "rope_type": "linear", "factor": 0},
                                {"rope_theta": 1e4, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4, "high_freq_factor": 1,
                                 "original_max_position_embeddings": 512})}.items():
        for value in values:
            w.ask(w.config(w.llava, "text_config." + name, value))
    for path, values in {"image_token_index": (-1, 2 ** 40), "vision_feature_layer": (9, -9, 5, "[]", "\"x\""), "vision_feature_select_strategy": ("\"none\"",),
                         "vision_config": (7, "[]"), "text_config": (7, "[]"), "vision_config.image_size": (0, 7, 65536), "vision_config.patch_size": (0, 65, 16),
                         "vision_config.num_attention_heads": (0, 7), "projector_hidden_act": ("\"x\"",)}.items():
        for value in values:
            w.ask(w.config(w.llava, path, value))
    for value in (2, 360):  # some other token, and none: the prompt has no place for a picture then
        w.ask(w.config(w.llava, "image_token_index", value), code=2)


@case
def labels_with_holes(w):
    for labels in ({}, {"0": "a"}, {str(i): "x" for i in range(11)}, {str(i): "x" for i in range(10) if i != 4} | {"10": "x"}, {str(i): None for i in range(10)},
                   {"-1": "x"}, {"0x0": "x"}, {"": "x"}, {"0": 7}, ["a"] * 10, {str(2 ** 70): "a"}, {f"0{i}": "x" for i in range(9)} | {"1": "y"}):
        model = w.config(w.vit, "id2label", labels)
        w.classify(model, code=2 if labels == {} else 1)


@case
def a_tokenizer_for_another_table(w):
    with open(os.path.join(w.llava, "tokenizer.json")) as f:
        t = json.load(f)
    t["model"]["vocab"] = {k: v + (1000 if v > 100 else 0) for k, v in t["model"]["vocab"].items()}
    w.ask(w.copy(w.llava, tokenizer__json=t), says="vocab_size")
    t["model"]["vocab"] = {k: v * 2 ** 33 for k, v in t["model"]["vocab"].items()}
    w.ask(w.copy(w.llava, tokenizer__json=t))
    t["model"]["vocab"] = {k: -1 for k in t["model"]["vocab"]}
    w.ask(w.copy(w.llava, tokenizer__json=t))
    t["model"] = {"type": "WordLevel"}
    w.ask(w.copy(w.llava, tokenizer__json=t), says="WordLevel")
    w.ask(w.copy(w.llava, tokenizer__json=None), says="tokenizer.json")


@case
def processors_that_make_no_sense(w):
    with open(os.path.join(w.vit, "preprocessor_config.json")) as f:
        p = json.load(f)
    for change in ({"size": {"height": 0, "width": 0}}, {"size": {"height": 10 ** 9, "width": 10 ** 9}}, {"size": {"height": 65536, "width": 65536}}, {"size": -1}, {"size": {"a": 1}},
                   {"image_mean": []}, {"image_std": [0, 0, 0]}, {"image_std": "x"}, {"image_mean": [1e999] * 3}, {"resample": 99}, {"resample": -1}, {"rescale_factor": 0},
                   {"rescale_factor": "x"}, {"image_processor_type": "Nothing"}, {"size": {"shortest_edge": 2 ** 31}}, {"do_resize": 7}, {"size": {"height": 3, "width": 3}}):
        text = json.dumps({**p, **change}).replace("Infinity", "1e999")
        w.bad("classify", "-m", w.copy(w.vit, preprocessor_config__json=text), w.shoe, code=2 if change == {"size": {"height": 3, "width": 3}} else 1)
    w.classify(w.copy(w.vit, preprocessor_config__json=None), says="preprocessor_config.json")


# ------------------------------------------------------------------------------------------------ pictures
@case
def pictures_that_are_none(w):
    with open(w.shape, "rb") as f:
        png = f.read()
    jpeg = checkpoint.jpeg(w.path(".jpg"), 64, 48)
    with open(jpeg, "rb") as f:
        jpeg = f.read()
    for data in (b"", b"\x89PNG\r\n\x1a\n", png[:20], png[:len(png) // 2], png[:60] + b"\0" + png[61:], jpeg[:3], jpeg[:30], jpeg[:len(jpeg) // 2], b"GIF89a", b"<html>", b"\xff\xd8\xff" * 1000,
                 b"RIFF\0\0\0\0WEBPVP8 ", os.urandom(1000), b"\0" * 100000):
        w.ask(w.llava, picture=w.write(".png", data))
    for width, height in ((0, 5), (5, 0), (0, 0), (2 ** 31 - 1, 2 ** 31 - 1), (2 ** 30, 1), (1, 2 ** 30), (60000, 60000)):
        def chunk(kind, data):
            import zlib
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        w.ask(w.llava, picture=w.write(".png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")))
    for width, height in ((0, 5), (65535, 65535)):
        w.ask(w.llava, picture=checkpoint.jpeg(w.path(".jpg"), width, height))


@case
def pictures_of_one_pixel(w):
    """They are pictures; an answer comes."""
    one = checkpoint.png(w.path(".png"), 1, 1)
    w.good("ask", "-m", w.llava, "--image", one, "what?", "--ignore-eos", "--max-tokens", "2", "--json")
    w.good("ask", "-m", w.llava, "--image", checkpoint.jpeg(w.path(".jpg"), 1, 1), "what?", "--json")
    w.good("embed", "-m", w.clip, "--image", one, "--json")
    for width, height in ((1, 30000), (30000, 1)):  # 64 x 1920000 before it is cropped
        w.good("ask", "-m", w.llava, "--image", checkpoint.png(w.path(".png"), width, height), "what?", "--json")


@case
def files_that_are_no_files(w):
    fifo, loop, folder, dangling = (w.path() for _ in range(4))
    os.mkfifo(fifo)
    os.symlink(loop, loop)
    os.mkdir(folder)
    os.symlink("/nowhere", dangling)
    for p in (fifo, loop, folder, dangling, "/dev/zero", "/dev/null", "", "/", "nothing.png", "x" * 5000, "a\nb", "\x1b[31m.png"):
        w.ask(w.llava, picture=p or "./")
        w.bad("ask", "-m", p or "./", "hello")
    for name in ("config.json", "model.safetensors", "tokenizer.json", "processor_config.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        for target in (fifo, "/dev/zero", folder):
            p = w.copy(w.llava)
            os.remove(os.path.join(p, name))
            os.symlink(target, os.path.join(p, name))
            w.ask(p)
    for p in (fifo, loop, folder, "/dev/zero"):
        if p != fifo:
            w.bad("ask", "-m", w.llava, "--batch", p)
            w.bad("classify", "-m", w.vit, "--files", p)
        w.bad("trace", "-m", w.llava, "--image", w.shape, "--text", "x", "--inputs", p, "-o", w.path(".safetensors"))
        named = w.path(".npy")
        os.symlink(p, named)
        w.bad("search", "-m", w.clip, named, "--text", "a coat")


# ------------------------------------------------------------------------------------------------ prompts
@case
def placeholders_and_pictures(w):
    raw = ("ask", "-m", w.llava, "--raw")
    w.bad(*raw, "--image", w.shape, "<image><image> what?", code=2, says="places for pictures")
    w.bad(*raw, "--image", w.shape, "--image", w.shape, "<image> what?", code=2, says="places for pictures")
    w.bad(*raw, "<image> what?", code=2, says="places for pictures")
    w.bad(*raw, "<image>" * 5000, code=2)
    w.bad("ask", "-m", w.llava, "--image", w.shape, "<image><image><image>", code=2)
    many = [x for _ in range(100) for x in ("--image", w.shape)]
    w.bad("ask", "-m", w.llava, *many, "what?", says="512")  # 6400 rows for 512 positions
    w.good("embed", "-m", w.clip, *[x for _ in range(100) for x in ("--image", w.shoe)], "--json")


@case
def prompts_of_any_length(w):
    w.good("ask", "-m", w.llava, "", "--max-tokens", "1", "--json")
    w.bad("ask", "-m", w.llava, "--raw", "--no-special", "", code=2, says="no tokens")
    w.bad("ask", "-m", w.llava, "--raw", "--text", "what " * 20000, says="512")
    line = json.dumps({"text": "what shape " * 100000}).encode() + b"\n"
    w.bad("ask", "-m", w.llava, "--raw", "--batch", "-", stdin=line, says="512")
    w.good("embed", "-m", w.clip, "--text", "coat " * 20000, "--json")  # cut to the tokenizer's length
    for text in (b"\xff\xfe", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"a\x01\x7f\x1b[0m", b"\xef\xbf\xbe", "\u202e\u0000".encode()[:3], b"\xf0\x9f\x98"):
        w.good("ask", "-m", w.llava, "--image", w.shape, "--text", text, "--max-tokens", "2", "--ignore-eos", "--json")
    w.bad("ask", "-m", w.llava, "--batch", "-", stdin=b'{"text": "a\\u0000b"}\x00\n', code=2)
    w.good("ask", "-m", w.llava, "--image", w.shape, "--text", "x" * 300, "--max-tokens", "1", "--json")


@case
def lines_of_a_batch(w):
    for line in (b"{", b"[]", b"7", b"{}", b'{"a": 1}', b'{"text": 7}', b'{"image": []}', b'{"image": {}}', b'{"messages": 1}', b'{"messages": [{"role": "user"}]}', b'{"text": "\xff"}' * 2,
                 b'{"text": "' + b"[" * 100, b"\0", b"[" * 100000, b'{"content": [' + b'{"text": ' * 50000, b'{"messages": [{"role": 7, "content": "x"}]}'):
        w.bad("ask", "-m", w.llava, "--batch", "-", stdin=line + b"\n", code=2, says="line 1")
    w.bad("ask", "-m", w.llava, "--batch", "-", stdin=b'{"image": "/nowhere.png", "text": "x"}\n')
    w.bad("ask", "-m", w.llava, "--batch", "-", stdin=b'{"text": "' + b"x" * (80 << 20))


# ------------------------------------------------------------------------------------------------ options, outputs
@case
def numbers_of_options(w):
    for option in (("-t", "0"), ("-t", "-1"), ("-t", "1025"), ("-t", "9" * 40), ("-t", "2x"), ("--max-tokens", "-1"), ("--max-tokens", "1e30"), ("--max-tokens", "9" * 300), ("--temperature", "nan"),
                   ("--temperature", "-1"), ("--temperature", "inf"), ("--top-p", "0"), ("--top-p", "1.5"), ("--top-k", "-1"), ("--seed", "-1"), ("--size", "0x0"), ("--size", "-1x5"), ("--size", "1"),
                   ("--size", "99999999x99999999"), ("--size", "7x7"), ("--cpu", "abacus"), ("--resample-positions", "x"), ("--image-backend", ""), ("--load", "x"), ("--nothing", "1"), ("--size", "")):
        w.ask(w.llava, *option, code=2)
    w.ask(w.llava, "--size", "30000x30000", code=2)
    w.bad("classify", "-m", w.vit, "--image", w.shoe, "--size", "16384x16384")


@case
def a_thousand_threads(w):
    """Where the system gives that many it answers; else it says that it does not."""
    code, out, err = w.call("ask", "-m", w.llava, "--image", w.shape, "what shape is in the image?", "-t", "1000", "--json", bounded=0)
    if code and (code != 1 or not err.startswith(b"rebus: ") or out):
        raise Failed(f"exit {code}: {err[:200]!r}")


@case
def memory_that_is_not_there(w):
    if not w.bounded:
        return
    w.ask(w.llava, "--max-tokens", "1000000", says="memory", bounded=MEMORY // 2)
    w.bad("trace", "-m", w.llava, "--image", w.shape, "--text", "x", "--max-tokens", "1000000", "-o", w.path(".safetensors"), says="memory", bounded=MEMORY // 2)
    w.bad("embed", "-m", w.clip, "--image", w.shoe, "--size", "8000x8000", "--json", says="memory")
    for megabytes in range(10, 80, 2):  # wherever it ends, it says so
        for command in (("ask", "-m", w.llava, "--image", w.shape, "what shape is in the image?", "-t", "2"), ("classify", "-m", w.clip, w.shoe, "--label", "a", "--label", "b", "-t", "1")):
            code, out, err = w.call(*command, bounded=megabytes << 20)
            if code == 127:  # the system cannot even load it
                continue
            if code and (code != 1 or not err.startswith(b"rebus: ") or err.count(b"\n") != 1 or out):
                raise Failed(f"{megabytes} MiB: exit {code}, {err[:300]!r}")


@case
def places_that_cannot_be_written(w):
    closed = w.path()
    os.mkdir(closed, 0o555)
    fifo = w.path()
    os.mkfifo(fifo)
    places = [os.path.join(w.path(), "no", "such.npy"), w.folder, "/proc/nothing.npy", "x" * 5000 + ".npy", os.path.join(w.shape, "a.npy")]
    if os.getuid():
        places.append(os.path.join(closed, "a.npy"))
    for p in places:
        w.bad("embed", "-m", w.clip, "--image", w.shoe, "-o", p, code=1)
        q = p.replace(".npy", ".safetensors")
        w.bad("trace", "-m", w.clip, "--image", w.shoe, "--text", "x", "-o", q)
    before = sorted(os.listdir(w.folder))
    w.bad("trace", "-m", w.llava, "--image", "/nowhere.png", "--text", "x", "-o", os.path.join(w.folder, "out.safetensors"))
    w.bad("trace", "-m", w.llava, "--image", w.shape, "--text", "x " * 2000, "-o", os.path.join(w.folder, "out.safetensors"))
    if sorted(os.listdir(w.folder)) != before:
        raise Failed("a failed trace leaves a file")


@case
def inputs_of_a_trace(w):
    def inputs(**tensors):
        p, header, data = w.path(".safetensors"), {}, b""
        for name, (kind, shape, values) in tensors.items():
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
            data += values
        checkpoint.write(p, header, data)
        return p

    def ids(*values):
        return ("I64", [1, len(values)], struct.pack(f"<{len(values)}q", *values))
    floats = array.array("f", [0.5] * (3 * 64 * 64)).tobytes()
    for p, code in ((inputs(input_ids=ids(360)), 2), (inputs(input_ids=ids(-1)), 2), (inputs(input_ids=ids(2 ** 62)), 2), (inputs(input_ids=ids()), 2),
                    (inputs(input_ids=("F32", [1, 1], b"\0" * 4)), 2), (inputs(input_ids=("I64", [1], b"\0" * 8)), 2), (inputs(nothing=ids(1)), 2),
                    (inputs(input_ids=ids(5), attention_mask=ids(0)), 2), (inputs(input_ids=ids(5), attention_mask=ids(1, 1)), 2), (inputs(input_ids=ids(3, 3)), 2),
                    (inputs(pixel_values=("F32", [1, 3, 0, 64], b"")), 2), (inputs(pixel_values=("I64", [1, 3, 64, 32], floats)), 2),
                    (inputs(pixel_values=("F32", [1, 1, 64, 192], floats)), 2), (inputs(pixel_values=("F32", [1, 3, 4, 1024], floats)), 2),
                    (w.write(".safetensors", b"nothing"), 1)):
        w.bad("trace", "-m", w.llava, "--inputs", p, "-o", w.path(".safetensors"), code=code)


# ------------------------------------------------------------------------------------------------
def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("models", nargs="?", default=os.path.join(here, "..", "..", "models"))
    p.add_argument("-k", metavar="WORD", default="")
    p.add_argument("-v", "--verbose", action="store_true")
    a = p.parse_args()
    program = os.path.abspath(a.program)
    with open(program, "rb") as f:
        code = f.read()
    sanitized = b"__asan_init" in code or b"__tsan_init" in code  # their shadow memory fits no limit
    passed = failed = 0
    for f in CASES:
        if a.k not in f.__name__:
            continue
        began, why = time.time(), None
        with tempfile.TemporaryDirectory(prefix="rebus") as folder:
            try:
                f(World(program, os.path.abspath(a.models), folder, not sanitized, 6 if sanitized else 1))
            except Failed as e:
                why = str(e)
            except Exception as e:  # a mistake of the test fails it too
                why = f"{type(e).__name__} in line {e.__traceback__.tb_next.tb_lineno if e.__traceback__.tb_next else '?'}: {e}"
        passed, failed = passed + (why is None), failed + (why is not None)
        if why or a.verbose:
            print(f"{'FAILED' if why else 'ok    '} {f.__name__} ({time.time() - began:.1f} s){': ' + why if why else ''}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
