#!/usr/bin/env python3
"""make_golden.py - loss curves of PyTorch's optimisers, for tests/train/test_train.py.

    make_golden.py        writes tests/train/golden.json; needs torch, transformers, torchvision, Pillow

The model and the processor are the fixture vit-train's, the samples the pictures of tests/parity/pictures, all of them in every
batch, so that the order does not count. adamw and sgd are torch.optim's; lion is written out from the paper's program 2
(Chen et al. 2023, arXiv 2302.06675). Matrices decay and the rest does not, as rebus does it.
"""
import json, math, os

import torch

_register = torch.library.register_fake  # only torchvision's Python part is used; its compiled operators may be missing
torch.library.register_fake = lambda n, *a, **k: (lambda f: f) if str(n).startswith("torchvision::") else _register(n, *a, **k)
import torchvision

torch.library.register_fake = _register
from PIL import Image
from transformers import ViTForImageClassification, ViTImageProcessor

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FIXTURE = os.path.join(ROOT, "tests", "parity", "fixtures", "vit-train")
PICTURES = os.path.join(ROOT, "tests", "parity", "pictures")
STEPS = 12
COMMON = {"batch": 64, "steps": STEPS, "log-every": 1, "warmup": 3}
RUNS = {
    "adamw": {"optimiser": "adamw", "rate": 2e-3, "weight-decay": 0.1, "clip": 0.5, "smoothing": 0.1, "schedule": "cosine", "final-rate": 0.1},
    "adamw-plain": {"optimiser": "adamw", "rate": 1e-3, "weight-decay": 0, "clip": 0, "schedule": "constant", "beta2": 0.95},
    "sgd": {"optimiser": "sgd", "rate": 0.02, "momentum": 0.9, "weight-decay": 0.01, "clip": 1, "schedule": "linear"},
    "lion": {"optimiser": "lion", "rate": 3e-4, "beta1": 0.9, "beta2": 0.99, "weight-decay": 0.1, "clip": 0, "schedule": "constant"},
    "accumulate": {"optimiser": "adamw", "rate": 2e-3, "weight-decay": 0.1, "clip": 0.5, "batch": 2, "accumulate": 2, "schedule": "constant"},
}


class Lion(torch.optim.Optimizer):
    def __init__(self, groups, lr, betas, weight_decay=0):
        super().__init__(groups, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            for p in g["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.mul_(1 - g["lr"] * g["weight_decay"])
                p.sub_(torch.sign(m * g["betas"][0] + p.grad * (1 - g["betas"][0])), alpha=g["lr"])
                m.mul_(g["betas"][1]).add_(p.grad, alpha=1 - g["betas"][1])


def rate(o, n):
    if n <= o["warmup"]:
        return o["rate"] * n / o["warmup"]
    at, end = (n - o["warmup"]) / (STEPS - o["warmup"]), o.get("final-rate", 0)
    share = {"constant": 1, "cosine": end + (1 - end) * 0.5 * (1 + math.cos(math.pi * at)), "linear": 1 - (1 - end) * at}[o["schedule"]]
    return o["rate"] * share


def curve(o, pixels, labels):
    m = ViTForImageClassification.from_pretrained(FIXTURE, dtype=torch.float32, attn_implementation="eager").train()
    for x in m.modules():
        if isinstance(x, torch.nn.Dropout):
            x.p = 0
    decays = [p for p in m.parameters() if sum(s > 1 for s in p.shape) > 1]
    others = [p for p in m.parameters() if sum(s > 1 for s in p.shape) <= 1]
    groups = [{"params": decays, "weight_decay": o["weight-decay"]}, {"params": others, "weight_decay": 0}]
    betas = (o.get("beta1", 0.9), o.get("beta2", 0.999))
    if o["optimiser"] == "adamw":
        opt = torch.optim.AdamW(groups, lr=1, betas=betas, eps=1e-8)
    elif o["optimiser"] == "lion":
        opt = Lion(groups, 1, betas)
    else:  # decoupled, as rebus decays for all
        opt = torch.optim.SGD([{"params": list(m.parameters())}], lr=1, momentum=o["momentum"])
    out = []
    for n in range(1, STEPS + 1):
        lr = rate(o, n)
        for g in opt.param_groups:
            g["lr"] = lr
        opt.zero_grad()
        loss = torch.nn.functional.cross_entropy(m(pixel_values=pixels).logits, labels, label_smoothing=o.get("smoothing", 0))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(m.parameters(), o["clip"] or 1e30)
        if o["optimiser"] == "sgd":
            with torch.no_grad():
                for p in decays:
                    p.mul_(1 - lr * o["weight-decay"])
        opt.step()
        out.append({"loss": loss.item(), "norm": norm.item(), "rate": lr})
    return out


def main():
    torch.set_num_threads(1)
    names = ["photo.jpg", "shapes.png", "tall.png", "wide.png"]
    processor = ViTImageProcessor.from_pretrained(FIXTURE)
    classes = json.load(open(os.path.join(FIXTURE, "config.json")))["id2label"]
    pictures = [Image.open(os.path.join(PICTURES, f)).convert("RGB") for f in names]
    pixels = processor(pictures, return_tensors="pt")["pixel_values"]
    labels = [i * 3 % len(classes) for i in range(len(names))]
    out = {"files": names, "labels": labels, "runs": {}}
    for name, o in RUNS.items():
        o = {**COMMON, **o}
        out["runs"][name] = {"recipe": o, "curve": curve(o, pixels, torch.tensor(labels))}
    with open(os.path.join(HERE, "golden.json"), "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")


main()
