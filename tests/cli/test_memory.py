#!/usr/bin/env python3
"""test_memory.py - the memory that `rebus inspect` promises is the memory that the run takes.

    test_memory.py PROGRAM [MODELS]

Each case inspects a run, then does it. Results leave the program in one write at its end, into a pipe that is full: there it
waits, everything still in its hands, while /proc tells the most memory it ever had (VmHWM) and how much of that is mapped
weights. With --load copy the weights are memory of the program's own instead, of known size.

    peak = VmHWM - weights,     peak <= 1.05 * promise,     large cases: promise <= 2 * peak

The checkpoints are made up (checkpoint.py). Standard library only; the last line is `N passed, N failed`. A sanitized program
keeps books of its own in memory: it is skipped (exit code 77).
"""
import fcntl, json, os, re, subprocess, sys, tempfile, time

import checkpoint

OVER, LOOSE, SECONDS = 1.05, 2.0, 240


def full_pipe():
    """(read end, write end) with no room left"""
    r, w = os.pipe()
    size = fcntl.fcntl(w, 1031, 4096)  # F_SETPIPE_SZ
    os.write(w, b" " * size)
    return r, w


def asleep(pid):
    """Do all its threads wait?"""
    try:
        for t in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{t}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] != "S":
                    return False
    except FileNotFoundError:
        return False
    return True


def spent(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[11:13]


def wait_until_it_writes(p):
    """It has used time, and for a while it has not."""
    quiet, last, end = 0, None, time.time() + SECONDS
    while quiet < 12:
        if p.poll() is not None:
            return False
        now = spent(p.pid)
        quiet = quiet + 1 if asleep(p.pid) and now == last else 0
        last = now
        time.sleep(0.05)
        if time.time() > end:
            return False
    return True


def peak(pid):
    """(VmHWM, resident pages of .safetensors files), bytes"""
    with open(f"/proc/{pid}/status") as f:
        most = int(re.search(r"VmHWM:\s+(\d+) kB", f.read()).group(1)) << 10
    weights, ours = 0, False
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                ours = line.rstrip().endswith(".safetensors")
            elif ours and line.startswith("Rss:"):
                weights += int(line.split()[1]) << 10
    return most, weights


def run(program, command):
    """The most memory a run had, weights aside."""
    r, w = full_pipe()
    with tempfile.TemporaryFile() as errors:
        p = subprocess.Popen([program, *command], stdin=subprocess.DEVNULL, stdout=w, stderr=errors)
        os.close(w)
        try:
            if not wait_until_it_writes(p):
                p.kill()
                p.wait()
                errors.seek(0)
                raise RuntimeError(f"it did not come to its end: {errors.read()[:300]!r}")
            most, weights = peak(p.pid)
            while os.read(r, 1 << 16):
                pass
            if p.wait(SECONDS):
                errors.seek(0)
                raise RuntimeError(f"exit code {p.returncode}: {errors.read()[:300]!r}")
        finally:
            os.close(r)
            if p.poll() is None:
                p.kill()
                p.wait()
    return most, weights


def promise(program, arguments):
    out = subprocess.run([program, "inspect", *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS)
    if out.returncode:
        raise RuntimeError(f"inspect fails: {out.stderr[:300]!r}")
    return json.loads(out.stdout)["memory"]


def case(name, program, inspect, command, weights, large):
    """inspect: arguments of inspect; command: of the run; weights: bytes of the checkpoint's file"""
    try:
        says = promise(program, inspect)
        seen = {}
        most, mapped = run(program, command)
        seen["mapped"] = most - mapped
        if large:  # reading the weights into memory makes their share exact
            most, _ = run(program, command + ["--load", "copy"])
            seen["copied"] = most - weights
    except (RuntimeError, subprocess.TimeoutExpired) as e:
        print(f"FAILED {name}: {e}")
        return False
    worst = max(seen.values())
    good = worst <= OVER * says["total"] and (not large or says["total"] <= LOOSE * worst)
    parts = ", ".join(f"{k} {v / 1e6:.1f}" for k, v in says.items() if k != "total")
    print(f"{'ok    ' if good else 'FAILED'} {name}: promised {says['total'] / 1e6:.1f} MB ({parts}), "
          + ", ".join(f"{k} {v / 1e6:.1f}" for k, v in seen.items()), flush=True)
    return good


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    program = os.path.abspath(sys.argv[1])
    models = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else os.path.join(here, "..", "..", "models"))
    with open(program, "rb") as f:
        code = f.read()
    if b"__asan_init" in code or b"__tsan_init" in code:
        print("skipped: a sanitizer keeps memory of its own")
        return 77
    results = []
    with tempfile.TemporaryDirectory(prefix="rebus") as folder:
        def path(name):
            return os.path.join(folder, name)
        checkpoint.llava(path("llava"), models)
        checkpoint.vit(path("vit"))
        big = checkpoint.jpeg(path("big.jpg"), 4000, 3000)
        whole = checkpoint.jpeg(path("progressive.jpg"), 3000, 2000, progressive=True)
        small = os.path.join(models, "llava-easyvqa", "pictures", "0.png")
        shoe = os.path.join(models, "vit-fashion", "pictures", "00.png")
        colours = checkpoint.png(path("colours.png"), 320, 200)

        def size(name):
            return os.path.getsize(os.path.join(name, "model.safetensors"))

        def ask(name, model, large, picture, text, tokens, *more):
            prompt = ["-m", model, *([x for p in picture for x in ("--image", p)]), "--text", text, "--max-tokens", str(tokens), *more]
            results.append(case(name, program, prompt, ["ask", *prompt, "--json", "--ignore-eos"], size(model), large))

        def classify(name, model, large, picture, *more):
            results.append(case(name, program, ["-m", model, "--image", picture, *more], ["classify", "-m", model, "--image", picture, "--json", *more],
                                size(model), large))
        trained = os.path.join(models, "llava-easyvqa")
        ask("ask, small", trained, False, [small], "what shape is in the image?", 8)
        ask("ask, small, four threads", trained, False, [small], "what shape is in the image?", 8, "-t", "4")
        classify("classify, small", os.path.join(models, "vit-fashion"), False, shoe)
        ask("ask, large", path("llava"), True, [small], "what shape is in the image?", 16)
        ask("ask, large, two pictures, one of 12 megapixels", path("llava"), True, [big, small], "what shape is in the image?", 8)
        ask("ask, large, a long text", path("llava"), True, [], "what shape is in the image? " * 200, 8, "--raw")
        ask("ask, large, room for a long answer", path("llava"), False, [small], "what?", 400, "-t", "1")
        classify("classify, large", path("vit"), False, colours)
        classify("classify, a picture of 12 megapixels", path("vit"), True, big)
        classify("classify, a progressive picture", path("vit"), True, whole)
        classify("classify, another size", path("vit"), True, colours, "--size", "480x640")
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
