"""runs - how one run of a measured table is done; see measure.

A run is a dictionary with a key, a kind and what the kind needs:

    train     a small ViT from new weights on Fashion-MNIST          config or timm, options, positions, pictures, seed
    score     a trained ViT on other pictures, or otherwise read     of (a train run), pictures
    classify  a trained folder at another size or patch size         model or of, options, side, count
    bench     rebus bench                                            model, options, batch
    ask       models/llava-easyvqa on its bundled questions          text_config, before, text_first
    json      any command of rebus that prints JSON                  command, lines (a batch), numbers

and gives a dictionary of numbers. Pictures are the test or training set with places exchanged, by blocks of side B:

    plain         as they are
    fixed:B       one permutation of blocks, the same for all pictures
    each:B        another permutation of blocks for each picture
    reverse:B     the last block first
    columns:B     blocks column by column instead of row by row

Positions are what the table of a ViT holds before training: `learned` as initialised, trained; else frozen: `none` zeros, `random` as
initialised, `sin1` a sinusoid of the order (Vaswani et al. 2017), `sin2` half the width a sinusoid of the row, half of the column,
`sum` the two added, `cat` half the width each; with `-learned` behind it the table begins so and is trained.
"""
import gzip
import json
import math
import operator
import os
import random
import resource
import shutil
import struct
import subprocess
import zlib

SET = "/usr/share/datasets/fashion-mnist"
SMALL = {"hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 128, "num_attention_heads": 2, "pooler_output_size": 64,
         "patch_size": 4}


def call(command, options):
    line = [options.rebus if word == "rebus" else word for word in command]
    result = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if result.returncode != 0:
        raise SystemExit(f"measure: {' '.join(command)}: exit code {result.returncode}: {result.stderr.strip()[-400:]}")
    return result.stdout


def processor_seconds():
    """Of all commands so far; other work on the machine hardly changes it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read_safetensors(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        return json.loads(f.read(size)), bytearray(f.read())


def write_safetensors(path, header, data):
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def sinusoid(place, width):
    half = width // 2
    angles = [place / 10000 ** (i / half) for i in range(half)]
    return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]


def set_positions(folder, kind):
    """Overwrites the position table of a ViT folder; row 0 belongs to the class token."""
    path = os.path.join(folder, "model.safetensors")
    header, data = read_safetensors(path)
    entry = next(v for k, v in header.items() if k.endswith("position_embeddings"))
    _, rows, width = entry["shape"]
    side = math.isqrt(rows - 1)
    table = []
    for row in range(rows):
        if kind == "none" or row == 0:
            table += [0.0] * width
            continue
        y, x = divmod(row - 1, side)
        vectors = {"sin1": sinusoid(row, width), "sin2": sinusoid(y, width // 2) + sinusoid(x, width // 2),
                   "cat": sinusoid(row, width // 2) + sinusoid(y, width // 4) + sinusoid(x, width // 4)}
        vectors["sum"] = [a + b for a, b in zip(vectors["sin1"], vectors["sin2"])]
        table += [0.1 * v for v in vectors.get(kind, vectors["sin1"])]
    if kind != "random":
        begin, end = entry["data_offsets"]
        data[begin:end] = struct.pack(f"<{len(table)}f", *table)
    write_safetensors(path, header, data)


def block_order(kind, r):
    name, block = kind.split(":")
    across = 28 // int(block)
    order = list(range(across * across))
    if name == "reverse":
        order.reverse()
    elif name == "columns":
        order = [x * across + y for y in range(across) for x in range(across)]
    else:
        r.shuffle(order)
    return order, int(block), across


def permutation(order, block, across):
    """For each of the 784 pixels of a permuted picture, in order, the pixel of the picture that it is."""
    index = [0] * 784
    for to, source in enumerate(order):
        ty, tx, sy, sx = to // across * block, to % across * block, source // across * block, source % across * block
        for y in range(block):
            index[(ty + y) * 28 + tx:(ty + y) * 28 + tx + block] = range((sy + y) * 28 + sx, (sy + y) * 28 + sx + block)
    return operator.itemgetter(*index)


def pictures(which, kind, scratch):
    """idx:IMAGES,LABELS of the set `which` (train or t10k), with places exchanged as `kind` says."""
    images, labels = (f"{SET}/{which}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1"))
    if kind == "plain":
        return f"idx:{images},{labels}"
    path = os.path.join(scratch, f"{which}-{kind.replace(':', '-')}.idx")
    if not os.path.exists(path):
        with gzip.open(images) as f:
            data = f.read()
        r = random.Random(9)
        order, block, across = block_order(kind, r)
        out = bytearray(data[:16])
        permuted = permutation(order, block, across)
        for at in range(16, len(data), 784):
            if kind.startswith("each") and at > 16:
                r.shuffle(order)
                permuted = permutation(order, block, across)
            out += bytes(permuted(data[at:at + 784]))
        with open(path + ".tmp", "wb") as f:
            f.write(out)
        os.replace(path + ".tmp", path)
    return f"idx:{path},{labels}"


def timm_config(side, patch):
    """A ViT of timm's form, of the same width and depth, whose patches can be resampled."""
    with open("recipes/vit-fashion/config.json") as f:
        names = json.load(f)["id2label"]
    arguments = {"embed_dim": 64, "depth": 4, "num_heads": 2, "img_size": [side, side], "patch_size": patch, "num_classes": 10, "mlp_ratio": 2,
                 "in_chans": 3, "global_pool": "token"}
    pictures_as = {"tag": "fashion", "custom_load": False, "input_size": [3, side, side], "fixed_input_size": True, "interpolation": "bicubic",
                   "crop_pct": 1.0, "crop_mode": "center", "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 10, "pool_size": None,
                   "first_conv": "patch_embed.proj", "classifier": "head", "license": "apache-2.0"}
    return {"architecture": "flexivit_small", "num_classes": 10, "num_features": 64, "global_pool": "token", "label_names": names,
            "model_args": arguments, "pretrained_cfg": pictures_as}


def init_folder(run, scratch):
    folder = os.path.join(scratch, "init-" + run["key"].replace("/", "-"))
    if os.path.isdir(folder):
        shutil.rmtree(folder)
    path = os.path.join(folder, "config.json")
    if run.get("timm"):
        os.makedirs(folder)
        with open(path, "w") as f:
            json.dump(timm_config(**run["timm"]), f, indent=1)
        return folder
    shutil.copytree("recipes/vit-fashion", folder)
    with open(path) as f:
        config = json.load(f)
    config.update(SMALL)
    config.update(run.get("config", {}))
    with open(path, "w") as f:
        json.dump(config, f, indent=1)
    return folder


def read_log(folder):
    with open(os.path.join(folder, "log.jsonl")) as f:
        lines = [json.loads(line) for line in f]
    losses = [line["loss"] for line in lines if "loss" in line]
    norms = [line["norm"] for line in lines if "norm" in line]
    jumps = [b - a for a, b in zip(losses, losses[1:])]
    rises = [j for j in jumps if j > 0]
    scores = [line["score"] for line in lines if "score" in line]
    return {"accuracy": scores[-1], "loss": losses[-1], "norm_max": max(norms), "norm_mean": sum(norms) / len(norms),
            "rise": sum(rises) / len(losses)}


def trained(run, options, scratch):
    """Trains what the run says unless scratch has it; gives its folder, processor seconds and commands."""
    out = os.path.join(scratch, "trained-" + run["key"].replace("/", "-"))
    note = os.path.join(out, "measured.json")
    if os.path.exists(note):
        with open(note) as f:
            known = json.load(f)
        return out, known["seconds"], known["commands"]
    init, positions = init_folder(run, scratch), run.get("positions", "learned")
    steps = 20 if options.smoke else run.get("steps", 500)
    kind = run.get("pictures", "plain")
    command = ["rebus", "train", "--init", init, "--data", pictures("train", kind, scratch), "--evaluation", pictures("t10k", kind, scratch),
               "--out", out, "--steps", str(steps), "--batch", "64", "--rate", "1e-3", "--warmup", "50", "--log-every", "1",
               "--seed", str(run.get("seed", 0)), "-t", str(options.threads), "-q"] + run.get("options", [])
    commands = []
    if positions != "learned":
        fresh = os.path.join(scratch, "fresh")
        shutil.rmtree(fresh, ignore_errors=True)
        first = command[:command.index("--out") + 1] + [fresh, "--steps", "1", "--batch", "1", "--rate", "0"]
        first += ["--seed", str(run.get("seed", 0)), "-q"]
        first[first.index("--evaluation"):first.index("--evaluation") + 2] = []
        call(first, options)
        commands.append(first)
        set_positions(fresh, positions.replace("-learned", ""))
        for name in ("log.jsonl", "state.safetensors"):
            os.remove(os.path.join(fresh, name))
        command[2:4] = ["--model", fresh] + ([] if positions.endswith("-learned") else ["--freeze", "position_embeddings"])
    begin = processor_seconds()
    call(command, options)
    seconds = processor_seconds() - begin
    commands.append(command)
    with open(note, "w") as f:
        json.dump({"seconds": seconds, "commands": commands}, f)
    return out, seconds, commands


def do_train(run, options, scratch):
    out, seconds, commands = trained(run, options, scratch)
    values = read_log(out)
    values["seconds"] = seconds
    return values, commands


def do_score(run, options, scratch):
    """One step at rate 0 changes nothing; what it evaluates on is other pictures."""
    model, _, commands = trained(run["of"], options, scratch)
    out = os.path.join(scratch, "scored")
    shutil.rmtree(out, ignore_errors=True)
    command = ["rebus", "train", "--model", model, "--data", pictures("train", "plain", scratch), "--evaluation",
               pictures("t10k", run["pictures"], scratch), "--out", out, "--steps", "1", "--batch", "1", "--rate", "0",
               "-t", str(options.threads), "-q"] + run.get("options", [])
    call(command, options)
    return read_log(out), commands + [command]


def png(picture, side):
    rows = b"".join(b"\0" + bytes(picture[y * side:(y + 1) * side]) for y in range(side))
    chunks = [(b"IHDR", struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)


def png_files(count, scratch):
    folder = os.path.join(scratch, f"png-{count}")
    names = os.path.join(folder, "names.txt")
    with gzip.open(f"{SET}/t10k-labels-idx1-ubyte.gz") as f:
        labels = list(f.read()[8:8 + count])
    if not os.path.exists(names):
        os.makedirs(folder, exist_ok=True)
        with gzip.open(f"{SET}/t10k-images-idx3-ubyte.gz") as f:
            data = f.read()[16:]
        for i in range(count):
            with open(os.path.join(folder, f"{i:05}.png"), "wb") as f:
                f.write(png(data[i * 784:(i + 1) * 784], 28))
        with open(names, "w") as f:
            f.writelines(os.path.join(folder, f"{i:05}.png") + "\n" for i in range(count))
    return names, labels


def do_classify(run, options, scratch):
    count = 50 if options.smoke else run.get("count", 2000)
    names, labels = png_files(count, scratch)
    commands, model = [], run.get("model")
    if "of" in run:
        model, _, commands = trained(run["of"], options, scratch)
    with open(os.path.join(model, "config.json")) as f:
        config = json.load(f)
    numbers = {name: int(i) for i, name in (config.get("id2label") or config.get("label_names")).items()}
    command = ["rebus", "classify", "-m", model, "--files-from", names, "--top", "1", "--json", "-t", str(options.threads), "-q"]
    command += run.get("options", [])
    begin = processor_seconds()
    lines = call(command, options).splitlines()
    seconds = processor_seconds() - begin
    answers = [numbers[json.loads(line)["labels"][0]] for line in lines]
    return {"accuracy": sum(a == b for a, b in zip(answers, labels)) / count, "seconds": seconds}, commands + [command]


def walk(value, path):
    """A value in JSON: `parts.0.ms`; `operations.op=attend.flops` is of the first of a list whose op is attend."""
    for step in path.split("."):
        if "=" in step:
            name, wanted = step.split("=")
            value = next((v for v in value if v[name] == wanted), {})
        else:
            value = value[int(step)] if step.isdigit() else value[step]
    return value


def do_ask(run, options, scratch):
    """models/llava-easyvqa on the questions of its results.json, with words before the question, or another configuration."""
    model = os.path.join(scratch, "asked")
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree("models/llava-easyvqa", model)
    path = os.path.join(model, "config.json")
    with open(path) as f:
        config = json.load(f)
    config["text_config"].update(run.get("text_config", {}))
    with open(path, "w") as f:
        json.dump(config, f)
    with open(os.path.join(model, "results.json")) as f:
        asked = json.load(f)["first"]
    lines = os.path.join(scratch, "questions.jsonl")
    with open(lines, "w") as f:
        for q in asked:
            text = run.get("before", "") + q["question"]
            picture = {"image": f"models/llava-easyvqa/pictures/{q['picture']}.png"}
            content = [{"text": text}, picture] if run.get("text_first") else [picture, {"text": text}]
            f.write(json.dumps({"content": content}) + "\n")
    command = ["rebus", "ask", "-m", model, "--batch", lines, "--json", "--logprobs", "--max-tokens", "4", "-t", str(options.threads), "-q"]
    answers = [json.loads(line) for line in call(command, options).splitlines()]
    right = [a["text"].strip() == q["truth"] for a, q in zip(answers, asked)]
    sure = [math.exp(sum(a["logprobs"])) for a in answers]
    return {"accuracy": sum(right) / len(right), "sure": sum(sure) / len(sure), "questions": len(right)}, [command]


def fresh_siglip2(options, scratch):
    """A SigLIP 2 with new weights and a tower of six blocks of width 192, for timing: its numbers mean nothing, its shapes do."""
    out = os.path.join(scratch, "siglip2-192")
    if os.path.isdir(out):
        return out
    source, init = "tests/parity/fixtures/siglip2-train", os.path.join(scratch, "init-siglip2-192")
    shutil.copytree(source, init, ignore=shutil.ignore_patterns("*.safetensors", "golden.json"))
    for name in ("config.json", "processor_config.json"):
        path = os.path.join(init, name)
        with open(path) as f:
            config = json.load(f)
        if name == "config.json":
            config["vision_config"].update(hidden_size=192, intermediate_size=384, num_attention_heads=3, num_hidden_layers=6, num_patches=256, patch_size=8)
            config["text_config"].update(projection_size=192)
        else:
            config["image_processor"]["patch_size"] = 8
        with open(path, "w") as f:
            json.dump(config, f)
    pairs = os.path.join(scratch, "pairs.jsonl")
    with open(pairs, "w") as f:
        for name, text in (("wide", "a"), ("tall", "b")):
            f.write(json.dumps({"image": os.path.abspath(f"tests/parity/pictures/{name}.png"), "text": text}) + "\n")
    call(["rebus", "train", "--init", init, "--data", pairs, "--out", out, "--steps", "1", "--batch", "2", "--rate", "0", "-q"], options)
    return out


def do_json(run, options, scratch):
    command = run["command"] + (["-t", str(options.threads)] if "-t" not in run["command"] else [])
    command = [fresh_siglip2(options, scratch) if word == "SIGLIP2" else word for word in command]
    if "lines" in run:
        path = os.path.join(scratch, "batch.jsonl")
        with open(path, "w") as f:
            f.writelines(json.dumps(line) + "\n" for line in run["lines"])
        command += ["--batch", path]
    value = json.loads(call(command, options).splitlines()[0])
    return {name: walk(value, path) for name, path in run["numbers"].items()}, [command]


def do(run, options, scratch):
    values, commands = {"train": do_train, "score": do_score, "classify": do_classify, "json": do_json, "ask": do_ask}[run["kind"]](run, options, scratch)
    return values, [" ".join(c).replace(scratch, "SCRATCH") for c in commands]
