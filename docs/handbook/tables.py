"""tables - the measured tables of the handbook, as data; see measure and runs.py."""

SEEDS = (0, 1, 2)
TABLES = {}


def run(kind, key, **rest):
    return dict(kind=kind, key=key, **rest)


def cell(take, *runs, digits=1, times=1):
    return {"take": take, "runs": list(runs), "digits": digits, "times": times}


def missing(what):
    return {"missing": what}


def note(text):
    """A cell with nothing to measure."""
    return {"note": text}


def percent(*runs):
    return cell("accuracy", *runs, digits=1, times=100)


def table(name, chapter, columns, rows):
    TABLES[name] = {"chapter": chapter, "columns": columns, "rows": [{"labels": labels, "cells": cells} for labels, cells in rows]}


def vit(key, seed, **rest):
    return run("train", f"{key}/seed-{seed}", seed=seed, **rest)


def vits(key, **rest):
    return [vit(key, seed, **rest) for seed in SEEDS]


BASE = vits("patch-4")


def number(key, command, **numbers):
    return run("json", key, command=command, numbers=numbers)


def bench(key, *options):
    return number(key, ["rebus", "bench", *options, "--repeat", "9", "--json"], ms="parts.0.ms.median", tokens="parts.0.tokens",
                  padded="parts.0.tokens_with_padding", rate="parts.0.pictures_per_second", flops="parts.0.flops",
                  batches="parts.0.batches", planned="parts.0.planned_bytes")


# 09: what a patch size costs and gives, all else equal.
def patch_row(side):
    runs = BASE if side == 4 else vits(f"patch-{side}", config={"patch_size": side})
    return [f"{side}", f"{(28 // side) ** 2}"], [percent(*runs), cell("loss", *runs, digits=2), cell("seconds", *runs, digits=0)]


table("patch-size", "09-vit-paper-fixed-patch-analysis.md",
      ["patch", "patches a picture", "right, % (3 seeds, least to most)", "last training loss", "processor seconds"],
      [patch_row(side) for side in (14, 7, 4, 2)])

# 09: arithmetic and time of one picture by side, patch 4.
table("cost-by-side", "09-vit-paper-fixed-patch-analysis.md", ["side, pixels", "tokens", "MFLOP", "ms a picture", "planned memory, KB"],
      [([f"{side}"], [cell("tokens", b, digits=0), cell("flops", b, times=1e-6), cell("ms", b, digits=2), cell("planned", b, times=1e-3, digits=0)])
       for side in (28, 56, 112, 224)
       for b in [bench(f"side-{side}", "-m", "models/vit-fashion", "--size", f"{side}x{side}")]])

# 05 and 03: what the table of positions is.
POSITIONS = {kind: vits(f"positions-{kind}", positions=kind) for kind in ("none", "random", "sin1", "sin2")}
POSITIONS["learned"] = BASE


def position_row(label, kind):
    runs = POSITIONS[kind]
    return [label], [percent(*runs), cell("loss", *runs, digits=2)]


table("learned-positions", "05-learned-positional-encodings.md", ["table", "right, % (3 seeds, least to most)", "last training loss"],
      [position_row("none: zeros, frozen", "none"), position_row("random, frozen", "random"), position_row("learned from random", "learned")])
table("positions-2d", "03-2d-positional-encoding.md", ["table", "right, % (3 seeds, least to most)", "last training loss"],
      [position_row("none", "none"), position_row("sinusoid of the order (1-D), frozen", "sin1"),
       position_row("sinusoids of row and column (2-D), frozen", "sin2"), position_row("learned, one row a place", "learned")])


# 10: the same trained models on pictures whose blocks change places.
def order_row(label, kind):
    return [label], [percent(*[run("score", f"{m['key']}/{kind}", of=m, pictures=kind) for m in POSITIONS[p]]) for p in ("learned", "none")]


table("patch-order", "10-token-sequence-order-importance.md", ["test pictures", "learned positions, % right", "no positions, % right"],
      [order_row("as trained", "plain"), order_row("patches in reverse order", "reverse:4"), order_row("patches column by column", "columns:4"),
       order_row("one permutation of patches for all", "fixed:4"), order_row("a permutation for each picture", "each:4"),
       order_row("a permutation of 2 x 2 blocks, inside patches too", "each:2")])


def shuffled_row(label, kind):
    return [label], [percent(*(BASE if kind == "plain" else vits("trained-" + kind.replace(":", "-"), pictures=kind)))]


table("trained-on-order", "10-token-sequence-order-importance.md", ["trained and tested on", "learned positions, % right (3 seeds, least to most)"],
      [shuffled_row("pictures as they are", "plain"), shuffled_row("one permutation of 4 x 4 patches for all", "fixed:4"),
       shuffled_row("one permutation of 2 x 2 blocks for all", "fixed:2"), shuffled_row("one permutation of pixels for all", "fixed:1"),
       shuffled_row("a permutation of patches for each picture", "each:4")])


# 07: a size the model was not trained at.
def resize_row(side):
    return [f"{side}", f"{(side // 4) ** 2}"], [
        percent(run("classify", f"{how}-{side}", model="models/vit-fashion", options=["--size", f"{side}x{side}", "--resample-positions", how]))
        for how in ("bicubic", "bilinear", "antialias")]


table("resample-positions", "07-patch-size-consistency-stability.md", ["side, pixels", "patches", "bicubic, % right", "bilinear", "antialias"],
      [resize_row(side) for side in (20, 24, 28, 32, 40, 56, 84)])

table("first-steps", "07-patch-size-consistency-stability.md",
      ["patch", "largest gradient norm", "mean gradient norm", "loss rises a step, mean"],
      [([f"{side}"], [cell("norm_max", *runs), cell("norm_mean", *runs, digits=2), cell("rise", *runs, digits=4)])
       for side in (14, 7, 4, 2) for runs in [BASE if side == 4 else vits(f"patch-{side}", config={"patch_size": side})]])


# 00: what a picture costs where it enters. Arithmetic is counted, so these cells do not depend on the machine.
def fusion(key, *options):
    image = "--image" in options
    at = {"vision": "parts.1.flops", "text": "parts.2.flops", "units": "parts.2.units", "decode": "parts.3.flops"}
    if not image:
        at = {"text": "parts.0.flops", "units": "parts.0.units", "decode": "parts.1.flops"}
    if "models/clip-fashion" in options:
        at = {"vision": "parts.1.flops", "text": "parts.2.flops", "units": "parts.2.tokens"}
    return number(key, ["rebus", "bench", *options, "--repeat", "1", "--json"], **at)


def fusion_row(label, f, vision=True, decode=True):
    none = note("no such part")
    cells = [cell("units", f, digits=0), cell("vision", f, times=1e-6) if vision else none, cell("text", f, times=1e-6),
             cell("decode", f, times=1e-6, digits=2) if decode else none]
    return [label], cells


QUESTION = ["--text", "what shape is it?"]
table("fusion-cost", "00-token-concatenation-strategies.md",
      ["model and prompt", "tokens of the text part", "tower, MFLOP", "text part, MFLOP", "one more token, MFLOP"],
      [fusion_row("two towers: models/clip-fashion, picture and text",
                  fusion("clip", "-m", "models/clip-fashion", "--image", "models/clip-fashion/pictures/18.png", "--text", "a photo of a bag."),
                  decode=False),
       fusion_row("one sequence: models/llava-easyvqa, question alone", fusion("llava-text", "-m", "models/llava-easyvqa", *QUESTION), vision=False),
       fusion_row("one sequence: the same, one picture",
                  fusion("llava-1", "-m", "models/llava-easyvqa", "--image", "models/llava-easyvqa/pictures/0.png", *QUESTION)),
       fusion_row("one sequence: the same, two pictures",
                  fusion("llava-2", "-m", "models/llava-easyvqa", "--image", "models/llava-easyvqa/pictures/0.png", "--image",
                         "models/llava-easyvqa/pictures/1.png", *QUESTION)),
       (["cross-attention: a small Flamingo of the same width"], [missing("a trained folder of a cross-attention family")] + [note("the same")] * 3)])


# 02: a trained rotary model with other angles than it was trained with.
def rope(key, **parameters):
    return run("ask", key, text_config={"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default", **parameters}})


def asked_row(label, r):
    return [label], [percent(r), cell("sure", r, digits=3)]


table("rotary-angles", "02-rope-multiaxis-encoding.md", ["angles of models/llava-easyvqa", "bundled questions right, %", "probability of its own answer"],
      [asked_row("as trained: theta 10,000", rope("default")),
       asked_row("theta 9,000", rope("theta-9000", rope_theta=9000.0)),
       asked_row("theta 1,000", rope("theta-1000", rope_theta=1000.0)),
       asked_row("theta 1,000,000", rope("theta-1e6", rope_theta=1e6)),
       asked_row("linear, factor 1.1: positions divided by 1.1", rope("linear-1.1", rope_type="linear", factor=1.1)),
       asked_row("linear, factor 2", rope("linear-2", rope_type="linear", factor=2.0)),
       asked_row("linear, factor 4", rope("linear-4", rope_type="linear", factor=4.0)),
       asked_row("yarn, factor 4, original context 128",
                 rope("yarn-4", rope_type="yarn", factor=4.0, original_max_position_embeddings=128)),
       (["two axes (rows and columns) for picture rows"], [missing("a trained folder of a three-axis family"), note("the same")])])


# 04: how attention grows with the picture. Arithmetic is counted from shapes, so these cells do not depend on the machine.
def growth_cells(model, side):
    b = number(f"{model.split('/')[-1]}-{side}", ["rebus", "bench", "-m", model, "--size", f"{side}x{side}", "--repeat", "1", "--json"],
               tokens="parts.0.tokens", flops="parts.0.flops", attend="parts.0.operations.op=attend.flops")
    return [cell("tokens", b, digits=0), cell("attend", b, times=1e-6, digits=2), cell("flops", b, times=1e-6, digits=2)]


table("attention-growth", "04-sequence-vs-spatial-attention.md",
      ["side of the picture", "rows, whole attention (vit-fashion)", "its attention, MFLOP", "all, MFLOP", "rows of stage 1, windows of 2 (swin fixture)",
       "its attention, MFLOP", "all, MFLOP"],
      [([f"{k} times"], growth_cells("models/vit-fashion", 28 * k) + growth_cells("tests/parity/fixtures/swin-hub", 30 * k)) for k in (1, 2, 4, 8)])
table("picture-and-question-order", "04-sequence-vs-spatial-attention.md", ["prompt of models/llava-easyvqa", "bundled questions right, %", "probability of its own answer"],
      [asked_row("picture, then question (as trained)", run("ask", "picture-first")),
       asked_row("question, then picture", run("ask", "text-first", text_first=True)),
       asked_row("picture, ten words, question", run("ask", "ten-words", before="is is is is is is is is is is ")),
       asked_row("picture, forty words, question", run("ask", "forty-words", before="is " * 40))])


# 01: what is done to pictures and to their tokens while training.
def augmented_row(label, key, *options):
    runs = vits(key, options=list(options)) if options else BASE
    return [label], [percent(*runs), cell("loss", *runs, digits=2)]


table("augmentation", "01-multimodal-sequence-augmentation.md", ["done in training", "right, % (3 seeds, least to most)", "last training loss"],
      [augmented_row("nothing", "patch-4"), augmented_row("mirrored, half of them", "flip", "--flip", "0.5"),
       augmented_row("shifted by up to 8 %", "shift", "--shift", "0.08"), augmented_row("a box erased, in a quarter of them", "erase", "--erase", "0.25"),
       augmented_row("all three", "all-three", "--flip", "0.5", "--shift", "0.08", "--erase", "0.25"),
       augmented_row("dropout 0.1: numbers of rows set to zero", "dropout", "--dropout", "0.1"),
       augmented_row("drop path 0.1: halves of blocks passed by", "drop-path", "--drop-path", "0.1"),
       augmented_row("a quarter of the patches dropped", "drop-25", "--token-drop", "0.25"),
       augmented_row("half of the patches dropped", "drop-50", "--token-drop", "0.5"),
       augmented_row("half of them at first, none at the end", "drop-50-0", "--token-drop", "0.5", "--token-drop-final", "0")])


# 06: one trained model at patches it was not trained at, and what a budget of patches makes of a picture.
FLEXIBLE = vits("timm-16", timm={"side": 96, "patch": 16})


def patched_row(side):
    options = ["--patch-size", str(side)] if side != 16 else []
    return [f"{side}", f"{(96 // side) ** 2}"], [percent(*[run("classify", f"at-{side}/{m['key']}", of=m, options=options) for m in FLEXIBLE])]


table("patch-resize", "06-fixed-vs-variable-patch-size.md", ["patch at test (trained at 16, side 96)", "patches", "right of 2,000, % (3 seeds, least to most)"],
      [patched_row(side) for side in (8, 12, 16, 24, 32, 48)])


def budget_cells(name):
    picture = f"tests/parity/pictures/{name}.png"
    return [cell("tokens", number(f"{name}-{n}", ["rebus", "bench", "-m", "tests/parity/fixtures/siglip2-hub", "--image", picture, "--max-patches", str(n),
                                                 "--repeat", "1", "--json"], tokens="parts.1.tokens"), digits=0) for n in (16, 64, 256, 1024)]


table("patch-budget", "06-fixed-vs-variable-patch-size.md", ["picture", "budget 16", "64", "256", "1,024"],
      [(["shapes.png"], budget_cells("shapes")), (["tall.png"], budget_cells("tall")), (["wide.png"], budget_cells("wide"))])


# 08: the same inputs packed, sorted into equal shapes, and padded.
TEXTS = [{"text": "a " * length} for length in range(1, 45)]
SHAPES = [{"image": f"tests/parity/pictures/{name}"} for name in ("wide.png", "tall.png", "shapes.png", "photo.jpg")] * 4


def policy_row(label, what, model, lines, policy, more=()):
    r = number(f"{what}-{policy}", ["rebus", "bench", "-m", model, "--batching", policy, "--batch-tokens", "0", "--repeat", "15", "--json", *more],
               batches="parts.at.batches", rows="parts.at.tokens_with_padding", real="parts.at.tokens", flops="parts.at.flops", ms="parts.at.ms.median",
               planned="parts.at.planned_bytes")
    r["lines"], r["numbers"] = lines, {k: v.replace("parts.at", "parts.part=" + ("text" if what == "texts" else "vision")) for k, v in r["numbers"].items()}
    return [f"{label}, {policy}"], [cell("batches", r, digits=0), cell("real", r, digits=0), cell("rows", r, digits=0), cell("flops", r, times=1e-6),
                                    cell("ms", r, digits=2), cell("planned", r, times=1e-3, digits=0)]


table("batching-policy", "08-batching-multiresolution-vit.md", ["inputs, policy", "runs", "tokens", "rows computed", "MFLOP", "ms, median of 15", "planned memory, KB"],
      [policy_row("44 texts of 3 to 46 tokens, small BERT", "texts", "tests/parity/fixtures/bert-hub", TEXTS, policy) for policy in ("pack", "bucket", "pad")] +
      [policy_row("16 pictures of 4 shapes, SigLIP 2 of width 192", "pictures", "SIGLIP2", SHAPES, policy, ("--max-patches", "256"))
       for policy in ("pack", "bucket", "pad")])


def budget_of_tokens_row(budget):
    r = number(f"tokens-{budget}", ["rebus", "bench", "-m", "SIGLIP2", "--batching", "pack", "--batch-tokens", str(budget), "--max-patches", "256", "--repeat", "15",
                                    "--json"], batches="parts.part=vision.batches", ms="parts.part=vision.ms.median", planned="parts.part=vision.planned_bytes")
    r["lines"] = SHAPES
    return [f"{budget:,}"], [cell("batches", r, digits=0), cell("ms", r, digits=1), cell("planned", r, times=1e-3, digits=0)]


table("token-budget", "08-batching-multiresolution-vit.md", ["tokens of a run at most", "runs for 16 pictures", "ms, median of 15", "planned memory, KB"],
      [budget_of_tokens_row(budget) for budget in (256, 512, 1024, 2048, 4096)])


# 11: two position codes in one table, added or side by side, and a code that is trained further.
POSITIONS.update({kind: vits(f"positions-{kind}", positions=kind) for kind in ("sum", "cat", "sin2-learned")})
DUAL = "a tower with a table and rotary positions whose training `rebus train` can begin"
table("dual-positions", "11-dual-position-encoding.md", ["positions", "right, % (3 seeds, least to most)", "last training loss"],
      [position_row("order (1-D sinusoid)", "sin1"), position_row("row and column (2-D sinusoids)", "sin2"), position_row("both, added", "sum"),
       position_row("both, half the width each", "cat"), position_row("row and column, then trained", "sin2-learned"),
       position_row("trained from random", "learned"), (["table and rotary"], [missing(DUAL), note("the same")])])
