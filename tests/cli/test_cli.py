#!/usr/bin/env python3
"""test_cli.py - runs the program as a user would, on the models that come with it.

    test_cli.py PROGRAM [MODELS] [-k WORD] [-v]

PROGRAM  the program; MODELS the folder with vit-fashion, clip-fashion, llava-easyvqa (default: models/ of this repository)
-k WORD  only tests whose name holds WORD;  -v a line a test

Every call is checked for the contract: exit code; on failure nothing on standard output and one line `rebus: ...` on standard
error. Expected answers, labels and logits are those of the reference in each model's results.json. Standard library only.
The last line is `N passed, N failed`; the exit status is 1 if any failed.
"""
import argparse, array, gzip, io, json, math, os, pty, random, re, resource, shutil, signal, struct, subprocess, sys, tarfile, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
COMMANDS = ("ask", "chat", "classify", "embed", "search", "tokens", "inspect", "trace", "bench")
TESTS = []


def test(f):
    TESTS.append(f)
    return f


class Failed(Exception):
    pass


def check(ok, text):
    if not ok:
        raise Failed(text)


def same(got, want, what):
    check(got == want, f"{what}: {str(got)[:200]}, expected {str(want)[:200]}")


def close(got, want, bound, what):
    check(len(got) == len(want), f"{what}: {len(got)} numbers, expected {len(want)}")
    worst = max((abs(a - b) for a, b in zip(got, want)), default=0)
    check(worst <= bound, f"{what}: off by {worst:.2e}, allowed {bound:.0e}")


# ------------------------------------------------------------------------------------------------ running
class World:
    """A temporary folder, the program, the models."""
    def __init__(self, program, models, folder):
        self.program, self.models, self.folder, self.count = os.path.abspath(program), os.path.abspath(models), folder, 0
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("REBUS_")}

    def model(self, name):
        return os.path.join(self.models, name)

    def results(self, name):
        with open(os.path.join(self.model(name), "results.json")) as f:
            return json.load(f)

    def picture(self, name, number):
        folder = os.path.join(self.model(name), "pictures")
        plain = os.path.join(folder, f"{number}.png")
        return plain if os.path.exists(plain) else os.path.join(folder, f"{number:02d}.png")

    def path(self, name):
        return os.path.join(self.folder, name)

    def fresh(self, ending=""):
        self.count += 1
        return self.path(f"new{self.count}{ending}")

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        return self.path(name)

    def call(self, *args, stdin=b"", env=None, limit=None):
        """-> (exit code, stdout, stderr) as bytes"""
        def limits():
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        p = subprocess.run([self.program, *(a if isinstance(a, bytes) else str(a) for a in args)], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder,
                           env={**self.environment, **(env or {})}, timeout=120, preexec_fn=limits)
        return p.returncode, p.stdout, p.stderr

    def good(self, *args, **more):
        """stdout as text; the call must succeed and say nothing on standard error"""
        code, out, err = self.call(*args, **more)
        check(code == 0, f"{args}: exit {code}: {err.decode('utf-8', 'replace')[:200]}")
        check(err == b"", f"{args}: standard error says {err[:200]!r}")
        return out.decode()

    def json(self, *args, **more):
        """the JSON values, one a line"""
        return [json.loads(x) for x in self.good(*args, "--json", **more).splitlines()]

    def bad(self, code, words, *args, **more):
        """the call must fail with this exit code, one line that holds the words, and nothing on standard output"""
        got, out, err = self.call(*args, **more)
        text = err.decode("utf-8", "replace")
        what = " ".join(map(str, args))[-120:]
        check(got == code, f"{what}: exit {got}, expected {code}: {text[:200]}")
        check(out == b"", f"{what}: standard output has {out[:80]!r}")
        check(text.endswith("\n") and text.count("\n") == 1 and text.startswith("rebus: "), f"{what}: standard error is not one line `rebus: ...`: {text[:200]!r}")
        check(re.search(words, text), f"{what}: no {words!r} in {text[:200]!r}")

    def start(self, *args):
        return subprocess.Popen([self.program, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder,
                                env=self.environment)


# ------------------------------------------------------------------------------------------------ files
def tensors_read(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    out = {}
    for name, t in json.loads(data[8:8 + n]).items():
        if name == "__metadata__":
            continue
        a, b = t["data_offsets"]
        raw = data[8 + n + a:8 + n + b]
        out[name] = (t["shape"], list(array.array({"F32": "f", "I64": "q", "U8": "B"}[t["dtype"]], raw)))
    return out


def tensors_write(path, tensors):
    head, body = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        raw = array.array({"F32": "f", "I64": "q", "I32": "i"}[dtype], values).tobytes()
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


def npy_read(path):
    """-> rows"""
    with open(path, "rb") as f:
        data = f.read()
    check(data[:8] == b"\x93NUMPY\x01\x00", f"{path} is not a .npy file")
    n = struct.unpack("<H", data[8:10])[0]
    shape = tuple(map(int, re.search(rb"'shape': \((\d+), (\d+)\)", data[10:10 + n]).groups()))
    check(b"'<f4'" in data[10:10 + n] and b"False" in data[10:10 + n], f"{path} is not float32 in rows")
    v = array.array("f", data[10 + n:])
    check(len(v) == shape[0] * shape[1], f"{path}: {len(v)} numbers, its shape is {shape}")
    return [list(v[i * shape[1]:(i + 1) * shape[1]]) for i in range(shape[0])]


def npy_write(path, rows):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({len(rows)}, {len(rows[0])}), }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"".join(array.array("f", r).tobytes() for r in rows))


def softmax(x):
    e = [math.exp(v - max(x)) for v in x]
    return [v / sum(e) for v in e]


def lines_of(path):
    with open(path, encoding="utf-8") as f:
        return f.read().splitlines()


def read(path):
    with open(path, "rb") as f:
        return f.read()


# ------------------------------------------------------------------------------------------------ help
@test
def help_of_the_program(w):
    for args in ([], ["help"]):
        text = w.good(*(args or ["--help"]))
        for c in COMMANDS:
            check(re.search(rf"^  {c} ", text, re.M), f"no {c} in the list of commands")
    check(re.fullmatch(r"rebus \d+\.\d+\.\d+\n", w.good("--version")), "--version")


@test
def help_of_every_command(w):
    for c in COMMANDS:
        text = w.good(c, "--help")
        same(w.good("help", c), text, f"help {c}")
        same(w.good(c, "-m", "nowhere", "-h"), text, f"{c} -h")
        for word in ("Usage: rebus " + c, "Options", "--model DIR", "Examples:", "Exit code:", "default: "):
            check(word in text, f"{c} --help: no {word!r}")
        check(max(map(len, text.splitlines())) <= 140 and " \n" not in text, f"{c} --help: a line is too long or ends in a blank")
        for o in re.findall(r"^  (?:-\w, |    )(--[a-z-]+)", text, re.M):
            check("unknown option" not in w.call(c, o)[2].decode(), f"{c} --help lists {o}, which is unknown")


# ------------------------------------------------------------------------------------------------ command line
@test
def unknown_words(w):
    w.bad(2, "no command", )
    for c in ("caption", "probe", "lab", "serve", "pull", "pull"):
        w.bad(2, "unknown command.*expected one of ask", c)
    w.bad(2, "nearest is classify", "clasify", "a.png")
    w.bad(2, "unknown option", "--json")
    w.bad(2, "nearest is --max-tokens", "ask", "--max-token", "3", "x")
    w.bad(2, "not an option of ask", "ask", "--label", "x", "y")
    w.bad(2, "--precision", "classify", "-m", w.model("vit-fashion"), w.picture("vit-fashion", 0), "--precision", "int4")
    w.bad(2, "--precision: not an option of tokens", "tokens", "--text", "a", "--precision", "bf16")
    w.bad(2, "no budget of patches", "classify", "-m", w.model("vit-fashion"), w.picture("vit-fashion", 0), "--max-patches", "16")
    w.bad(2, "--pair: expected right after", "trace", "--pair", "a", "-o", "o.safetensors")
    w.bad(2, "--pair: expected right after", "trace", "--text", "a", "--pair", "b", "--pair", "c", "-o", "o.safetensors")
    w.bad(2, "no second segment", "trace", "-m", w.model("clip-fashion"), "--text", "a", "--pair", "b", "-o", "o.safetensors")
    w.bad(2, "patches of one size", "trace", "--text", "a", "--patch-size", "2", "-o", "o.safetensors")
    for o in ("--video", "--fps"):
        w.bad(2, f"{o}: .*version", "trace", "--text", "a", o, "2", "-o", "o.safetensors")
    w.bad(2, "unknown option", "trace", "--no\nline", "-o", "o.safetensors")


@test
def wrong_values(w):
    for args, words in ((["-t", "0"], "1 to 1024"), (["-t", "two"], "whole number"), (["--threads=-1"], "whole number"), (["--max-tokens", "1e3"], "whole number"),
                        (["--max-tokens", "-1"], "0 to"), (["--max-tokens", "99999999999999999999"], "0 to"), (["--temperature", "-1"], "0 to 100"),
                        (["--temperature", "nan"], "a number"), (["--temperature", "0.5x"], "a number"), (["--top-p", "0"], "above 0"), (["--top-p", "1.1"], "at most 1"),
                        (["--top-k", "-2"], "whole number"), (["--seed", "x"], "whole number"), (["--size", "64"], "HxW"), (["--size", "0x64"], "HxW"),
                        (["--size", "64x64x64"], "HxW"), (["--cpu", "avx"], "portable"), (["--load", "mmap"], "map|copy"), (["--image-backend", "slow"], "torchvision"),
                        (["--resample-positions", "cubic"], "bicubic"), (["--json=1"], "no value"), (["--batch-size", "0"], "1 to"), (["-m", ""], "empty")):
        w.bad(2, words, "ask", *args, "hello")
    w.bad(2, "value is missing", "ask", "hello", "--image")
    w.bad(2, "second plain argument", "ask", "one", "two")
    w.bad(2, "not an option", "trace", "a.png", "-o", "o.safetensors")
    w.bad(2, "no output", "trace", "--text", "a")
    w.bad(2, "no output", "embed", "a.png")
    w.bad(2, "nothing to work on", "ask")
    w.bad(2, "no pictures", "classify")
    w.bad(2, "no index", "search")
    w.bad(2, "expected one --text", "search", "x.npy")
    w.bad(2, "beside other inputs", "ask", "--batch", "x.jsonl", "hello")
    w.bad(2, "ends in .npy", "embed", w.picture("clip-fashion", 0), "-o", "vectors.txt")


@test
def forms_of_options(w):
    llava, image = w.model("llava-easyvqa"), w.picture("llava-easyvqa", 0)
    want = w.good("ask", "-m", llava, "--image", image, "what is the red shape?")
    same(w.good("ask", f"-m{llava}", f"--image={image}", "-t2", "--", "what is the red shape?"), want, "attached values")
    same(w.good("ask", "what is the red shape?", "--model", llava, "--image", image), want, "a plain argument is the last piece")
    same(w.good("ask", "--image", image, "--text=what is the red shape?", env={"REBUS_MODEL": llava}), want, "REBUS_MODEL")
    w.good("tokens", "-m", llava, "--text", "-5")
    w.bad(1, "nowhere", "ask", "x", env={"REBUS_MODEL": "nowhere"})


# ------------------------------------------------------------------------------------------------ classify
@test
def classify_own_labels(w):
    vit, r = w.model("vit-fashion"), w.results("vit-fashion")
    with open(os.path.join(vit, "config.json")) as f:
        labels = json.load(f)["id2label"]
    files = [w.picture("vit-fashion", i) for i in range(20)]
    out = w.json("classify", "-m", vit, *files, "--top", "0")
    same([x["file"] for x in out], files, "files")
    same([x["labels"][0] for x in out], [labels[str(k)] for k in r["first_100_predictions"][:20]], "best labels")
    for x, logits in zip(out, r["first_logits"]):
        same(len(x["labels"]), len(labels), "--top 0")
        check(x["scores"] == sorted(x["scores"], reverse=True), "scores do not fall")
        got = dict(zip(x["labels"], x["scores"]))
        close([got[labels[str(k)]] for k in range(len(labels))], softmax(logits), 2e-5, "scores")
    same(len(w.json("classify", "-m", vit, files[0])[0]["labels"]), 5, "labels without --top")
    same(w.json("classify", "-m", vit, *files, "--top", "0", "-t", "1"), out, "one thread")
    for x, y in zip(w.json("classify", "-m", vit, *files, "--top", "0", "--batch-size", "7"), out):
        same(x["labels"], y["labels"], "--batch-size")
        close(x["scores"], y["scores"], 1e-6, "--batch-size")
    one = w.good("classify", "-m", vit, files[1], "--top", "2")
    check(re.fullmatch(r"0\.\d{4}  Pullover\n0\.\d{4}  Shirt\n", one), f"lines: {one!r}")
    two = w.good("classify", "-m", vit, files[1], files[2], "--top", "1")
    check(re.fullmatch(rf"{files[1]}:\n0\.\d+  Pullover\n\n{files[2]}:\n0\.\d+  Trouser\n", two), f"lines: {two!r}")
    names = w.write("names.txt", "\n".join(files) + "\n")
    same(w.json("classify", "-m", vit, "--files", names, "--top", "0"), out, "--files")
    same(w.json("classify", "-m", vit, "--files", "-", "--top", "0", stdin=read(names)), out, "--files -")
    batch = w.write("pictures.jsonl", "".join(json.dumps({"image": f}) + "\n" for f in files))
    same(w.json("classify", "-m", vit, "--batch", batch, "--top", "0"), out, "--batch")
    w.bad(2, "labels of its own", "classify", "-m", vit, files[0], "--label", "shoe")
    w.bad(1, "none.png", "classify", "-m", vit, files[0], "none.png", files[1])
    w.bad(2, "not", "classify", "-m", w.model("llava-easyvqa"), files[0])


@test
def classify_given_labels(w):
    clip, r = w.model("clip-fashion"), w.results("clip-fashion")
    files, labels = [w.picture("clip-fashion", i) for i in range(20)], [x for c in r["captions"] for x in ("--label", c)]
    out = w.json("classify", "-m", clip, *files, *labels, "--top", "0")
    same([x["labels"][0] for x in out], [r["captions"][k] for k in r["first_100_predictions"][:20]], "best labels")
    for x, logits in zip(out, r["first_logits"]):
        got = dict(zip(x["labels"], x["scores"]))
        close([got[c] for c in r["captions"]], softmax(logits), 2e-4, "scores")
    w.bad(2, "expected --label", "classify", "-m", clip, files[0])


# ------------------------------------------------------------------------------------------------ ask
@test
def ask_answers(w):
    llava, r = w.model("llava-easyvqa"), w.results("llava-easyvqa")["first"]
    lines = "".join(json.dumps({"image": w.picture("llava-easyvqa", x["picture"]), "text": x["question"]}) + "\n" for x in r)
    out = w.json("ask", "-m", llava, "--batch", w.write("questions.jsonl", lines))
    same([x["text"].strip() for x in out], [x["reference_answer"] for x in r], "answers")
    check(all(x["finish"] == "stop" and x["prompt_tokens"] > 64 and x["ids"] for x in out), "other keys")
    same(w.good("ask", "-m", llava, "--batch", "-", stdin=lines.encode()).split(), [x["reference_answer"] for x in r], "a line an answer")
    for x, q in list(zip(out, r))[:3]:
        args = ["ask", "-m", llava, "--image", w.picture("llava-easyvqa", q["picture"]), q["question"]]
        same(w.json(*args), [x], "one prompt")
        same(w.good(*args), x["text"] + "\n", "streamed text")
    image = w.picture("llava-easyvqa", 0)
    content = w.write("content.jsonl", json.dumps({"content": [{"image": image}, {"text": r[0]["question"]}]}) + "\n"
                      + json.dumps({"messages": [{"role": "user", "content": [{"image": image}, {"text": r[0]["question"]}]}]}) + "\n")
    same(w.json("ask", "-m", llava, "--batch", content), [out[0], out[0]], "content and messages")
    same(w.json("ask", "--image", image, r[0]["question"]), [out[0]], "the default model")


@test
def ask_beams(w):
    """The answers of transformers' generate(num_beams=...), many prompts at once and alone; what does not go with beams is said."""
    parity = os.path.join(os.path.dirname(HERE), "parity")
    with open(os.path.join(parity, "beams.json")) as f:
        cases = json.load(f)
    ended = 0
    for c in cases:
        folder = w.fresh()
        shutil.copytree(os.path.join(parity, "fixtures", c["folder"]), folder)
        if c["ends"]:
            with open(os.path.join(folder, "generation_config.json"), "w") as f:
                json.dump({"eos_token_id": c["ends"]}, f)
        how = ["--raw", "--beams", str(c["beams"]), "--length-penalty", str(c["length_penalty"]), "--max-tokens", str(c["max_tokens"])]
        how += ["--early-stopping"] if c["early_stopping"] else []
        batch = w.write("beams.jsonl", "".join(json.dumps({"text": t}) + "\n" for t in c["texts"]))
        got = w.json("ask", "-m", folder, "--batch", batch, *how)
        same([g["ids"] for g in got], c["ids"], "%s, %d beams" % (c["folder"], c["beams"]))
        same(w.json("ask", "-m", folder, *how, "--text", c["texts"][1]), [got[1]], "alone")
        ended += sum(g["finish"] == "stop" for g in got)
    check(ended > 5, f"{ended} answers ended by themselves")
    plain = ["ask", "-m", folder, "--raw", "--text", "a b c", "--max-tokens", "8"]
    same(w.json(*plain, "--beams", "1"), w.json(*plain), "one beam")
    for more in (["--temperature", "1"], ["--stop", "x"], ["--logprobs"]):
        w.bad(2, "beams", *plain, "--beams", "2", "--json", *more)


@test
def ask_options(w):
    base = ["ask", "-m", w.model("llava-easyvqa"), "--image", w.picture("llava-easyvqa", 0), "what is the red shape?"]
    x = w.json(*base, "--max-tokens", "1")[0]
    same((len(x["ids"]), x["finish"]), (1, "length"), "--max-tokens 1")
    x = w.json(*base, "--max-tokens", "12", "--ignore-eos")[0]
    same((len(x["ids"]), x["finish"]), (12, "length"), "--ignore-eos")
    draw = lambda seed, *more: w.json(*base, "--temperature", "5", "--seed", seed, "--max-tokens", "16", "--ignore-eos", *more)[0]["ids"]
    same(draw(1), draw(1, "-t", "1"), "the same seed")
    check(draw(1) != draw(2), "another seed gives the same text")
    same(draw(1, "--top-k", "1"), w.json(*base, "--max-tokens", "16", "--ignore-eos")[0]["ids"], "--top-k 1 is greedy")
    for more in (["--cpu", "portable"], ["--load", "copy"], ["--image-backend", "pil"], ["-t", "3"]):
        same(w.good(*base, *more).strip(), "triangle", " ".join(more))


@test
def ask_sampling(w):
    """Every option that changes how the next token is chosen, on a question whose likely tokens are known."""
    base = ["ask", "-m", w.model("llava-easyvqa"), "--image", w.picture("llava-easyvqa", 0), "what is the red shape?"]
    long = [*base, "--max-tokens", "12", "--ignore-eos"]
    plain, x = w.json(*base)[0], w.json(*base, "--logprobs")[0]
    same(x["text"], plain["text"], "--logprobs")
    check(len(x["logprobs"]) == len(x["ids"]) and all(v <= 0 for v in x["logprobs"]), "--logprobs")
    first = plain["ids"][0]
    other = w.json(*base, "--logit-bias", f"{first}:-inf")[0]
    check(other["ids"][0] != first, "--logit-bias -inf")
    same(w.json(*base, "--logit-bias", f"{other['ids'][0]}:1000", "--max-tokens", 1)[0]["ids"], other["ids"][:1], "--logit-bias +1000")
    greedy = w.json(*long)[0]["ids"]
    draw = lambda *more: w.json(*long, "--temperature", "3", "--seed", "5", *more)[0]["ids"]
    same(draw("--min-p", "1"), greedy, "--min-p 1 is greedy")
    same(draw("--top-p", "1e-6"), greedy, "--top-p near 0 is greedy")
    check(draw() != greedy, "temperature 3 is greedy")
    for option, value in (("--presence-penalty", "90"), ("--frequency-penalty", "90")):
        ids = w.json(*long, option, value)[0]["ids"]
        check(len(set(ids)) == len(ids), f"{option} {value}: {ids} says something twice")
    check(w.json(*long, "--repetition-penalty", "50")[0]["ids"] != greedy, "--repetition-penalty")
    check(len(set(greedy)) < len(greedy), "the greedy answer says nothing twice")
    stopped = w.json(*base, "--stop", plain["text"].strip()[2:4])[0]
    same((stopped["text"], stopped["finish"]), (plain["text"][:plain["text"].index(plain["text"].strip()[2:4])], "stop"), "--stop")
    same(w.good(*base, "--stop", plain["text"].strip()[2:4]), stopped["text"] + "\n", "--stop, streamed")
    code, out, err = w.call(*base, "--stats")
    check(code == 0 and re.fullmatch(rb"rebus: \d+ prompt tokens, with their pictures, in [\d.]+ s \([\d.]+/s\); \d+ new tokens, \d+ of them in steps, in "
                                     rb"[\d.]+ s \([\d.]+/s\)\n", err), f"--stats: {err!r}")
    same(out.decode(), plain["text"] + "\n", "--stats")


@test
def ask_constrained(w):
    base = ["ask", "-m", w.model("llava-easyvqa"), "--image", w.picture("llava-easyvqa", 0), "what is the red shape?"]
    same(w.good(*base, "--regex", "circle|rectangle"), w.good(*base, "--grammar", 'root ::= "circle" | "rectangle"'), "--regex and --grammar")
    x = w.json(*base, "--grammar-file", w.write("g.gbnf", 'root ::= "the " shape "."\nshape ::= "triangle" | "circle"\n'))[0]
    same((x["text"], x["finish"]), ("the triangle.", "stop"), "--grammar-file")
    schema = {"type": "object", "properties": {"shape": {"enum": ["circle", "rectangle", "triangle"]}, "sides": {"type": "integer", "minimum": 0, "maximum": 9}},
              "required": ["shape", "sides"]}
    for option in (["--json-schema", json.dumps(schema)], ["--json-schema-file", w.write("s.json", json.dumps(schema))]):
        v = json.loads(w.json(*base, *option)[0]["text"])
        check(list(v) == ["shape", "sides"] and v["shape"] in schema["properties"]["shape"]["enum"] and 0 <= v["sides"] <= 9, f"{option[0]}: {v}")
    one = w.json(*base, "--json-schema", json.dumps(schema), "--temperature", 2, "--seed", 3)[0]
    same(w.good(*base, "--json-schema", json.dumps(schema), "--temperature", 2, "--seed", 3), one["text"] + "\n", "streamed")
    lines = "".join(json.dumps({"image": w.picture("llava-easyvqa", i), "text": "what is this?"}) + "\n" for i in range(5))
    for x in w.json("ask", "--batch", w.write("c.jsonl", lines), "--json-schema", json.dumps(schema), "--temperature", 3):
        check(json.loads(x["text"])["sides"] in range(10) and x["finish"] == "stop", f"batch: {x}")
    cut = w.json(*base, "--regex", "[a-z]{200}", "--max-tokens", 3)[0]
    same((cut["finish"], len(cut["ids"])), ("length", 3), "cut off")
    check(re.fullmatch("[a-z]+", cut["text"]), f"cut off: {cut['text']!r}")
    w.bad(2, "bound by one of them", *base, "--regex", "a", "--json-schema", "{}")
    w.bad(2, "no rule root", *base, "--grammar", "a ::= b")
    w.bad(1, "left recursion", *base, "--grammar", 'root ::= root "a" | "b"')
    w.bad(1, "keyword not is not supported", *base, "--json-schema", '{"not": {}}')
    w.bad(1, "look-around", *base, "--regex", "(?=a)b")
    w.bad(1, "none.gbnf: cannot be read", *base, "--grammar-file", "none.gbnf")
    w.bad(2, "not UTF-8", *base, "--grammar", b"root ::= \"\xff\"")
    w.bad(2, "forbids every token", *base, "--regex", "a", *[x for i in range(400) for x in ("--logit-bias", f"{i}:-inf")])
    w.bad(2, "does not generate", "ask", "-m", w.model("vit-fashion"), "--image", w.picture("vit-fashion", 0), "--regex", "a")


@test
def ask_mistakes(w):
    llava, image = w.model("llava-easyvqa"), w.picture("llava-easyvqa", 0)
    w.bad(2, "", "ask", "-m", llava, "--raw", "--image", image, "<image> and <image> differ")
    w.bad(2, "", "ask", "-m", llava, "--raw", "--image", image, "--image", image, "<image> is")
    w.bad(2, "", "ask", "-m", llava, "--raw", "<image> is")
    w.bad(1, "none.png", "ask", "-m", llava, "--image", "none.png", "what?")
    w.bad(1, "512 positions", "ask", "-m", llava, "--image", image, "what? " * 5000)
    w.bad(2, "generate", "ask", "-m", w.model("vit-fashion"), "--image", image)


@test
def batch_mistakes(w):
    llava, good = w.model("llava-easyvqa"), json.dumps({"text": "hello"}) + "\n"
    for bad, words in (("{", "JSON"), ("[1]", "JSON object"), ("7", "JSON object"), ("", "JSON"), ("{}", "something in it"), ('{"txet": "a"}', 'unknown key "txet"'),
                       ('{"text": 5}', "not a string"), ('{"image": 5}', "not the name"), ('{"image": [5]}', "not the name"), ('{"text": "a"} x', "follows"),
                       ('{"text": "a", "pair": "b"}', "pair"), ('{"content": [{"video": "d", "fps": 2}]}', "video"), ('{"content": []}', "pieces"),
                       ('{"content": "a"}', "pieces"), ('{"content": [{"text": "a", "image": "b"}]}', "one key"), ('{"messages": []}', "messages"),
                       ('{"messages": [{"role": "user"}]}', "message"), ('{"messages": [{"role": 1, "content": "a"}]}', "message"), ("[" * 1000, "JSON|nested"),
                       ("\0", "JSON")):
        w.bad(2, rf"lines\.jsonl: line 2: .*({words})", "ask", "-m", llava, "--batch", w.write("lines.jsonl", good + bad + "\n" + good))
    w.bad(1, r"line 2: .*none\.png", "ask", "-m", llava, "--batch", w.write("lines.jsonl", good + '{"image": "none.png"}\n'), "--batch-size", "1")
    w.bad(2, "holds no lines", "ask", "-m", llava, "--batch", w.write("empty.jsonl", ""))
    w.bad(1, "none.jsonl", "ask", "-m", llava, "--batch", "none.jsonl")
    w.bad(1, "folder", "ask", "-m", llava, "--batch", w.folder)
    w.bad(2, "line 1: .*not the name", "classify", "-m", w.model("vit-fashion"), "--batch", w.write("lines.jsonl", '{"image": ["a.png", 5]}\n'))
    w.bad(2, "text", "classify", "-m", w.model("vit-fashion"), "--batch", w.write("lines.jsonl", '{"text": "a"}\n'))


# ------------------------------------------------------------------------------------------------ tokens, inspect, bench
@test
def tokens_of_prompts(w):
    llava = w.model("llava-easyvqa")
    x = w.json("tokens", "-m", llava, "--image", w.picture("llava-easyvqa", 0), "--text", "what is the red shape?")[0]
    same(len(x["ids"]), len(x["rows"]), "a row a token")
    check("what is the red shape?" in x["text"], "text")
    same(sum(r["kind"] == "image" for r in x["rows"]), 64, "rows of the picture")
    table = w.good("tokens", "-m", llava, "--text", "what is the red shape?")
    check(len(table.splitlines()) > 5 and "{" not in table.splitlines()[0], "table")
    lines = w.write("texts.jsonl", "".join(json.dumps({"text": t}) + "\n" for t in ("a cat", "", "a\0b", "\u00e9\u4e2d\U0001f600", "a\nb")))
    out = w.json("tokens", "-m", llava, "--raw", "--batch", lines)
    same(len(out), 5, "a line a text")
    same(out[0], w.json("tokens", "-m", llava, "--raw", "--text", "a cat")[0], "alone")
    check(len(w.good("tokens", "-m", llava, "--raw", "--batch", lines).split("\n\n")) >= 4, "tables, apart by a blank line")
    clip = w.model("clip-fashion")
    full, bare = w.json("tokens", "-m", clip, "--text", "a photo of a bag.")[0], w.json("tokens", "-m", clip, "--text", "a photo of a bag.", "--no-special")[0]
    same(full["ids"][1:-1], bare["ids"], "--no-special")
    w.bad(2, "picture", "tokens", "-m", w.model("vit-fashion"), "--text", "a")


@test
def inspect_and_bench(w):
    for name, family in (("vit-fashion", "vit"), ("clip-fashion", "clip"), ("llava-easyvqa", "llava")):
        check(family in json.dumps(w.json("inspect", "-m", w.model(name))[0]), f"{name}: no family")
        check(family in w.good("inspect", w.model(name)), f"{name}: no family")
        check(len(w.good("inspect", w.model(name), "--weights")) > len(w.good("inspect", w.model(name))), f"{name}: --weights lists nothing")
        check(len(w.json("bench", "-m", w.model(name), "--repeat", "1", "--max-tokens", "2")[0]) > 0, f"{name}: bench")
        check(re.search(r"\d", w.good("bench", "-m", w.model(name), "--repeat", "1", "--max-tokens", "2", "--copies", "2", "--profile")), f"{name}: bench")
    llava = w.model("llava-easyvqa")
    x = w.json("bench", "-m", llava, "--image", w.picture("llava-easyvqa", 0), "--text", "a", "--repeat", "2", "--max-tokens", "3", "--profile", "-t", "1")[0]
    same([p["part"] for p in x["parts"]], ["picture", "vision", "prefill", "decode"], "parts of bench")
    check(min(x["peaks"].values()) >= 0 and x["peaks"]["gflops_per_second"] > 0 and x["peaks"]["gb_per_second"] > 0, "peaks")
    for p in x["parts"]:
        check(0 < p["ms"]["min"] <= p["ms"]["median"] <= p["ms"]["max"], f"{p['part']}: times")
        if p["part"] != "picture":
            check(p["flops"] > 0 and p["bytes"] > 0 and p["planned_bytes"] > 0 and p["share"] > 0, f"{p['part']}: counts")
            for groups in ("operations", "names"):
                same(sum(o.get("steps", 1) for o in p[groups]), len(p["steps"]), f"{p['part']}: steps in {groups}")
                check(abs(sum(o["flops"] for o in p[groups]) - p["flops"]) <= 1e-6 * p["flops"], f"{p['part']}: {groups} add up")
    check(x["parts"][1]["flops"] == w.json("bench", "-m", llava, "--repeat", "1", "--max-tokens", "2")[0]["parts"][0]["flops"], "work counted by shape")
    w.json("inspect", "-m", llava, "--image", w.picture("llava-easyvqa", 0), "--text", "a", "--max-tokens", "8")
    w.bad(2, "model twice", "inspect", llava, "-m", llava)
    w.bad(2, "picture", "bench", "-m", w.model("vit-fashion"), "--text", "a")


# ------------------------------------------------------------------------------------------------ trace
@test
def trace_names_and_values(w):
    vit, r = w.model("vit-fashion"), w.results("vit-fashion")
    images = [x for i in range(3) for x in ("--image", w.picture("vit-fashion", i))]
    out = w.fresh(".safetensors")
    same(w.good("trace", "-m", vit, *images, "--hidden-states", "-o", out), "", "standard output")
    t = tensors_read(out)
    close(t["logits"][1], [v for row in r["first_logits"] for v in row], 2e-5, "logits")
    check({"pixel_values", "last_hidden_state", "hidden_states.0", "hidden_states.6"} <= set(t), f"names: {sorted(t)}")
    x = w.json("trace", "-m", vit, *images, "--hidden-states", "-o", out)[0]
    same({k: v["shape"] for k, v in x["tensors"].items()}, {k: v[0] for k, v in t.items()}, "--json")
    pixels, again = w.path("pixels.safetensors"), w.fresh(".safetensors")
    tensors_write(pixels, {"pixel_values": ("F32", *t["pixel_values"])})
    w.good("trace", "-m", vit, "--inputs", pixels, "-o", again)
    same(tensors_read(again)["logits"], t["logits"], "logits of given pixels")
    batch = w.write("pictures.jsonl", "".join(json.dumps({"image": w.picture("vit-fashion", i)}) + "\n" for i in range(3)))
    same([y["item"] for y in w.json("trace", "-m", vit, "--batch", batch, "-o", out)], [0, 1, 2], "--json with --batch")
    b = tensors_read(out)
    close([v for i in range(3) for v in b[f"{i}.logits"][1]], t["logits"][1], 1e-5, "packed logits")
    w.good("trace", "-m", vit, *images, "-t", "1", "-o", out)
    w.good("trace", "-m", vit, *images, "-t", "2", "-o", again)
    same(read(out), read(again), "bytes at 1 and 2 threads")
    w.good("trace", "-m", vit, images[0], images[1], "--size", "56x28", "-o", out)
    same(tensors_read(out)["pixel_values"][0], [1, 3, 56, 28] if t["pixel_values"][0][1] == 3 else [1, 1, 56, 28], "--size")


@test
def trace_of_towers_and_text(w):
    clip, r = w.model("clip-fashion"), w.results("clip-fashion")
    args = [x for i in range(3) for x in ("--image", w.picture("clip-fashion", i))] + [x for c in r["captions"] for x in ("--text", c)]
    out = w.fresh(".safetensors")
    w.good("trace", "-m", clip, *args, "-o", out)
    close(tensors_read(out)["logits_per_image"][1], [v for row in r["first_logits"] for v in row], 5e-4, "logits_per_image")
    llava = w.model("llava-easyvqa")
    q = ["--image", w.picture("llava-easyvqa", 0), "--text", "what is the red shape?"]
    w.good("trace", "-m", llava, *q, "--max-tokens", "4", "--ignore-eos", "-o", out)
    t = tensors_read(out)
    same(t["generated_ids"], ([1, 4], w.json("ask", "-m", llava, *q, "--max-tokens", "4", "--ignore-eos")[0]["ids"]), "generated_ids")
    same(t["input_ids"][1], w.json("tokens", "-m", llava, *q)[0]["ids"], "input_ids")


@test
def trace_mistakes(w):
    vit, image = w.model("vit-fashion"), w.picture("vit-fashion", 0)
    out = w.write("keep.safetensors", "as it was")
    inputs = w.path("inputs.safetensors")
    base = ["trace", "-m", vit, "-o", out]
    def unchanged(*args):
        w.bad(*args)
        same(read(out), b"as it was", "the file that was there")
        check(not os.path.exists(out + ".tmp"), "a temporary file is left")
    unchanged(1, "none.png", *base, "--image", "none.png")
    unchanged(1, "bad.png", *base, "--image", w.write("bad.png", read(image)[:60]))
    unchanged(1, "text.png", *base, "--image", w.write("text.png", "hello"))
    unchanged(1, "", *base, "--image", w.folder)
    unchanged(2, "text", *base, "--image", image, "--text", "a")
    unchanged(2, "size", *base, "--image", image, "--size", "1x1")
    unchanged(2, "generate", *base, "--image", image, "--max-tokens", "2")
    unchanged(1, "none.safetensors", *base, "--inputs", "none.safetensors")
    for tensors, words in (({"pixels": ("F32", [1], [0])}, "pixels"), ({"pixel_values": ("I64", [1, 1, 28, 28], [0] * 784)}, "pixel_values"),
                           ({"pixel_values": ("F32", [784], [0] * 784)}, "pixel_values"), ({"pixel_values": ("F32", [1, 5, 28, 28], [0] * 3920)}, ""),
                           ({"input_ids": ("I64", [1, 1], [0])}, "input_ids")):
        tensors_write(inputs, tensors)
        unchanged(2, words, *base, "--inputs", inputs)
    w.bad(1, "no folder", "trace", "-m", vit, "--image", image, "-o", os.path.join(w.folder, "nowhere", "o.safetensors"))
    w.bad(1, "folder", "trace", "-m", vit, "--image", image, "-o", w.folder)
    w.bad(2, "picture", "trace", "-m", vit, "--text", "a", "-o", out)
    if os.geteuid():
        os.mkdir(w.path("locked"), 0o500)
        w.bad(1, "cannot be written", "trace", "-m", vit, "--image", image, "-o", w.path("locked/o.safetensors"))


@test
def broken_models(w):
    image = w.picture("vit-fashion", 0)
    def broken(change):
        folder = w.fresh()
        shutil.copytree(w.model("vit-fashion"), folder, ignore=shutil.ignore_patterns("pictures"))
        change(folder)
        return folder
    def cut(name, size):
        return lambda d: os.truncate(os.path.join(d, name), size)
    def config(**more):
        def change(d):
            with open(os.path.join(d, "config.json")) as f:
                c = json.load(f)
            c.update(more)
            with open(os.path.join(d, "config.json"), "w") as f:
                json.dump(c, f)
        return change
    size = os.path.getsize(os.path.join(w.model("vit-fashion"), "model.safetensors"))
    for change, words in ((cut("model.safetensors", size // 2), "model.safetensors"), (cut("model.safetensors", 4), "model.safetensors"), (cut("config.json", 20), "config.json"),
                          (lambda d: os.remove(os.path.join(d, "model.safetensors")), "model.safetensors"), (lambda d: os.remove(os.path.join(d, "config.json")), "config.json"),
                          (config(hidden_size=95), ""), (config(num_hidden_layers=7), ""), (config(model_type="no-such"), "no-such"), (config(hidden_size=-1), "hidden_size"),
                          (cut("preprocessor_config.json", 9), "preprocessor_config.json")):
        w.bad(1, words, "classify", "-m", broken(change), image)
    w.bad(1, "nowhere", "classify", "-m", w.path("nowhere"), image)
    w.bad(1, "", "classify", "-m", "nobody/nothing", image, env={"HF_HUB_CACHE": w.folder})


@test
def processors_not_known(w):
    """An image processor of another class is refused, with the one most like it; a field that none reads is warned of."""
    def folder(**change):
        d = w.path(f"processor-{next(iter(change))}")
        shutil.copytree(w.model("vit-fashion"), d, ignore=shutil.ignore_patterns("pictures"))
        with open(os.path.join(d, "preprocessor_config.json")) as f:
            p = json.load(f)
        with open(os.path.join(d, "preprocessor_config.json"), "w") as f:
            json.dump({**p, **change}, f)
        return d
    image = w.picture("vit-fashion", 0)
    w.bad(1, "image processor CLAPImageProcessor is not supported; the nearest that is: CLIPImageProcessor", "classify", "-m",
          folder(image_processor_type="CLAPImageProcessor"), image)
    code, out, err = w.call("classify", "-m", folder(do_sharpen=True), image)
    check(code == 0 and b'field "do_sharpen" is not read by this image processor' in err and err.count(b"\n") == 1, f"exit {code}: {err!r}")
    same(out.decode(), w.good("classify", "-m", w.model("vit-fashion"), image), "with a field that is not read")


@test
def model_in_the_cache(w):
    at = w.path("cache/models--some--vit")
    os.makedirs(at + "/refs")
    os.makedirs(at + "/snapshots")
    with open(at + "/refs/main", "w") as f:
        f.write("0123abc")
    os.symlink(w.model("vit-fashion"), at + "/snapshots/0123abc")
    w.good("classify", "-m", "some/vit", w.picture("vit-fashion", 0), env={"HF_HUB_CACHE": w.path("cache")})


@test
def classify_with_templates(w):
    clip, labels, templates = w.model("clip-fashion"), ["bag", "dress", "ankle boot"], ["a photo of a {}.", "{}", "the {} in grey"]
    files = [w.picture("clip-fashion", i) for i in (3, 18)]
    out = w.fresh(".safetensors")
    w.good("trace", "-m", clip, "--image", files[0], "--text", "a bag", "-o", out)
    t = tensors_read(out)
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    scale = t["logits_per_image"][1][0] / dot(t["image_embeds"][1], t["text_embeds"][1])
    vector = lambda *args: [x["vector"] for x in w.json("embed", "-m", clip, *args)]
    pictures, wanted = vector(*files), []
    for label in labels:
        mean = [sum(c) / len(templates) for c in zip(*vector(*[x for s in templates for x in ("--text", s.replace("{}", label))]))]
        wanted.append([x / math.sqrt(dot(mean, mean)) for x in mean])
    given = ["classify", "-m", clip, *files, "--top", "0", "--labels", w.write("labels.txt", "\n".join(labels[1:]) + "\n\n"), "--label", labels[0]]
    for how in (["--template", templates[0], "--templates", w.write("templates.txt", "\n".join(templates[1:]))], [x for s in templates for x in ("--template", s)]):
        for got, p in zip(w.json(*given, *how), pictures):
            e = [math.exp(scale * (dot(p, v) - 1)) for v in wanted]
            want = sorted(zip([x / sum(e) for x in e], labels), reverse=True)
            same(got["labels"], [x[1] for x in want], "labels")
            close(got["scores"], [x[0] for x in want], 1e-5, "scores")
    plain = w.json(*given)
    same(w.json(*given, "--template", "{}"), plain, "the label alone as its template")
    same(w.json(*given, "--batching", "pad", "--batch-tokens", "60")[0]["labels"], plain[0]["labels"], "padded")
    for bad in ("no place", "{} and {}"):
        w.bad(2, "template", *given, "--template", bad)
    w.bad(2, "no labels", "classify", "-m", w.model("vit-fashion"), w.picture("vit-fashion", 0), "--template", "{}")
    w.bad(2, "holds no lines", "classify", "-m", clip, files[0], "--labels", w.write("none.txt", "\n"))
    w.bad(1, "cannot be opened", "classify", "-m", clip, files[0], "--labels", "nowhere.txt")


@test
def attention_pictures(w):
    vit, clip, out = w.model("vit-fashion"), w.model("clip-fashion"), w.fresh(".png")
    picture = w.picture("vit-fashion", 1)
    seen = set()
    for command, how in ((["classify", "-m", vit], []), (["classify", "-m", vit], ["--rollout"]), (["classify", "-m", vit], ["--layer", "0", "--head", "2"]),
                         (["classify", "-m", vit], ["--layer", "5"]), (["embed", "-m", clip], ["--layer", "3"])):
        w.good(*command, picture, "--attention", out, *how)
        data = read(out)
        check(data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">IIBB", data[16:26]) == (448, 448, 8, 2), f"{how}: no RGB picture of 448 x 448")
        seen.add(data)
        w.good("classify", "-m", vit, out)  # readable
    same(len(seen), 4, "different pictures (rolled out is the default)")
    os.unlink(out)
    for words, how in (("expected 0 to 5", ["--layer", "6"]), ("expected 0 to 2", ["--layer", "1", "--head", "3"]), ("without a layer", ["--head", "1"]), ("no --layer", ["--rollout", "--layer", "1"])):
        w.bad(2, words, "classify", "-m", vit, picture, "--attention", out, *how)
    w.bad(2, "one picture", "classify", "-m", vit, picture, picture, "--attention", out)
    w.bad(2, "nothing to draw", "classify", "-m", vit, picture, "--layer", "1")
    w.bad(1, "no folder", "classify", "-m", vit, picture, "--attention", w.path("nowhere/a.png"))
    check(not os.path.exists(out), "a picture is left")


# ------------------------------------------------------------------------------------------------ embed, search
@test
def embed_three_kinds(w):
    clip = w.model("clip-fashion")
    files = [w.picture("clip-fashion", i) for i in range(20)]
    texts = ["a photo of a bag.", '"quoted"\nand broken']
    args = ["embed", "-m", clip, *files, *[x for t in texts for x in ("--text", t)]]
    npy, tensors, lines = (w.fresh(x) for x in (".npy", ".safetensors", ".jsonl"))
    same(w.good(*args, "-o", npy), "", "standard output")
    w.good(*args, "-o", tensors)
    same(w.json(*args, "-o", lines), [{"output": lines, "rows": 22, "skipped": 0}], "--json")
    rows = npy_read(npy)
    same(len(rows), 22, "rows")
    check(all(abs(sum(v * v for v in r) - 1) < 1e-5 for r in rows), "not of unit length")
    names = lines_of(npy + ".files")
    same(names[:21], files + texts[:1], "names")
    same(json.loads(names[21]), texts[1], "a name with a line break")
    t = tensors_read(tensors)
    same(t["embeddings"], ([22, len(rows[0])], [v for r in rows for v in r]), "embeddings")
    same(bytes(t["files"][1]).decode().splitlines(), names, "files")
    j = [json.loads(x) for x in lines_of(lines)]
    same([x["file"] for x in j], files + texts, "names in lines")
    close([v for x in j for v in x["vector"]], [v for r in rows for v in r], 1e-8, "vectors in lines")
    loose = w.json(*args)
    close([v for x in loose for v in x["vector"]], [v for r in rows for v in r], 1e-8, "without -o")
    same(loose[20]["text"], texts[0], "a text")
    check(not any(f.endswith((".part", ".tmp")) for f in os.listdir(w.folder)), "something is left")
    out = w.fresh(".safetensors")
    w.good("trace", "-m", clip, "--image", files[3], "-o", out)
    close(rows[3], tensors_read(out)["image_embeds"][1], 1e-6, "the same as trace")
    names = w.write("more.txt", "\n".join(files[10:]))
    out = w.fresh(".npy")
    w.good("embed", "-m", clip, *files[:10], "--files", names, "-o", out)
    same(npy_read(out), rows[:20], "--files")


@test
def search_finds(w):
    clip, r = w.model("clip-fashion"), w.results("clip-fashion")
    files = [w.picture("clip-fashion", i) for i in range(20)]
    for ending in (".npy", ".safetensors", ".jsonl"):
        index = w.path("index" + ending)
        w.good("embed", "-m", clip, *files, "-o", index)
        x = w.json("search", "-m", clip, index, "--image", files[7], "--top", "3")[0]
        same((x["files"][0], len(x["files"]), len(x["scores"])), (files[7], 3, 3), "a picture finds itself")
        check(abs(x["scores"][0] - 1) < 1e-5, "its score")
        x = w.json("search", "-m", clip, index, "--text", r["captions"][8], "--top", "0")[0]
        same(sorted(x["files"]), files, "--top 0")
        check(x["scores"] == sorted(x["scores"], reverse=True), "scores do not fall")
        same(x["files"][0], files[18], "the bag")
        same(x["scores"][0], w.json("search", index, "--text", r["captions"][8])[0]["scores"][0], "the default model")
    line = w.good("search", "-m", clip, index, "--text", r["captions"][8], "--top", "1")
    check(re.fullmatch(rf"0\.\d{{4}}  {files[18]}\n", line), f"line: {line!r}")
    same(len(w.good("search", "-m", clip, index, "--text", "a bag").splitlines()), 10, "lines without --top")


@test
def search_in_small_stores(w):
    clip = w.model("clip-fashion")
    files = [w.picture("clip-fashion", i) for i in range(20)]
    whole = w.fresh(".npy")
    w.good("embed", "-m", clip, *files, "-o", whole)
    for store in ("f16", "int8"):
        for ending in (".npy", ".safetensors"):
            out = w.fresh(ending)
            w.good("embed", "-m", clip, *files, "--store", store, "-o", out)
            check(os.path.getsize(out) < os.path.getsize(whole), "no smaller")
            for i in (3, 18):
                a, b = (w.json("search", "-m", clip, x, "--image", files[i], "--top", "3", "-t", "3")[0] for x in (whole, out))
                same(b["files"][0], files[i], "a picture finds itself")
                close(b["scores"], a["scores"], 2e-3, f"{store} scores")
    rows, scales = npy_read(whole), w.fresh(".npy")
    w.good("embed", "-m", clip, *files, "--store", "int8", "-o", scales)
    data = read(scales + ".scales")
    scale, q = array.array("f", data[128:]), array.array("b", read(scales)[128:])
    check(all(abs(q[i * 64 + k] * scale[i] - rows[i][k]) <= scale[i] * 0.501 for i in range(20) for k in range(64)), "numbers times their scale")
    w.bad(2, "decimal", "embed", "-m", clip, files[0], "--store", "int8", "-o", w.fresh(".jsonl"))
    w.bad(2, "no file", "embed", "-m", clip, files[0], "--store", "int8", "--json")


@test
def search_mistakes(w):
    search = lambda code, words, index: w.bad(code, words, "search", "-m", w.model("clip-fashion"), index, "--text", "a")
    other = w.path("other.npy")
    npy_write(other, [[1.0, 0.0, 0.0]])
    search(1, r"other\.npy\.files", other)
    w.write("other.npy.files", "a\nb\n")
    search(1, "more names", other)
    w.write("other.npy.files", "")
    search(1, "0 names", other)
    w.write("other.npy.files", "a\n")
    search(1, "the same model", other)
    search(1, "none.npy", "none.npy")
    search(2, "ends in", "index.txt")
    w.write("other.npy.files", b"a\0b\n")
    search(1, "NUL", other)
    w.write("other.npy.files", '"a\n')
    search(1, "JSON", other)
    w.write("other.npy.files", "a\n")
    search(1, "npy", w.write("bad.npy", b"\x93NUMPY\x01\x00"))
    search(1, "", w.write("bad.safetensors", b"12345678"))
    search(1, "embeddings", os.path.join(w.model("clip-fashion"), "model.safetensors"))
    for line, words in (("{", "JSON"), ('{"file": "a"}', "line 1"), ('{"file": "a", "vector": []}', "line 1"), ('{"file": "a", "vector": [1, "b"]}', "line 1"),
                        ('{"file": "a", "vector": [1, 2]}\n{"file": "b", "vector": [1]}', "line 2"), ('{"file": "a", "vector": [1, 2]}\n' * 2 + "\n", "line 3|do not fit")):
        search(1, words, w.write("bad.jsonl", line))
    w.bad(2, "picture", "search", "-m", w.model("vit-fashion"), other, "--text", "a")


@test
def embed_skips_what_it_cannot_read(w):
    clip, out = w.model("clip-fashion"), w.fresh(".npy")
    files = [w.picture("clip-fashion", i) for i in range(6)]
    bad = w.write("broken.png", read(files[0])[:70])
    code, text, err = w.call("embed", "-m", clip, *files[:3], bad, "none.png", *files[3:], "-o", out)
    same((code, text), (1, b""), "exit code and standard output")
    err = err.decode().splitlines()
    check(len(err) == 3 and "broken.png" in err[0] and "none.png" in err[1] and "2 of 8" in err[2] and all(x.startswith("rebus: ") for x in err), f"messages: {err}")
    same(lines_of(out + ".files"), files, "names")
    same(len(npy_read(out)), 6, "rows")
    check(not os.path.exists(out + ".part"), "OUT.part is left")
    out = w.fresh(".npy")
    code, text, err = w.call("embed", "-m", clip, bad, "-o", out)
    same((code, text, os.path.exists(out), os.path.exists(out + ".part")), (1, b"", False, False), "nothing readable")
    w.bad(2, "", "embed", "-m", w.model("llava-easyvqa"), files[0], "-o", out)
    w.bad(2, "text", "embed", "-m", w.model("vit-fashion"), "--text", "a", "-o", out)
    check(not os.path.exists(out + ".part"), "OUT.part is left")
    w.bad(1, "folder", "embed", "-m", clip, files[0], "-o", w.path("nowhere/out.npy"))


def many(w, n):
    """n names of pictures, some of which cannot be read, in a list"""
    files = [w.picture("clip-fashion", i % 20) for i in range(n)]
    files[5] = w.write("broken.png", "no picture")
    return w.write("many.txt", "\n".join(files) + "\n")


@test
def embed_resumes(w):
    clip, names = w.model("clip-fashion"), many(w, 1200)
    for ending, stop in ((".npy", signal.SIGKILL), (".safetensors", signal.SIGKILL), (".jsonl", signal.SIGINT)):
        whole, out = w.fresh(ending), w.fresh(ending)
        args = ["embed", "-m", clip, "--files", names, "--text", "a bag", "--batch-size", "5", "-t", "1"]
        same(w.call(*args, "-o", whole)[0], 1, "a broken picture")
        p = w.start(*args, "-o", out)
        size = 0
        while p.poll() is None and size < 20000:
            size = os.path.getsize(out + ".part") if os.path.exists(out + ".part") else 0
        p.send_signal(stop)
        err = p.communicate()[1].decode()
        same(p.returncode, -signal.SIGKILL if stop == signal.SIGKILL else 130, "how it ended")
        check(stop == signal.SIGKILL or "goes on from there" in err, f"message: {err}")
        check(os.path.exists(out + ".part") and not os.path.exists(out), "OUT.part")
        with open(out + ".part", "ab") as f:          # as if it had been killed amid a row
            f.write(b"\x07\0\0\0\x20\0\0")
        w.bad(1, "another model or other options", "embed", "-m", clip, "--size", "56x56", names, "-o", out)
        w.bad(1, "holds a row of", "embed", "-m", clip, w.picture("clip-fashion", 1), "-o", out)
        kept = os.path.getsize(out + ".part")
        check(kept >= 20000, "OUT.part was cut")
        code, text, err = w.call(*args, "-o", out)
        same((code, text), (1, b""), "exit code")
        check(b"broken.png" in err and b"1 of 1201" in err, f"messages: {err}")
        same(read(out), read(whole), "the file of a call that was not stopped")
        if ending == ".npy":
            same(read(out + ".files"), read(whole + ".files"), "the names")
        check(not os.path.exists(out + ".part"), "OUT.part is left")
    w.write("other.npy.part", "somebody's own file")
    w.bad(1, "not a list of vectors", "embed", "-m", clip, w.picture("clip-fashion", 1), "-o", "other.npy")
    same(read(w.path("other.npy.part")), b"somebody's own file", "a file that is not ours")
    w.good("embed", "-m", clip, w.picture("clip-fashion", 1), "-o", "other.npy", "--restart")


def tree(w):
    """Folders, a list and tar files of every form; -> {name: number of its picture} in the order that embed should find them"""
    picture = lambda i: read(w.picture("clip-fashion", i))
    put = lambda name, data: (os.makedirs(os.path.dirname(w.path(name)), exist_ok=True), w.write(name, data))
    files = {"photos/b/2.PNG": 2, "photos/a/1.png": 1, "photos/a/deep/er/3.png": 3, "photos/0.png": 0}
    for name, i in files.items():
        put(name, picture(i))
    put("photos/a/notes.txt", "no picture")
    put("photos/.hidden.png", "no picture")
    put("photos/.thumbs/a.png", "no picture")
    os.symlink(".", w.path("photos/a/up"))  # into a folder that is being walked
    shards = {}
    for form, kind in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        with tarfile.open(w.path(f"photos/{form}.tar"), "w", format=kind) as t:
            for name, i in ((f"{form}/0007.png", 7), (f"{form}/0007.json", None), ("n" * (80 if form == "ustar" else 140) + "/" + "m" * 90 + ".png", 8)):
                data = picture(i) if i is not None else b"{}"
                info = tarfile.TarInfo(name)
                info.size = len(data)
                t.addfile(info, io.BytesIO(data))
                if i is not None:
                    shards[f"photos/{form}.tar/{name}"] = i
    order = ["photos/0.png", "photos/a/1.png", "photos/a/deep/er/3.png", "photos/b/2.PNG"]
    found = {x: files[x] for x in order}
    for form in ("gnu", "pax", "ustar"):
        found.update({k: v for k, v in shards.items() if f"/{form}.tar/" in k})
    return found


@test
def embed_folders_patterns_and_shards(w):
    clip, found = w.model("clip-fashion"), tree(w)
    plain = w.fresh(".npy")
    w.good("embed", "-m", clip, *[w.picture("clip-fashion", i) for i in range(9)], "-o", plain)
    plain = npy_read(plain)
    def finds(want, *args, **more):
        out = w.fresh(".npy")
        w.good("embed", "-m", clip, *args, "-o", out, **more)
        same(lines_of(out + ".files"), list(want), f"names of {args}")
        close([x for r in npy_read(out) for x in r], [x for i in want.values() for x in plain[i]], 1e-6, f"vectors of {args}")
    some = lambda *names: {x: found[x] for x in names}
    finds(found, "photos")
    finds(found, "-", stdin=b"photos\n")
    finds({**some("photos/b/2.PNG", "photos/0.png"), **some("photos/a/1.png", "photos/a/deep/er/3.png")}, "photos/b", "photos/0.png", "photos/a")
    finds({k: v for k, v in found.items() if "gnu.tar" in k}, "photos/gnu.tar")
    finds({k: v for k, v in found.items() if ".tar/" in k}, "photos/*.tar")
    finds(some("photos/a/1.png", "photos/a/deep/er/3.png", "photos/b/2.PNG"), "photos/[ab]")
    finds(some("photos/0.png", "photos/a/1.png", "photos/a/deep/er/3.png"), "photos/**/*.png")
    finds(some("photos/a/deep/er/3.png"), "**/er/*.png")
    finds(some("photos/a/1.png", "photos/b/2.PNG"), "--files-from", "-", stdin=b"photos/a/1.png\n\nphotos/b/2.PNG\n")
    w.write("list.txt", "photos/gnu.tar\nphotos/b\n")
    finds({**{k: v for k, v in found.items() if "gnu.tar" in k}, **some("photos/b/2.PNG")}, "--files-from", "list.txt")
    w.write("[odd].png", read(w.picture("clip-fashion", 4)))
    finds({"[odd].png": 4}, "[odd].png")
    lines = [json.loads(x) for x in w.call("embed", "-m", clip, "photos/0.png", "--text", "a bag", "photos/b", "--json")[1].splitlines()]
    same([x.get("file", x.get("text")) for x in lines], ["photos/0.png", "a bag", "photos/b/2.PNG"], "order of pictures and texts")


@test
def embed_broken_sources(w):
    clip, out = w.model("clip-fashion"), w.fresh(".npy")
    tree(w)
    shard, good = read(w.path("photos/gnu.tar")), w.picture("clip-fashion", 0)
    def broken(words, rows, *args):
        code, text, err = w.call("embed", "-m", clip, *args, "-o", out)
        err = err.decode().splitlines()
        check(code == 1 and text == b"", f"{args}: exit {code}, {text[:80]!r}")
        check(any(re.search(words, x) for x in err), f"{args}: no {words!r} in {err}")
        check(all(x.startswith("rebus: ") for x in err), f"messages: {err}")
        same(len(lines_of(out + ".files")) if os.path.exists(out + ".files") else 0, rows, f"{args}: rows")
    w.write("cut.tar", shard[:900])
    broken("cut.tar: byte 0: the file ends inside a member", 1, "cut.tar", good)
    w.write("late.tar", shard.rstrip(b"\0")[:-50])
    broken("late.tar: byte", 2, "late.tar", good)
    flipped = bytearray(shard)
    flipped[700] ^= 1   # in the picture: its own checksum is wrong, the next one is whole
    w.write("flipped.tar", bytes(flipped))
    broken("flipped.tar/gnu/0007.png", 2, "flipped.tar", good)
    flipped = bytearray(shard)
    flipped[3] ^= 1
    w.write("head.tar", bytes(flipped))
    broken("no tar header", 1, good, "head.tar")
    w.write("packed.tar", gzip.compress(shard))
    broken("compressed", 1, good, "packed.tar")
    os.makedirs(w.path("nothing/here"))
    broken("no pictures there", 1, good, "nothing")
    broken("no pictures there", 1, good, "photos/*.xyz")
    broken("cannot be opened", 1, good, "nowhere.png")
    w.bad(2, "holds no inputs", "embed", "-m", clip, "-", "-o", w.fresh(".npy"))
    w.bad(2, "line 2: holds a NUL", "embed", "-m", clip, "-", "-o", w.fresh(".npy"), stdin=good.encode() + b"\n\0\n")


@test
def embed_survives_any_kill(w):
    """Killed 24 times, whenever OUT.part has grown by some random share; the file is that of a call that was not killed."""
    clip, names, moments = w.model("clip-fashion"), many(w, 800), random.Random(int(os.environ.get("REBUS_SEED", "1")))
    tree(w)
    size, kills = None, 0
    for ending in (".npy", ".safetensors", ".jsonl"):
        whole, out = w.fresh(ending), w.fresh(ending)
        args = ["embed", "-m", clip, "photos", "--files-from", names, "--text", "a bag", "--batch-size", "20", "--batch-tokens", "400", "-t", "2"]
        same(w.call(*args, "-o", whole)[0], 1, "a broken picture")
        if size is None:
            size = sum(len(x.encode()) + 13 + 4 * len(npy_read(whole)[0]) for x in lines_of(whole + ".files"))
        here = lambda: os.path.getsize(out + ".part") if os.path.exists(out + ".part") else 0
        for target in sorted(moments.uniform(0, 0.97) for _ in range(8)):
            p = w.start(*args, "-o", out)
            while p.poll() is None and here() < target * size:
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.003))
            p.kill()
            p.communicate()
            kills += p.returncode == -signal.SIGKILL
        for _ in range(3):  # and while OUT is being put in place
            if os.path.exists(out):
                break
            p = w.start(*args, "-o", out)
            while p.poll() is None and not any(os.path.exists(out + x) for x in (".tmp", ".files.tmp")):
                time.sleep(0.001)
            p.kill()
            p.communicate()
        if os.path.exists(out + ".part") or not os.path.exists(out):
            same(w.call(*args, "-o", out)[0], 1, f"{ending}: how the last call ended after {kills} kills")
        same(read(out), read(whole), f"{ending}: the file after {kills} kills")
        if ending == ".npy":
            same(read(out + ".files"), read(whole + ".files"), "the names")
        check(not os.path.exists(out + ".part"), "OUT.part is left")
    check(kills >= 20, f"only {kills} kills")


@test
def two_writers(w):
    clip, names, out = w.model("clip-fashion"), many(w, 3000), w.fresh(".npy")
    p = w.start("embed", "-m", clip, "--files", names, "--batch-size", "1", "-t", "1", "-o", out)
    while p.poll() is None and not (os.path.exists(out + ".part") and os.path.getsize(out + ".part") > 1000):
        pass
    w.bad(1, "another process", "embed", "-m", clip, "--files", names, "-o", out)
    p.send_signal(signal.SIGTERM)
    p.communicate()
    same(p.returncode, 143, "SIGTERM")


# ------------------------------------------------------------------------------------------------ the outside world
@test
def full_disk(w):
    vit, image = w.model("vit-fashion"), w.picture("vit-fashion", 0)
    for args in (["--help"], ["ask", "--help"], ["--version"], ["classify", "-m", vit, image], ["classify", "-m", vit, image, "--json"], ["inspect", vit],
                 ["tokens", "-m", w.model("clip-fashion"), "--text", "a"], ["ask", "-m", w.model("llava-easyvqa"), "hello"]):
        with open("/dev/full", "wb") as full:
            p = subprocess.run([w.program, *args], stdout=full, stderr=subprocess.PIPE, env=w.environment, timeout=60)
        err = p.stderr.decode()
        check(p.returncode == 1 and err.startswith("rebus: standard output: cannot be written") and err.count("\n") == 1, f"{args}: exit {p.returncode}: {err!r}")
    out = w.fresh(".safetensors")
    w.bad(1, "cannot be written", "trace", "-m", vit, "--image", image, "-o", out, limit=1000)
    check(not os.path.exists(out) and not os.path.exists(out + ".tmp"), "a file is left")
    out = w.fresh(".npy")
    w.bad(1, "cannot be written", "embed", "-m", w.model("clip-fashion"), image, "-o", out, limit=100)
    w.bad(1, "cannot be written", "embed", "-m", w.model("clip-fashion"), *[image] * 20, "-o", out, limit=2000)
    check(os.path.exists(out + ".part") and not os.path.exists(out) and not os.path.exists(out + ".tmp"), "OUT.part")
    w.good("embed", "-m", w.model("clip-fashion"), *[image] * 20, "-o", out)
    same(len(npy_read(out)), 20, "rows once there is room")


@test
def closed_pipe(w):
    for args in (["classify", "-m", w.model("vit-fashion"), w.picture("vit-fashion", 0)], ["ask", "-m", w.model("llava-easyvqa"), "hello"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        p = subprocess.run([w.program, *args], stdout=writer, stderr=subprocess.PIPE, env=w.environment, timeout=60)
        os.close(writer)
        err = p.stderr.decode()
        check(p.returncode == 1 and "Broken pipe" in err and err.count("\n") == 1, f"{args}: exit {p.returncode}: {err!r}")


@test
def interrupted(w):
    out = w.fresh(".safetensors")
    for args in (["bench", "-m", w.model("llava-easyvqa"), "--repeat", "1000", "--copies", "50", "-t", "1"],
                 ["trace", "-m", w.model("vit-fashion"), "--image", w.picture("vit-fashion", 0), "--size", "1024x1024", "-t", "1", "-o", out]):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            p = w.start(*args)
            time.sleep(0.5)
            check(p.poll() is None, f"{args[0]}: ended too early to be stopped: {p.poll()}")
            p.send_signal(number)
            text, err = p.communicate(timeout=60)
            same((p.returncode, text, err.count(b"\n"), err[:7]), (code, b"", 1, b"rebus: "), f"{args[0]}: exit code and message ({err!r})")
            check(not os.path.exists(out) and not os.path.exists(out + ".tmp"), "a file is left")


@test
def progress_on_a_terminal_only(w):
    files = [w.picture("clip-fashion", i) for i in range(20)]
    args = [w.program, "embed", "-m", w.model("clip-fashion"), *files, "--batch-size", "4", "-o", w.fresh(".npy")]
    def on_terminal(*more):
        master, slave = pty.openpty()
        p = subprocess.Popen([*args, *more], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave, env=w.environment)
        os.close(slave)
        text = b""
        try:
            while chunk := os.read(master, 65536):
                text += chunk
        except OSError:
            pass
        p.communicate()
        os.close(master)
        same(p.returncode, 0, "exit code")
        return text.decode()
    bar = on_terminal()
    check("20/20" in bar and "/s" in bar and "left" in bar and bar.endswith("\r\x1b[K"), f"bar: {bar!r}")
    same(on_terminal("-q"), "", "-q")


# ------------------------------------------------------------------------------------------------
def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("models", nargs="?", default=os.path.join(HERE, "..", "..", "models"))
    p.add_argument("-k", metavar="WORD", default="")
    p.add_argument("-v", "--verbose", action="store_true")
    a = p.parse_args()
    if not os.access(a.program, os.X_OK):
        print(f"{a.program} is not a program", file=sys.stderr)
        return 2
    passed = failed = 0
    for f in TESTS:
        if a.k not in f.__name__:
            continue
        began, why = time.time(), None
        with tempfile.TemporaryDirectory(prefix="rebus") as folder:
            try:
                f(World(a.program, a.models, folder))
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
