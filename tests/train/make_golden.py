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
from transformers import AutoProcessor, AutoTokenizer, BertForMaskedLM, CLIPModel, LlamaForCausalLM, LlavaForConditionalGeneration, SiglipModel, ViTForImageClassification, ViTImageProcessor, ViTMAEForPreTraining

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
    "restore": {"fixture": "vit-mae-train", "objective": "restore", "set": "classify", "optimiser": "adamw", "rate": 1e-3, "weight-decay": 0.1, "clip": 1,
                "schedule": "cosine", "mask-ratio": 0.6, "seed": 5},
    "words": {"fixture": "bert-train", "objective": "words", "set": "texts", "optimiser": "adamw", "rate": 1e-3, "weight-decay": 0.1, "clip": 1,
              "schedule": "cosine", "mask-share": 0.3, "seed": 6},
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


# ------------------------------------------------------------------------------------------------ what rebus draws
M64 = (1 << 64) - 1


def mix(x):
    """bits_mix of src/base: splitmix64 (Steele et al. 2014)."""
    x = (x + 0x9E3779B97F4A7C15) & M64
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & M64
    return x ^ x >> 31


TOKENS = 3  # RANDOM_TOKENS of src/train/crew.h


def bits(seed, draw, number):
    return mix(mix(mix(mix(seed) ^ TOKENS) ^ draw) ^ number)


def unit(seed, draw, number):
    return (bits(seed, draw, number) >> 11) * 2.0**-53


class Steps:
    """Which step a loss is of: all samples are one batch, so that a step is an epoch."""

    def __init__(self):
        self.n = -1

    def next(self):
        self.n += 1
        return self.n


def restored(o, names):
    m, steps = load(ViTMAEForPreTraining, o["fixture"]), Steps()
    m.config.mask_ratio = o["mask-ratio"]
    for p in (m.vit.embeddings.position_embeddings, m.decoder.decoder_pos_embed):
        p.requires_grad_(False)  # as the classes make them; from_pretrained of transformers 5.23 loses it
    pixels = ViTImageProcessor.from_pretrained(fixture(o["fixture"]))([picture(f) for f in names], return_tensors="pt")["pixel_values"]
    patches = (m.config.image_size // m.config.patch_size) ** 2

    def loss():
        epoch = steps.next()
        noise = [[(mix(mix(mix(bits(o["seed"], epoch * len(names) + i, 0)) ^ 0) ^ p) >> 40) * 2.0**-24 for p in range(patches)] for i in range(len(names))]
        return m(pixel_values=pixels, noise=torch.tensor(noise)).loss

    return curve(o, m, loss)


def words(o):
    """BERT's 80, 10, 10; a text of which nothing was drawn has its luckiest word drawn."""
    m, t, steps = load(BertForMaskedLM, o["fixture"]), AutoTokenizer.from_pretrained(fixture(o["fixture"])), Steps()
    special = set(t.all_special_ids)

    def loss():
        epoch, logits, labels = steps.next(), [], []
        for i, x in enumerate(TEXTS):
            ids, draw = t(x)["input_ids"], epoch * len(TEXTS) + i
            plain = [k for k, v in enumerate(ids) if v not in special]
            best = min(plain, key=lambda k: unit(o["seed"], draw, 3 * k))
            drawn = [k for k in plain if unit(o["seed"], draw, 3 * k) < o["mask-share"] or k == best]
            read, label = list(ids), [-100] * len(ids)
            for k in drawn:
                label[k], what = ids[k], unit(o["seed"], draw, 3 * k + 1)
                read[k] = t.mask_token_id if what < 0.8 else int(unit(o["seed"], draw, 3 * k + 2) * m.config.vocab_size) if what < 0.9 else ids[k]
            logits.append(m(input_ids=torch.tensor([read])).logits[0])
            labels += label
        return torch.nn.functional.cross_entropy(torch.cat(logits), torch.tensor(labels), ignore_index=-100)

    return curve(o, m, loss)


def run(o, names, labels):
    kinds = {"classify": lambda: classes(o, names, labels), "contrast": lambda: pairs(o, names), "restore": lambda: restored(o, names), "words": lambda: words(o)}
    return kinds[o["objective"]]() if o["objective"] in kinds else texts(o) if o["set"] == "texts" else answers(o)


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
        c = run(o, names, labels)
        out["runs"][name] = {"folder": os.path.relpath(fixture(o.pop("fixture")), ROOT), "set": o.pop("set", o["objective"]), "recipe": o, "curve": c}
    with open(os.path.join(HERE, "golden.json"), "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
