#!/usr/bin/env python3
"""test_train.py - rebus train as a user runs it.

    test_train.py PROGRAM [-k WORD] [--kills N] [-v]

Loss curves are compared with PyTorch's (golden.json, made by make_golden.py); resuming is compared with never having stopped,
to the byte; broken input gives one line. Standard library only. The last line is `N passed, N failed`.
"""
import argparse, gzip, io, json, os, random, resource, shutil, signal, struct, subprocess, sys, tarfile, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FIXTURE = os.path.join(ROOT, "tests", "parity", "fixtures", "vit-train")
PICTURES = os.path.join(ROOT, "tests", "parity", "pictures")
INIT = os.path.join(ROOT, "recipes", "vit-fashion")
TESTS = []


def test(f):
    TESTS.append(f)
    return f


class Failed(Exception):
    pass


def check(ok, text):
    if not ok:
        raise Failed(text)


class World:
    def __init__(self, program, folder, kills=0):
        self.program, self.folder, self.kills = os.path.abspath(program), folder, kills

    def path(self, name):
        return os.path.join(self.folder, name)

    def command(self, **options):
        return [self.program, "train", "-q"] + [x for k, v in options.items() for x in ("--" + k.replace("_", "-"), str(v))]

    def train(self, code=0, before=None, **options):
        p = subprocess.run(self.command(**options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=250, preexec_fn=before)
        text = p.stderr.decode()
        check(p.returncode == code, f"exit code {p.returncode}, expected {code}: {text[:300]}")
        if code:
            check(text.startswith("rebus: ") and text.count("\n") == 1, f"expected one line: {text[:300]!r}")
        return text if code else p.stdout.decode()

    def log(self, out):
        with open(os.path.join(self.path(out), "log.jsonl")) as f:
            return [json.loads(l) for l in f]

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)

    def idx(self, name, count=96, side=28, classes=10, seed=1):
        """Squares whose place and size tell the class."""
        r = random.Random(seed)
        pixels, labels = bytearray(), bytearray()
        for _ in range(count):
            c = r.randrange(classes)
            picture = bytearray(r.randrange(40) for _ in range(side * side))
            for y in range(2 + 2 * c, 8 + 2 * c):
                for x in range(4, 8 + c):
                    picture[y % side * side + x] = 220
            pixels += picture
            labels.append(c)
        a = self.write(name + "-images", struct.pack(">4I", 0x803, count, side, side) + bytes(pixels))
        b = self.write(name + "-labels.gz", gzip.compress(struct.pack(">2I", 0x801, count) + bytes(labels)))
        return f"idx:{a},{b}"


def same_files(w, a, b, names=("model.safetensors", "state.safetensors", "log.jsonl")):
    for n in names:
        with open(os.path.join(w.path(a), n), "rb") as f, open(os.path.join(w.path(b), n), "rb") as g:
            check(f.read() == g.read(), f"{n} of {b} differs from that of {a}")


# ------------------------------------------------------------------------------------------------ against PyTorch
@test
def curves(w):
    with open(os.path.join(HERE, "golden.json")) as f:
        golden = json.load(f)
    files = {}
    for name, items in golden["sets"].items():
        lines = [json.dumps({**x, **({"image": os.path.join(PICTURES, x["image"])} if "image" in x else {})}) for x in items]
        files[name] = w.write(name + ".jsonl", ("\n".join(lines) + "\n").encode())
    for name, run in golden["runs"].items():
        w.train(model=os.path.join(ROOT, run["folder"]), data=files[run["set"]], out=w.path("golden-" + name),
                **{k.replace("-", "_"): json.dumps(v) if isinstance(v, list) else v for k, v in run["recipe"].items()})
        got = w.log("golden-" + name)
        check(len(got) == len(run["curve"]), f"{name}: {len(got)} lines")
        for g, want in zip(got, run["curve"]):
            for key, bound in (("loss", 2e-4), ("norm", 2e-3), ("rate", 1e-7)):
                check(abs(g[key] - want[key]) <= bound * max(abs(want[key]), 1e-3), f"{name}: step {g['step']}: {key} {g[key]}, expected {want[key]}")


@test
def in_bf16(w):
    """Products of bfloat16 cost a curve no more than their rounding; any number of threads gives the same bits."""
    with open(os.path.join(HERE, "golden.json")) as f:
        golden = json.load(f)
    run = golden["runs"][next(iter(golden["runs"]))]
    lines = [json.dumps({**x, "image": os.path.join(PICTURES, x["image"])}) for x in golden["sets"][run["set"]]]
    data = w.write("set.jsonl", ("\n".join(lines) + "\n").encode())
    o = {k.replace("-", "_"): v for k, v in run["recipe"].items()}
    for out, threads in (("bf16", 1), ("bf16-3", 3)):
        w.train(model=os.path.join(ROOT, run["folder"]), data=data, out=w.path(out), precision="bf16", threads=threads, **o)
    same_files(w, "bf16", "bf16-3")
    got = w.log("bf16")
    far = max(abs(g["loss"] - want["loss"]) / want["loss"] for g, want in zip(got, run["curve"]))
    check(1e-7 < far < 1e-2, f"losses are {far:.2g} from those of f32")


# ------------------------------------------------------------------------------------------------ learning
@test
def learns_and_reads_back(w):
    data, held = w.idx("train", 160), w.idx("held", 60, seed=2)
    p = subprocess.run(w.command(init=INIT, data=data, evaluation=held, out=w.path("learns"), epochs=8, batch=32, rate=2e-3, warmup=5, keep="best") + ["--json"],
                       stdout=subprocess.PIPE, timeout=250)
    check(p.returncode == 0, f"exit code {p.returncode}")
    out = json.loads(p.stdout)
    check(out["best"] >= 0.25, f"best score {out['best']}: chance is 0.1")
    p = subprocess.run([w.program, "classify", "-m", w.path("learns"), os.path.join(PICTURES, "photo.jpg"), "--json"], stdout=subprocess.PIPE)
    check(p.returncode == 0 and len(json.loads(p.stdout)["labels"]) == 5, "the trained folder does not open")


@test
def recipe_file(w):
    """A file's lists are what the same texts on the command line are; what the command line says counts last."""
    data, groups = w.idx("train", 32), [{"match": "classifier", "rate": 0.01, "decay": 0}]
    recipe = w.write("recipe.json", json.dumps({"about": "for people", "init": INIT, "data": data, "steps": 3, "rate": 5, "groups": groups}).encode())
    p = subprocess.run([w.program, "train", "-q", recipe, "--out", w.path("from-file"), "--rate", "1e-3"], stderr=subprocess.PIPE)
    check(p.returncode == 0, p.stderr.decode())
    w.train(init=INIT, data=data, steps=3, rate=1e-3, groups=json.dumps(groups), out=w.path("from-line"))
    same_files(w, "from-file", "from-line")


@test
def freezes(w):
    data = w.idx("train", 32)
    w.train(init=INIT, data=data, out=w.path("begin"), steps=1, rate=0, weight_decay=0)
    w.train(model=w.path("begin"), data=data, out=w.path("frozen"), steps=4, rate=1e-2, freeze="^vit[.]")

    def tensors(folder):
        with open(os.path.join(w.path(folder), "model.safetensors"), "rb") as f:
            n, = struct.unpack("<Q", f.read(8))
            head, data = json.loads(f.read(n)), f.read()
        return {k: data[slice(*v["data_offsets"])] for k, v in head.items() if k != "__metadata__"}

    a, b = tensors("begin"), tensors("frozen")
    check(set(a) == set(b), "other tensors")
    for k in a:
        check((a[k] == b[k]) == k.startswith("vit."), f"{k}: {'moved' if a[k] != b[k] else 'did not move'}")


# ------------------------------------------------------------------------------------------------ data
@test
def same_set_in_every_form(w):
    """A set as lines, as a table, and in two shards: the same samples in the same order give the same curve."""
    names, kinds = ("photo.jpg", "wide.png", "tall.png", "photo.jpg", "tall.png"), (3, 1, 4, 1, 5)
    rows = list(zip(names, kinds))
    forms = dict(
        lines=w.write("set.jsonl", "\n".join(json.dumps({"image": os.path.join(PICTURES, n), "label": k}) for n, k in rows).encode()),
        table=w.write("set.csv", ('\ufeffnote,filepath,label\r\n' + "".join(f'"a ""b"",\nc",{os.path.join(PICTURES, n)},{k}\r\n' for n, k in rows)).encode()),
        tabs=w.write("set.tsv", ("label\timage\n" + "".join(f"{k}\t{os.path.join(PICTURES, n)}\n" for n, k in rows)).encode()))
    for i, part in enumerate((rows[:2], rows[2:])):
        with tarfile.open(w.path(f"shard-{i:02}.tar"), "w") as t:
            for j, (n, k) in enumerate(part):
                with open(os.path.join(PICTURES, n), "rb") as f:
                    picture = f.read()
                label = str(k).encode() if j else json.dumps({"label": k}).encode()
                for end, data in ((n.split(".")[1], picture), ("cls" if j else "json", label), ("other", b"?")):
                    x = tarfile.TarInfo(f"some.dir/{i}{j}.{end}")
                    x.size = len(data)
                    t.addfile(x, io.BytesIO(data))
    forms["shards"] = w.path("shard-{00..01}.tar")
    logs = []
    for name, data in forms.items():
        w.train(init=INIT, data=data, out=w.path(name), batch=2, epochs=2, log_every=1, flip=0.5)
        logs.append(w.log(name))
    for ahead in (0, 1, 7):
        w.train(init=INIT, data=forms["table"], out=w.path(f"ahead-{ahead}"), batch=2, epochs=2, log_every=1, flip=0.5, ahead=ahead)
        logs.append(w.log(f"ahead-{ahead}"))
    check(all(x == logs[0] for x in logs) and len(logs[0]) == 6, f"{[x[-1] for x in logs]}")

    def fails(words, name, data):
        text = w.train(code=1, init=INIT, out=w.path("bad"), data=w.write(name, data))
        check(all(x in text for x in words), text)

    fails(["line 2", "quote"], "quote.csv", b'image,label\n"a.png,1\n')
    fails(["line 3", "2 fields", "expected 3"], "short.csv", b"image,label,x\na.png,1,2\na.png,1\n")
    fails(["names no column"], "names.csv", b"a,b\n1,2\n")
    fails(["bad.tar"], "bad.tar", b"x" * 2048)
    fails(["no samples"], "empty.tar", bytes(1024))


@test
def vanishing_set(w):
    """Pictures are taken away while it runs: the state that was saved stays, one line says what is missing."""
    folder = w.path("pictures")
    for c in "ab":
        os.makedirs(os.path.join(folder, f"class {c}"))
    lines = []
    for i in range(8):
        shutil.copy(os.path.join(PICTURES, "photo.jpg"), os.path.join(folder, f"{i}.jpg"))
        lines.append(json.dumps({"image": f"pictures/{i}.jpg", "label": i}))
    data = w.write("set.jsonl", "\n".join(lines).encode())
    p = subprocess.Popen(w.command(init=INIT, data=data, out=w.path("gone"), steps=100000, batch=4, save_every=1), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not os.path.exists(os.path.join(w.path("gone"), "state.safetensors")):
        time.sleep(0.02)
        check(p.poll() is None, "ended by itself")
    shutil.rmtree(folder)
    text = p.communicate(timeout=60)[1].decode()
    check(p.returncode == 1 and text.count("\n") == 1 and "no sample of a whole step can be read" in text, f"exit code {p.returncode}: {text}")
    with open(os.path.join(w.path("gone"), "state.safetensors"), "rb") as f:
        n, = struct.unpack("<Q", f.read(8))
        check(len(json.loads(f.read(n))) > 10, "the state is not whole")


# ------------------------------------------------------------------------------------------------ resuming
OPTIONS = dict(init=INIT, batch=8, steps=60, save_every=5, log_every=1, rate=1e-3, warmup=5, ema=0.9, shift=0.1, flip=0.5, erase=0.3, smoothing=0.1, layer_stats=20,
               evaluate_every=20)


@test
def killed_and_resumed(w):
    data = w.idx("train", 50)
    o = dict(OPTIONS, data=data, evaluation=w.idx("held", 20, seed=2))
    w.train(out=w.path("whole"), **o)
    r, kills, cycle = random.Random(7), 0, 0
    while not cycle or kills < w.kills:
        out, cycle = f"killed-{cycle}", cycle + 1
        for attempt in range(200):
            p = subprocess.Popen(w.command(out=w.path(out), **o) + ["-t", str(1 + attempt % 3)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                p.wait(0.02 + r.random() * 0.35)
                check(p.returncode == 0, f"exit code {p.returncode}")
                break
            except subprocess.TimeoutExpired:
                p.send_signal(signal.SIGKILL)
                p.wait()
                kills += 1
        w.train(out=w.path(out), **o)
        same_files(w, "whole", out)
    check(kills > 2, f"killed {kills} times only")


@test
def computed_again(w):
    """Keeping only what enters a block: the same bits in less memory."""
    o = dict(init=INIT, data=w.idx("train", 256), batch=256, steps=2, log_every=1, rate=1e-3, smoothing=0.1)
    peak = {}
    for out, more in (("kept", {}), ("again", dict(checkpoint=1))):
        p = subprocess.Popen(w.command(out=w.path(out), **o, **more), stdout=subprocess.DEVNULL)
        _, code, used = os.wait4(p.pid, 0)
        p.returncode = code
        check(code == 0, f"exit code {code}")
        peak[out] = used.ru_maxrss
    same_files(w, "kept", "again")
    check(peak["again"] < 0.7 * peak["kept"], f"{peak['again']} KiB, {peak['kept']} KiB without")


@test
def stopped_and_resumed(w):
    o = dict(OPTIONS, data=w.idx("train", 50), steps=2000)
    p = subprocess.Popen(w.command(out=w.path("stopped"), **o), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not os.path.exists(os.path.join(w.path("stopped"), "state.safetensors")):
        time.sleep(0.02)
        check(p.poll() is None, "ended by itself")
    p.send_signal(signal.SIGINT)
    text = p.communicate(timeout=60)[1].decode()
    check(p.returncode == 130 and "goes on from there" in text, f"exit code {p.returncode}: {text}")


@test
def chance(w):
    """Dropout and drop path: the same bytes at any number of threads, another curve than without, none of it in an evaluation."""
    for folder, data in ((INIT, w.idx("train", 48)), (os.path.join(ROOT, "tests", "parity", "fixtures", "swin-train"), None)):
        if not data:
            data = w.write("two.jsonl", "\n".join(json.dumps({"image": os.path.join(PICTURES, n), "label": i}) for i, n in enumerate(("photo.jpg", "wide.png"))).encode())
        o = dict(init=folder, data=data, evaluation=data, batch=16, steps=3, rate=1e-3, log_every=1)
        w.train(out=w.path("plain"), **o)
        for name in ("dropout", "drop_path"):
            for threads in (1, 3):
                w.train(out=w.path(f"chance-{threads}"), threads=threads, **o, **{name: 0.4})
            same_files(w, "chance-1", "chance-3")
            a, b = w.log("plain"), w.log("chance-1")
            check(all(x["loss"] != y["loss"] for x, y in zip(a, b)), f"{name}: the same losses as without")
            w.train(out=w.path("still"), **{**o, "rate": 0, "steps": 1, "evaluate_every": 1}, **{name: 0.4})
            w.train(out=w.path("calm"), **{**o, "rate": 0, "steps": 1, "evaluate_every": 1})
            check(w.log("still")[0]["score_loss"] == w.log("calm")[0]["score_loss"], f"{name}: an evaluation drops")
            for x in ("chance-1", "chance-3", "still", "calm"):
                shutil.rmtree(w.path(x))
        shutil.rmtree(w.path("plain"))


@test
def documented(w):
    p = subprocess.run([w.program, "train", "--help"], stdout=subprocess.PIPE, check=True)
    with open(os.path.join(ROOT, "docs", "training.md")) as f:
        rows = [l.split("`")[1] for l in f if l.startswith("| `")]
    names = [l.split()[0][2:] for l in p.stdout.decode().splitlines() if l.startswith("      --")]
    missing = [n for n in names if n not in rows and n not in ("json", "cpu")]
    check(len(names) > 30 and not missing, f"docs/training.md does not have {missing}")


# ------------------------------------------------------------------------------------------------ bad input
@test
def one_line_each(w):
    data, base = w.idx("train", 16), dict(init=INIT, steps=2, batch=8)

    def fails(code, words, **options):
        text = w.train(code=code, **{**base, "data": data, "out": w.path("bad"), **options})
        check(all(x in text for x in words), f"{text!r} does not say {words}")

    fails(2, ["rate"], rate="fast")
    fails(2, ["optimiser", "adamw"], optimiser="adam")
    fails(2, ["epochs", "whole"], epochs=1.5)
    fails(2, ["model", "init"], model=FIXTURE)
    fails(2, ["freeze"], freeze=".*")
    fails(2, ["groups", "match"], groups='[{"rate": 1}]')
    fails(2, ["groups", "list"], groups='{}')
    fails(1, ["groups", "parenthesis"], groups='[{"match": "("}]')
    fails(1, ["no such file"], data=w.path("nothing"))
    fails(2, ["expected idx:"], data=w.write("x.txt", b"x"))
    fails(1, ["no samples"], data=w.write("empty.jsonl", b""))
    fails(1, ["line 2"], data=w.write("bad.jsonl", b'{"image": "a.png", "label": 1}\n{"image": 3}\n'))
    fails(1, ["label 77"], data=w.write("label.jsonl", json.dumps({"image": os.path.join(PICTURES, "photo.jpg"), "label": 77}).encode()))
    fails(1, ["cat", "labels"], data=w.write("name.jsonl", json.dumps({"image": os.path.join(PICTURES, "photo.jpg"), "label": "cat"}).encode()))
    fails(1, ["no number"], steps=30, rate=1000, clip=0, warmup=0)
    with open(w.path("train-images"), "rb") as f:
        cut = f.read(5000)
    fails(1, ["ends after"], data=f"idx:{w.write('cut', cut)},{w.path('train-labels.gz')}")
    fails(1, ["config.json"], init=w.folder, out=w.path("none"))
    fails(1, ["is a file"], init=w.path("train-images"), out=w.path("none"))
    check(not os.path.exists(w.path("none")), "a folder is left where nothing could be trained")
    fails(1, ["is a file"], out=w.write("file", b""))


@test
def broken_samples_are_left_out(w):
    lines = [{"image": os.path.join(PICTURES, n), "label": i} for i, n in enumerate(("photo.jpg", "wide.png", "tall.png"))] + [{"image": "nothing.png", "label": 1}]
    data = w.write("some.jsonl", "\n".join(json.dumps(x) for x in lines).encode())
    text = w.train(code=1, init=INIT, data=data, out=w.path("some"), epochs=2, batch=4)
    check("2 samples could not be read" in text, text)
    check(os.path.exists(os.path.join(w.path("some"), "model.safetensors")), "the model was not written")


@test
def full_disk(w):
    data = w.idx("train", 50)
    o = dict(OPTIONS, data=data, steps=20, save_every=10)
    w.train(out=w.path("room"), **o)
    size = os.path.getsize(os.path.join(w.path("room"), "state.safetensors"))
    before = {n: open(os.path.join(w.path("room"), n), "rb").read() for n in ("state.safetensors", "model.safetensors")}

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    shutil.rmtree(w.path("no-room"), ignore_errors=True)
    text = w.train(code=1, before=limit, out=w.path("no-room"), **o)
    check("cannot be written" in text, text)
    check(not [n for n in os.listdir(w.path("no-room")) if n.endswith(".tmp")], "a temporary file is left")
    w.train(out=w.path("no-room"), **o)
    for n, want in before.items():
        with open(os.path.join(w.path("no-room"), n), "rb") as f:
            check(f.read() == want, f"{n}: not what it would have been")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("program")
    a.add_argument("-k", default="")
    a.add_argument("--kills", type=int, default=0, help="kill -9 at least so often, where runs are killed")
    a.add_argument("-v", action="store_true")
    a = a.parse_args()
    passed = failed = 0
    for t in TESTS:
        if a.k not in t.__name__:
            continue
        began = time.time()
        with tempfile.TemporaryDirectory() as folder:
            try:
                t(World(a.program, folder, a.kills))
                passed += 1
            except (Failed, subprocess.SubprocessError, OSError, ValueError, KeyError) as e:
                failed += 1
                print(f"FAILED {t.__name__}: {e}")
        if a.v:
            print(f"{t.__name__} {time.time() - began:.1f} s")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
