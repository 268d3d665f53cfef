#!/usr/bin/env python3
"""report.py - docs/parity.md: family, stage, form and back end, with the worst error of each.

    report.py PROGRAM [-o docs/parity.md] [--fixtures DIR]...

Runs `rebus trace` on every case of every fixture (tests/parity/fixtures, and folders like it given by --fixtures: those of fresh
seeds that make_fixtures.py wrote elsewhere) and compares each named tensor with the golden. Families and stages are found, not
listed, so a new fixture is a new row. Standard library only. Exit status 1 if anything is missing or beyond its bound.
"""
import argparse, array, json, math, os, struct, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
KINDS = {"F32": "f", "F64": "d", "I64": "q", "I32": "i", "U8": "B"}
EXACT, BOUND = ("pixel_values", "flattened_patches"), 1e-4


def tensors(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    for name, t in json.loads(data[8:8 + n]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            yield name, t["dtype"], t["shape"], array.array(KINDS[t["dtype"]], data[8 + n + a:8 + n + b])


def distance(got, want):
    """relative L2; infinite where one is not a number"""
    top = math.fsum((a - b) * (a - b) for a, b in zip(got, want))
    low = math.fsum(b * b for b in want)
    d = math.sqrt(top / low) if low else math.sqrt(top)
    return d if d == d else math.inf


def stage_of(name):
    parts = name.split(".")
    return ".".join("*" if p.isdigit() else p for p in parts)


def run_case(program, folder, golden, case, out):
    """`rebus trace` as the golden was made -> what went wrong, or None"""
    o = case.get("options", {})
    prompt = os.path.join(os.path.dirname(out), "prompt.jsonl")
    with open(prompt, "w") as f:
        f.write(case["prompt"] + "\n")
    args = [os.path.abspath(program), "trace", "-m", ".", "--batch", prompt, "-o", out, "--hidden-states", "-q"]
    args += ["--size", f"{o['height']}x{o['width']}"] if o.get("height") else []
    args += ["--patch-size", str(golden["patch_size"])] if golden.get("patch_size") else []
    args += ["--raw"] if o.get("raw") else []
    args += ["--image-backend", "pil"] if o.get("pil") else []
    for key, option in (("max_patches", "--max-patches"), ("positions", "--resample-positions"), ("mask_seed", "--seed"), ("mask_ratio", "--mask-ratio")):
        args += [option, str(o[key])] if key in o else []
    unknown = set(o) - {"height", "width", "raw", "pil", "max_patches", "positions", "mask_seed", "mask_ratio"}
    if unknown:
        return f"options that this script does not know: {', '.join(sorted(unknown))}"
    args += ["--max-tokens", str(case["max_tokens"]), "--ignore-eos"] if case.get("max_tokens") else []
    p = subprocess.run(args, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return None if p.returncode == 0 else p.stderr.decode("utf-8", "replace").strip()[:160] or f"exit {p.returncode}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("-o", "--output", default=os.path.join(HERE, "..", "..", "docs", "parity.md"))
    p.add_argument("--fixtures", action="append", default=[])
    a = p.parse_args()
    rows, troubles, cases, made = {}, [], 0, set()
    for root in [os.path.join(HERE, "fixtures")] + a.fixtures:
        for name in sorted(os.listdir(root)):
            folder = os.path.join(root, name)
            if not os.path.exists(os.path.join(folder, "golden.json")) or not os.path.exists(os.path.join(folder, "golden.safetensors")):
                continue
            golden = json.load(open(os.path.join(folder, "golden.json")))
            config = json.load(open(os.path.join(folder, "config.json")))
            if "cases" not in golden:
                continue
            family = config.get("model_type") or config.get("architecture", name)
            made.add(", ".join(f"{k} {v}" for k, v in sorted(golden.get("made_with", {}).items())))
            want = {n: (t, s, v) for n, t, s, v in tensors(os.path.join(folder, "golden.safetensors"))}
            for case in golden["cases"]:
                cases += 1
                back = "pil" if case.get("options", {}).get("pil") else "torchvision"
                with tempfile.TemporaryDirectory() as scratch:
                    out = os.path.join(scratch, "o.safetensors")
                    wrong = run_case(a.program, folder, golden, case, out)
                    if wrong:
                        troubles.append(f"{name} {case['name']}: {wrong}")
                        continue
                    got = {n[2:] if n.startswith("0.") else n: (s, v) for n, t, s, v in tensors(out)}
                for full, (kind, shape, values) in want.items():
                    if not full.startswith(case["name"] + "."):
                        continue
                    tensor = full[len(case["name"]) + 1:]
                    have = got.get(tensor)
                    integer = kind not in ("F32", "F64")
                    if have and len(shape) == len(have[0]) == 3 and shape[0] == have[0][0] == 1 and shape[2] == have[0][2] and shape[1] < have[0][1]:
                        have = (shape, have[1][-len(values):])  # the golden keeps the last rows of logits
                    if not have or have[0] != shape:
                        error = math.inf
                    elif integer:
                        error = 0.0 if list(have[1]) == list(values) else math.inf
                    else:
                        error = distance(have[1], values)
                    if error > (0 if integer else BOUND):
                        troubles.append(f"{name} {case['name']}: {tensor}: {'missing or of another shape' if not have or have[0] != shape else error}")
                    key = (family, stage_of(tensor), golden.get("form", "hub"), back)
                    old = rows.get(key, (0.0, 0, integer))
                    rows[key] = (max(old[0], error), old[1] + 1, integer)
    lines = ["# Parity with the reference", "",
             "Written by `tests/parity/report.py`: every fixture (tiny models, random weights) traced, every named tensor beside the reference's in",
             f"float32; {cases} cases, made with {'; '.join(sorted(x for x in made if x)) or 'the packages that make_fixtures.py names'}.", "",
             "The error is the worst relative L2 of all cases and layers (`*`); `equal` means every value: ids and masks, and pixels where they are.", "",
             "| family | stage | form | back end | tensors | worst error |", "|---|---|---|---|---|---|"]
    for (family, stage, form, back), (error, count, integer) in sorted(rows.items()):
        lines.append(f"| {family} | {stage} | {form} | {back} | {count} | {'equal' if error == 0 else f'{error:.1e}'} |")
    lines += ["", f"Beyond the bound of {BOUND:.0e}, or missing: " + ("none." if not troubles else f"{len(troubles)}.")] + [f"- {t}" for t in troubles]
    with open(a.output, "w") as f:
        f.write("\n".join(lines) + "\n")
    print(f"{cases} cases, {len(rows)} rows, {len(troubles)} troubles; {a.output}")
    return 1 if troubles or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
