#!/usr/bin/env python3
"""make_beams.py - answers of transformers' beam search on the fixtures, for tests/cli: python make_beams.py > beams.json"""
import json
import os
import sys

import torch
import transformers as T

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS = ["the red box is on the table", "Hello world, how are you", "a b c"]
SETTINGS = [(2, 1.0, False, 9), (3, 0.5, True, 12), (4, 2.0, False, 16), (5, -0.5, True, 6), (4, 0.0, False, 10)]


def answers(folder):
    path = os.path.join(HERE, "fixtures", folder)
    with open(os.path.join(path, "config.json")) as f:
        both = json.load(f)["model_type"] == "t5"
    model = (T.AutoModelForSeq2SeqLM if both else T.AutoModelForCausalLM).from_pretrained(path, dtype=torch.float32).eval()
    tokenizer = T.AutoTokenizer.from_pretrained(path)
    ends = []  # of the fixture nothing ends by itself: later settings end at tokens that earlier answers had
    for beams, penalty, early, most in SETTINGS:
        ids = []
        for text in TEXTS:
            given = tokenizer(text, return_tensors="pt")
            given.pop("token_type_ids", None)
            out = model.generate(**given, num_beams=beams, length_penalty=penalty, early_stopping=early, max_new_tokens=most, do_sample=False, eos_token_id=ends or None)[0].tolist()
            ids.append(out[1 if both else given["input_ids"].shape[1]:])
        yield {"folder": folder, "beams": beams, "length_penalty": penalty, "early_stopping": early, "max_tokens": most, "texts": TEXTS, "ends": list(ends), "ids": ids}
        ends = sorted({i[len(i) // 2] for i in ids} | set(ends))[:3]


def main():
    T.logging.set_verbosity_error()
    json.dump([a for folder in ("t5-hub", "llama-v5", "gpt2-v5", "qwen2-hub") for a in answers(folder)], sys.stdout)
    print()


main()
