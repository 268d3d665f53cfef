#!/usr/bin/env python3
"""make_golden.py - loss curves of PyTorch's optimisers, for tests/train/test_train.py.

    make_golden.py        writes tests/train/golden.json; needs torch, transformers, torchvision, Pillow

Models and processors are fixtures of tests/parity, the samples its pictures, all of them in every batch, so that the order does
not count. adamw and sgd are torch.optim's; lion is written out from the paper's program 2
(Chen et al. 2023, arXiv 2302.06675). Matrices decay and the rest does not, as rebus does it.
"""
import json, math, os, re

import torch

_register = torch.library.register_fake  # only torchvision's Python part is used; its compiled operators may be missing
torch.library.register_fake = lambda n, *a, **k: (lambda f: f) if str(n).startswith("torchvision::") else _register(n, *a, **k)
import torchvision

torch.library.register_fake = _register
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer, CLIPModel, LlamaForCausalLM, LlavaForConditionalGeneration, SiglipModel, ViTForImageClassification, ViTImageProcessor

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PICTURES = os.path.join(ROOT, "tests", "parity", "pictures")
STEPS = 12
COMMON = {"batch": 64, "steps": STEPS, "log-every": 1, "warmup": 3}
RUNS = {
    "adamw": {"optimiser": "adamw", "rate": 2e-3, "weight-decay": 0.1, "clip": 0.5, "smoothing": 0.1, "schedule": "cosine", "final-rate": 0.1},
    "adamw-plain": {"optimiser": "adamw", "rate": 1e-3, "weight-decay": 0, "clip": 0, "schedule": "constant", "beta2": 0.95},
    "sgd": {"optimiser": "sgd", "rate": 0.02, "momentum": 0.9, "weight-decay": 0.01, "clip": 1, "schedule": "linear"},
    "lion": {"optimiser": "lion", "rate": 3e-4, "beta1": 0.9, "beta2": 0.99, "weight-decay": 0.1, "clip": 0, "schedule": "constant"},
    "clip": {"fixture": "clip-v5", "objective": "contrast", "optimiser": "adamw", "rate": 1e-3, "weight-decay": 0.1, "clip": 1, "schedule": "cosine"},
    "siglip": {"fixture": "siglip-train", "objective": "contrast", "optimiser": "adamw", "rate": 1e-3, "weight-decay": 0.1, "clip": 1, "schedule": "cosine"},
    "llama": {"fixture": "llama-v5", "set": "texts", "objective": "answer", "optimiser": "adamw", "rate": 1e-3, "weight-decay": 0.1, "clip": 1, "schedule": "cosine"},
    "llava": {"fixture": "llava-train", "set": "turns", "objective": "answer", "optimiser": "adamw", "rate": 1e-3, "weight-decay": 0.1, "clip": 1, "schedule": "cosine"},
    "llava-chat": {"fixture": "llava-easyvqa", "set": "chat", "objective": "answer", "optimiser": "adamw", "rate": 5e-4, "weight-decay": 0.1, "clip": 1,
                   "schedule": "cosine"},
    "groups": {"optimiser": "adamw", "rate": 1e-3, "weight-decay": 0.1, "clip": 1, "schedule": "cosine", "groups": [
        {"match": "^classifier", "rate": 1e-2, "decay": 0.3}, {"match": "embeddings", "rate": 0}, {"match": "bias$", "decay": 0.2}, {"match": "classifier", "rate": 1}]},
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


def without_dropout(m):
    for x in m.modules():
        if isinstance(x, torch.nn.Dropout):
            x.p = 0
    return m.train()


def curve(o, m, loss_of):
    """STEPS steps on the model; loss_of() is the loss of the whole batch."""
    without_dropout(m)
    decays = [p for p in m.parameters() if sum(s > 1 for s in p.shape) > 1]
    others = [p for p in m.parameters() if sum(s > 1 for s in p.shape) <= 1]
    groups = [{"params": decays, "weight_decay": o["weight-decay"]}, {"params": others, "weight_decay": 0}]
    if "groups" in o:
        groups = []
        for n, p in m.named_parameters():
            g = next((g for g in o["groups"] if re.search(g["match"], n)), {})
            usual = o["weight-decay"] if sum(s > 1 for s in p.shape) > 1 else 0
            groups.append({"params": [p], "weight_decay": g.get("decay", usual), "factor": g.get("rate", o["rate"]) / o["rate"]})
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
            g["lr"] = lr * g.get("factor", 1)
        opt.zero_grad()
        loss = loss_of()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(m.parameters(), o["clip"] or 1e30)
        if o["optimiser"] == "sgd":
            with torch.no_grad():
                for p in decays:
                    p.mul_(1 - lr * o["weight-decay"])
        opt.step()
        out.append({"loss": loss.item(), "norm": norm.item(), "rate": lr})
    return out


def fixture(name):
    return os.path.join(ROOT, *(("models",) if name == "llava-easyvqa" else ("tests", "parity", "fixtures")), name)


def load(kind, name):
    return kind.from_pretrained(fixture(name), dtype=torch.float32, attn_implementation="eager")


def picture(name):
    return Image.open(os.path.join(PICTURES, name)).convert("RGB")


CAPTIONS = ["a photo", "red shapes", "a square", "blue"]
QUESTIONS = [("photo.jpg", "What shape is it?", " a circle"), ("wide.png", "Is it?", " yes, it is"), ("tall.png", "What colour is the small square?", " blue.")]
TEXTS = ["a red circle", "The square is blue.", "yes"]


def classes(o, names, labels):
    m = load(ViTForImageClassification, "vit-train")
    pixels = ViTImageProcessor.from_pretrained(fixture("vit-train"))([picture(f) for f in names], return_tensors="pt")["pixel_values"]
    return curve(o, m, lambda: torch.nn.functional.cross_entropy(m(pixel_values=pixels).logits, torch.tensor(labels), label_smoothing=o.get("smoothing", 0)))


def pairs(o, names):
    siglip = o["fixture"].startswith("siglip")
    m = load(SiglipModel if siglip else CLIPModel, o["fixture"])
    inputs = AutoProcessor.from_pretrained(fixture(o["fixture"]))(text=CAPTIONS, images=[picture(f) for f in names], return_tensors="pt",
                                                                 padding="max_length" if siglip else True)
    if siglip:  # it reads its padding
        inputs.pop("attention_mask", None)
    return curve(o, m, lambda: m(**inputs, return_loss=True).loss)


def masked(ids, before):
    labels = ids.clone()
    same = 0
    while same < before.shape[1] and same < ids.shape[1] and before[0, same] == ids[0, same]:
        same += 1
    labels[0, :max(same, 1)] = -100
    return labels


def learn(o, m, rows):
    def loss():
        logits = torch.cat([m(**b).logits[0, :-1] for b, _ in rows])
        return torch.nn.functional.cross_entropy(logits, torch.cat([l[0, 1:] for _, l in rows]), ignore_index=-100)
    return curve(o, m, loss)


def answers(o):
    """What the template writes for an answer is learned, and nothing else."""
    m, p = load(LlavaForConditionalGeneration, o["fixture"]), AutoProcessor.from_pretrained(fixture(o["fixture"]))
    template, rows = p.chat_template or p.tokenizer.chat_template, []
    for f, question, said in QUESTIONS:
        turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
        whole = turns + [{"role": "assistant", "content": [{"type": "text", "text": said}]}]
        a, b = (p(text=p.apply_chat_template(t, chat_template=template, add_generation_prompt=g), images=picture(f), return_tensors="pt")
                for t, g in ((turns, True), (whole, False)))
        rows.append((b, masked(b["input_ids"], a["input_ids"])))
    return learn(o, m, rows)


def texts(o):
    m, t = load(LlamaForCausalLM, o["fixture"]), AutoTokenizer.from_pretrained(fixture(o["fixture"]))
    rows = []
    for x in TEXTS:
        ids = torch.tensor([t(x)["input_ids"] + [t.eos_token_id]])
        rows.append(({"input_ids": ids}, masked(ids, ids[:, :1])))
    return learn(o, m, rows)


def main():
    torch.set_num_threads(1)
    names = ["photo.jpg", "shapes.png", "tall.png", "wide.png"]
    classes_count = len(json.load(open(os.path.join(fixture("vit-train"), "config.json")))["id2label"])
    labels = [i * 3 % classes_count for i in range(len(names))]
    sets = {
        "classify": [{"image": n, "label": l} for n, l in zip(names, labels)],
        "contrast": [{"image": n, "text": c} for n, c in zip(names, CAPTIONS)],
        "chat": [{"image": n, "conversations": [{"from": "human", "value": "<image>\n" + q}, {"from": "gpt", "value": a}]} for n, q, a in QUESTIONS],
        "turns": [{"image": n, "text": q, "answer": a} for n, q, a in QUESTIONS],
        "texts": [{"text": t} for t in TEXTS],
    }
    out = {"sets": sets, "runs": {}}
    for name, o in RUNS.items():
        o = {"objective": "classify", "fixture": "vit-train", **COMMON, **o}
        c = classes(o, names, labels) if o["objective"] == "classify" else pairs(o, names) if o["objective"] == "contrast" else texts(o) if o["set"] == "texts" else answers(o)
        out["runs"][name] = {"folder": os.path.relpath(fixture(o.pop("fixture")), ROOT), "set": o.pop("set", o["objective"]), "recipe": o, "curve": c}
    with open(os.path.join(HERE, "golden.json"), "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
