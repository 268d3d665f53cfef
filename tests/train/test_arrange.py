#!/usr/bin/env python3
"""test_arrange.py - pictures' tokens dropped, masked, cut and put in another order; positions of four kinds.

    test_arrange.py PROGRAM [-k WORD] [-v]

What must hold follows from what attention is: a tower of full attention does not see the order of its rows, only their positions.
Standard library only. The last line is `N passed, N failed`.
"""
import json, os, shutil, subprocess

import test_train as base
from test_adapters import tensors
from test_train import INIT, PICTURES, check, test

base.TESTS.clear()


def folder(w, positions, patch=7, deviation=0.02):
    """The recipe's ViT with positions of that kind."""
    out = w.path(f"{positions}-{patch}")
    shutil.copytree(INIT, out, dirs_exist_ok=True)
    with open(os.path.join(INIT, "config.json")) as f:
        config = dict(json.load(f), rebus_positions=positions, patch_size=patch, num_hidden_layers=2, initializer_range=deviation)
    w.write(f"{positions}-{patch}/config.json", json.dumps(config).encode())
    return out


def loss(w, data, init, **options):
    """Of the first step, before anything has moved, and of an evaluation."""
    out = w.path("out")
    shutil.rmtree(out, ignore_errors=True)
    w.train(init=init, data=data, evaluation=data, out=out, steps=1, rate=0, batch=64, evaluate_every=1, seed=3, **options)
    line = w.log("out")[0]
    return line["loss"], line["score_loss"]


def close(a, b):
    return abs(a - b) <= 3e-6 * abs(b)


@test
def order_and_positions(w):
    data = w.idx("train", 24)
    for kind in ("learned", "sincos", "rotary", "none"):
        init = folder(w, kind, deviation=0.1)  # new weights hardly attend: give the effect of positions room
        plain = loss(w, data, init)
        for name in ("token_shuffle", "token_reverse"):
            moved, stayed = (loss(w, data, init, token_evaluate="yes", token_positions=p, **{name: 1}) for p in ("move", "stay"))
            check(close(moved[0], plain[0]) and close(moved[1], plain[1]), f"{kind}, {name}: positions move, and the loss is {moved}, not {plain}")
            same = close(stayed[0], plain[0]) and close(stayed[1], plain[1])
            check(same == (kind == "none"), f"{kind}, {name}: positions stay, and the loss is {stayed}, without another order {plain}")
        trained, tested = loss(w, data, init, token_shuffle=1, token_positions="stay")
        check(close(tested, plain[1]), f"{kind}: an evaluation that was not asked to be shuffled is")
        check(kind == "none" or not close(trained, plain[0]), f"{kind}: training is not shuffled")


@test
def fewer_tokens(w):
    data, init = w.idx("train", 24), folder(w, "learned", 4)
    plain = loss(w, data, init)
    for options in (dict(token_drop=0.5), dict(token_mask=0.4), dict(token_mask=0.4, token_mask_kind="block"), dict(token_cut=0.5), dict(resize=0.4)):
        a = loss(w, data, init, token_evaluate="yes", **options)
        b = loss(w, data, init, token_evaluate="yes", threads=3, **options)
        check(a == b, f"{options}: {a} and, with three threads, {b}")
        check(not close(a[0], plain[0]) and not close(a[1], plain[1]), f"{options}: nothing changes")
    ends = loss(w, data, init, token_drop=0, token_drop_final=0.5, token_evaluate="yes")
    check(close(ends[0], plain[0]) and not close(ends[1], plain[1]), "a scheduled drop begins with all patches and ends with half of them")
    masked, other = (loss(w, d, init, token_mask=1)[0] for d in (data, w.idx("other", 24, side=28, seed=1, classes=10)))
    check(masked == other and not close(masked, plain[0]), "masking all changes nothing")


@test
def kinds_of_positions(w):
    """A table that is not learned stays as it is; every kind and patch size learns, resumes and reads back."""
    data = w.idx("train", 64)
    for kind, patch in (("learned", 14), ("sincos", 7), ("none", 4), ("rotary", 7), ("learned", 2)):
        init, out = folder(w, kind, patch), w.path(f"out-{kind}-{patch}")
        w.train(init=init, data=data, out=out, steps=6 if patch > 2 else 2, batch=32, rate=2e-3, log_every=1)
        table = tensors(os.path.join(out, "model.safetensors"))["vit.embeddings.position_embeddings"]
        check(len(table) == ((28 // patch) ** 2 + 1) * 96, f"{kind}: {len(table)} positions")
        if kind in ("none", "rotary"):
            check(not any(table), f"{kind}: a position moved")
        if kind == "sincos":
            check(max(abs(x) for x in table[96:]) == 1.0 and not any(table[:96]), "sincos: not sines and cosines")
        losses = [x["loss"] for x in w.log(f"out-{kind}-{patch}")]
        check(patch == 2 or min(losses[1:]) < losses[0], f"{kind}: {losses}")  # two steps of patch 2 show nothing yet
        p = subprocess.run([w.program, "classify", "-m", out, os.path.join(PICTURES, "photo.jpg"), "--json"], stdout=subprocess.PIPE)
        check(p.returncode == 0, f"{kind}: the folder does not open")
    text = w.train(code=2, init=folder(w, "round"), data=data, out=w.path("bad"), steps=1)
    check("rebus_positions" in text, text)
    swin = os.path.join(base.ROOT, "tests", "parity", "fixtures", "swin-train")
    text = w.train(code=2, init=swin, data=data, out=w.path("bad"), steps=1, token_drop=0.5)
    check("one sequence" in text, text)


if __name__ == "__main__":
    base.main()
