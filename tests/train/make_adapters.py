#!/usr/bin/env python3
"""make_adapters.py - adapters that PEFT made, for tests/train/test_adapters.py; and PEFT's reading of those that rebus makes.

    make_adapters.py              writes tests/train/adapters/ (an adapter a folder, golden.json); needs torch, transformers, peft
    make_adapters.py PROGRAM      trains adapters with rebus, loads them with PEFT, compares logits and keys; writes nothing

Factors are random, both of them, so that nothing is hidden by a B of zeros. golden.json has, of each: the last logits of the
adapted model, the sum of squares of every merged weight, and the losses of some training steps, the base frozen.
"""
import json, os, shutil, subprocess, sys, tempfile

import make_golden as golden
import numpy
import peft
import torch
import transformers
from safetensors.torch import load_file
from transformers import GPT2LMHeadModel, LlavaForConditionalGeneration, SwinForImageClassification, ViTForImageClassification, ViTImageProcessor

OUT = os.path.join(golden.HERE, "adapters")
TEXT = "the red square"
CASES = {
    "vit": ("vit-train", ViTForImageClassification, dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "fc2"], modules_to_save=["classifier"])),
    "vit-root": ("vit-v5", ViTForImageClassification, dict(r=4, lora_alpha=3, target_modules=r"vit\.layers\.1\.(attention\.._proj|mlp\.fc.)", use_rslora=True)),
    "gpt2": ("gpt2-train", GPT2LMHeadModel, dict(r=2, lora_alpha=4, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)),
    "llava": ("llava-train", LlavaForConditionalGeneration, dict(r=4, target_modules=["q_proj", "linear_1"], rank_pattern={"linear_1": 2},
                                                                  alpha_pattern={"linear_1": 6})),
    "swin": ("swin-train", SwinForImageClassification, dict(r=2, lora_alpha=8, target_modules=["k_proj", "fc1", "reduction"])),
}
RECIPE = {"batch": 64, "steps": 8, "log-every": 1, "warmup": 0, "optimiser": "adamw", "rate": 3e-3, "weight-decay": 0.1, "clip": 1, "schedule": "constant",
          "smoothing": 0}


def base(name):
    fixture, kind, options = CASES[name]
    return golden.load(kind, fixture), fixture, options


def randomised(m):
    g = torch.Generator().manual_seed(3)
    for n, x in m.named_parameters():
        if "lora_" in n or "modules_to_save" in n:
            x.data = torch.randn(x.shape, generator=g) * 0.2
    return m.eval()


def inputs(fixture):
    if fixture.startswith("gpt2"):
        return dict(transformers.AutoTokenizer.from_pretrained(golden.fixture(fixture))(TEXT, return_tensors="pt"))
    p = transformers.AutoProcessor.from_pretrained(golden.fixture(fixture)) if fixture.startswith("llava") else None
    if p:
        prompt = p.apply_chat_template([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": TEXT}]}], add_generation_prompt=True,
                                       chat_template=p.chat_template or p.tokenizer.chat_template)
        return dict(p(text=prompt, images=golden.picture("photo.jpg"), return_tensors="pt"))
    return dict(transformers.AutoImageProcessor.from_pretrained(golden.fixture(fixture))(golden.picture("photo.jpg"), return_tensors="pt"))


def logits(m, fixture):
    with torch.no_grad():
        return m(**inputs(fixture)).logits.flatten().tolist()


def curve(name, m):
    """The samples of golden.json's sets, the adapter's own parameters alone."""
    names = ["photo.jpg", "shapes.png", "tall.png", "wide.png"]
    labels = torch.tensor([i * 3 % 5 for i in range(4)])
    pixels = ViTImageProcessor.from_pretrained(golden.fixture("vit-train"))([golden.picture(f) for f in names], return_tensors="pt")["pixel_values"]
    golden.STEPS = RECIPE["steps"]
    return golden.curve(RECIPE, m, lambda: torch.nn.functional.cross_entropy(m(pixel_values=pixels).logits, labels))


def make():
    out = {"text": TEXT, "recipe": RECIPE, "cases": {}}
    shutil.rmtree(OUT, ignore_errors=True)
    for name in CASES:
        m, fixture, options = base(name)
        p = randomised(peft.get_peft_model(m, peft.LoraConfig(**options)))
        p.save_pretrained(os.path.join(OUT, name))
        for f in os.listdir(os.path.join(OUT, name)):
            if not f.startswith("adapter_"):
                os.remove(os.path.join(OUT, name, f))
        path = os.path.join(OUT, name, "adapter_config.json")
        config = json.load(open(path))
        config["base_model_name_or_path"] = fixture
        config["target_modules"] = sorted(config["target_modules"]) if isinstance(config["target_modules"], list) else config["target_modules"]
        json.dump(config, open(path, "w"), indent=1)
        case = {"folder": os.path.relpath(golden.fixture(fixture), golden.ROOT), "logits": [float(f"{x:.8g}") for x in logits(p, fixture)[-300:]]}
        if name == "vit":
            case["curve"] = curve(name, p)
            p = randomised(p)
        with tempfile.TemporaryDirectory() as t:
            p.merge_and_unload().save_pretrained(t)
            case["merged"] = {k: v.double().square().sum().item() for k, v in load_file(os.path.join(t, "model.safetensors")).items()}
        out["cases"][name] = case
    with open(os.path.join(OUT, "golden.json"), "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")


def traced(program, arguments, fixture):
    with tempfile.TemporaryDirectory() as t:
        out = os.path.join(t, "t.safetensors")
        what = ["--text", TEXT] if fixture.startswith("gpt2") else ["--image", os.path.join(golden.PICTURES, "photo.jpg")]
        what += ["--text", TEXT] if fixture.startswith("llava") else []
        subprocess.run([program, "trace", *arguments, *what, "-o", out], check=True)
        return load_file(out)["logits"].flatten().double().numpy()


def check(program):
    """rebus trains an adapter beside each base; PEFT loads it, transformers the merged folder; the logits are compared."""
    worst = 0
    for name in ("vit", "gpt2", "llava", "swin"):
        m, fixture, options = base(name)
        with tempfile.TemporaryDirectory() as t:
            target = options["target_modules"]
            data = os.path.join(t, "data.jsonl")
            lines = [{"image": os.path.join(golden.PICTURES, f), "label": i} for i, f in enumerate(("photo.jpg", "wide.png"))]
            if name == "gpt2":
                lines = [{"text": x} for x in golden.TEXTS]
            if name == "llava":
                lines = [{"image": os.path.join(golden.PICTURES, f), "text": q, "answer": a} for f, q, a in golden.QUESTIONS]
            open(data, "w").write("\n".join(json.dumps(x) for x in lines))
            extra = ["--lora-whole", "^classifier"] if "modules_to_save" in options else []
            subprocess.run([program, "train", "-q", "--model", golden.fixture(fixture), "--data", data, "--out", os.path.join(t, "a"), "--steps", "5", "--rate",
                            "0.02", "--lora", ",".join(target), "--lora-rank", "3", "--lora-root", "yes", "--merge", os.path.join(t, "merged"), *extra], check=True)
            p = peft.PeftModel.from_pretrained(m, os.path.join(t, "a")).eval()
            want = peft.get_peft_model(golden.load(CASES[name][1], fixture), peft.LoraConfig(**options))
            want.save_pretrained(os.path.join(t, "p"))
            keys = [set(load_file(os.path.join(t, x, "adapter_model.safetensors"))) for x in ("a", "p")]
            assert keys[0] == keys[1], keys[0] ^ keys[1]
            merged = CASES[name][1].from_pretrained(os.path.join(t, "merged"), dtype=torch.float32).eval()
            ours, plain = numpy.array(logits(p, fixture)), numpy.array(logits(golden.load(CASES[name][1], fixture).eval(), fixture))
            for what, x in (("transformers, merged", logits(merged, fixture)), ("rebus, adapter", traced(program, ["-m", golden.fixture(fixture), "--adapter",
                            os.path.join(t, "a")], fixture)), ("rebus, merged", traced(program, ["-m", os.path.join(t, "merged")], fixture))):
                off = numpy.linalg.norm(numpy.array(x) - ours) / numpy.linalg.norm(ours)
                print(f"{name}: {what}: {off:.2e} from PEFT's logits, which moved by {numpy.linalg.norm(plain - ours) / numpy.linalg.norm(plain):.2g}")
                worst = max(worst, off)
    assert worst < 1e-5, worst


check(sys.argv[1]) if len(sys.argv) > 1 else make()
