#!/usr/bin/env python3
"""train.py - steps of training beside PyTorch's, in one run on one machine.

    train.py PROGRAM [--rounds N] [--only WORD] [--write docs/training.md]

Each case is trained by `rebus train` and by PyTorch (transformers' ViTForImageClassification, AdamW, clipping), in turn, with
two threads, N rounds, of which the fastest counts; pictures/s are of whole steps without the start, peak memory is the
process's largest resident set. PyTorch has its pixels in memory already; rebus reads, decodes and prepares its samples.

In the mixed case pictures have 64 to 1,024 tokens. PyTorch pads them all to the largest; no mask is given to it, which
flatters it. bf16 is autocast in PyTorch. The last lines are the table, which --write puts between its markers.
"""
import argparse, json, os, random, struct, subprocess, sys, tempfile, zlib

HERE = os.path.dirname(os.path.abspath(__file__))
MARKS = "<!-- bench/train.py -->", "<!-- end -->"
CASES = {  # name: width, layers, heads, side, batch, mixed
    "ViT-Tiny size, 192 x 12, 64 tokens, batch 128": (192, 12, 3, 32, 128, False),
    "small ViT, 128 x 6, 49 tokens, batch 256": (128, 6, 4, 28, 256, False),
    "192 x 12, 64 to 1,024 tokens mixed, batch 16": (192, 12, 3, 128, 16, True),
}


def config(case):
    width, layers, heads, side, _, _ = case
    labels = {str(i): f"class {i}" for i in range(10)}
    return dict(architectures=["ViTForImageClassification"], model_type="vit", hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                intermediate_size=4 * width, image_size=side, patch_size=4, num_channels=3, hidden_act="gelu", layer_norm_eps=1e-12, qkv_bias=True,
                initializer_range=0.02, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, id2label=labels,
                label2id={v: int(k) for k, v in labels.items()})


def png(path, side, r):
    rows = b"".join(b"\0" + r.randbytes(3 * side) for _ in range(side))

    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)) + part(b"IDAT", zlib.compress(rows, 1)) + part(b"IEND", b""))


def prepare(folder, case):
    _, _, _, side, batch, mixed = case
    os.makedirs(folder)
    r, count = random.Random(1), 4 * batch
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config(case), f)
    with open(os.path.join(folder, "preprocessor_config.json"), "w") as f:
        json.dump(dict(image_processor_type="ViTImageProcessor", do_resize=not mixed, size=dict(height=side, width=side), resample=2, do_rescale=True,
                       rescale_factor=1 / 255, do_normalize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True), f)
    if mixed:
        with open(os.path.join(folder, "data.jsonl"), "w") as f:
            for i in range(count):
                png(os.path.join(folder, f"{i}.png"), 4 * r.randint(8, 32), r)
                f.write(json.dumps(dict(image=f"{i}.png", label=r.randrange(10))) + "\n")
        return os.path.join(folder, "data.jsonl")
    with open(os.path.join(folder, "images"), "wb") as f:
        f.write(struct.pack(">4I", 0x803, count, side, side) + r.randbytes(count * side * side))
    with open(os.path.join(folder, "labels"), "wb") as f:
        f.write(struct.pack(">2I", 0x801, count) + bytes(r.randrange(10) for _ in range(count)))
    return f"idx:{folder}/images,{folder}/labels"


def watched(command):
    """seconds, peak MiB"""
    p = subprocess.Popen(command, stdout=subprocess.PIPE)
    text = p.stdout.read().decode()
    _, code, used = os.wait4(p.pid, 0)
    p.returncode = code
    if code:
        sys.exit(f"train.py: {' '.join(command)}: exit code {code}")
    return text, used.ru_maxrss / 1024


def ours(program, folder, data, case, precision, steps):
    """Seconds of the fastest step, where steps differ of one on average without the first."""
    out = os.path.join(folder, "out")
    subprocess.run(["rm", "-rf", out])
    text, peak = watched([program, "train", "--json", "--init", folder, "--data", data, "--out", out, "--batch", str(case[4]), "--steps", str(steps), "--precision",
                          precision, "--save-every", "1000000", "-q", "-t", "2"])
    return json.loads(text)["seconds_a_step" if case[5] else "fastest_step"], peak


def theirs(folder, case, precision, steps):
    text, peak = watched([sys.executable, os.path.abspath(__file__), "--torch", folder, str(case[4]), precision, str(steps)])
    return float(text), peak


def torch_main(folder, batch, precision, steps):
    import time
    import torch
    from transformers import ViTConfig, ViTForImageClassification
    torch.set_num_threads(2)
    c = ViTConfig.from_pretrained(folder)
    m = ViTForImageClassification(c).train()
    o = torch.optim.AdamW(m.parameters(), lr=1e-3)
    x, y = torch.randn(batch, 3, c.image_size, c.image_size), torch.randint(0, 10, (batch,))
    took = []
    for _ in range(steps):
        began = time.time()
        o.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = torch.nn.functional.cross_entropy(m(pixel_values=x).logits, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        o.step()
        took.append(time.time() - began)
    print(min(took[1:]))


def main():
    if sys.argv[1:2] == ["--torch"]:
        return torch_main(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
    a = argparse.ArgumentParser()
    a.add_argument("program")
    a.add_argument("--rounds", type=int, default=2)
    a.add_argument("--steps", type=int, default=4)
    a.add_argument("--only", default="")
    a.add_argument("--write")
    a = a.parse_args()
    rows = ["| model | precision | rebus, pictures/s | PyTorch | times | rebus, peak MiB | PyTorch | share |", "|---|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as world:
        for i, (name, case) in enumerate(CASES.items()):
            folder = os.path.join(world, str(i))
            data = prepare(folder, case)
            for precision in ("f32", "bf16"):
                if a.only not in f"{name} {precision}":
                    continue
                best, peak = [1e9, 1e9], [0, 0]
                for _ in range(a.rounds):
                    for who, (seconds, used) in enumerate((ours(a.program, folder, data, case, precision, a.steps), theirs(folder, case, precision, a.steps))):
                        best[who], peak[who] = min(best[who], seconds), max(peak[who], used)
                rows.append(f"| {name} | {precision} | {case[4] / best[0]:.0f} | {case[4] / best[1]:.0f} | {best[1] / best[0]:.2f} | {peak[0]:.0f} | {peak[1]:.0f} | "
                            f"{100 * peak[0] / peak[1]:.0f} % |")
                print(rows[-1], flush=True)
    table = "\n".join(rows)
    print(table)
    if a.write:
        with open(a.write) as f:
            text = f.read()
        before, rest = text.split(MARKS[0])
        with open(a.write, "w") as f:
            f.write(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{rest.split(MARKS[1])[1]}")


main()
