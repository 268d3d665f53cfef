#!/usr/bin/env python3
"""test_chat.py - conversations with `rebus chat`, through a pipe and at a terminal.

    test_chat.py PROGRAM [MODELS]

What chat says is compared with `ask` on what the folder's template makes of the messages. At a terminal (a pty) lines are typed and Ctrl-C is pressed in the
middle of an answer that would not end. Standard library only. The last line is `N passed, N failed`.
"""
import json, os, pty, re, select, signal, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = []


def test(f):
    TESTS.append(f)
    return f


def same(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: {str(got)[:300]!r}, expected {str(want)[:300]!r}")


class World:
    def __init__(self, program, models, folder):
        self.program, self.folder = os.path.abspath(program), folder
        self.llava = os.path.join(os.path.abspath(models), "llava-easyvqa")
        self.llama = os.path.join(HERE, "../parity/fixtures/llama-v5")
        self.picture = os.path.join(self.llava, "pictures/0.png")

    def run(self, *args, stdin=""):
        p = subprocess.run([self.program, *map(str, args)], input=stdin.encode(), capture_output=True, cwd=self.folder, timeout=120)
        return p.returncode, p.stdout.decode(), p.stderr.decode()

    def chat(self, lines, *args, code=0, words=""):
        got, out, err = self.run("chat", "-m", self.llava, *args, stdin="\n".join(lines))
        same(got, code, f"exit code ({err.strip()})")
        if code and not (err.startswith("rebus: ") and err.count("\n") == 1 and re.search(words, err)):
            raise AssertionError(f"no one line with {words!r}: {err!r}")
        return out


@test
def turns(w):
    """The template of this folder: USER: <image>, a line end, the text, a blank; ASSISTANT: the answer, the end token."""
    question = "what shape is in the image?"
    raw = lambda text, *pictures: json.loads(w.run("ask", "-m", w.llava, "--json", "--raw", *[x for p in pictures for x in ("--image", p)], text)[1])["text"]
    first = raw(f"USER: <image>\n{question} ASSISTANT:", w.picture)
    then = raw(f"USER: <image>\n{question} ASSISTANT: {first}</s>USER: /is it red?\nreally ASSISTANT:", w.picture)
    out = w.chat([f"/image {w.picture}", question, "", "//is it red?\\", "really", "/save out.jsonl", "/reset", f"/image {w.picture}", question])
    same(out, first + "\n" + then + "\n" + first + "\n", "what was said")
    with open(os.path.join(w.folder, "out.jsonl")) as f:
        saved = json.load(f)
    same(saved, {"messages": [{"role": "user", "content": [{"image": w.picture}, {"text": question}]}, {"role": "assistant", "content": first},
                              {"role": "user", "content": "/is it red?\nreally"}, {"role": "assistant", "content": then}]}, "/save")
    same(w.run("tokens", "-m", w.llava, "--batch", "out.jsonl")[0], 0, "tokens of what was saved")
    same(w.chat(["hello", "/quit", "not read"]), raw("USER: hello ASSISTANT:") + "\n", "/quit")
    same(w.chat([]), "", "nothing")


@test
def system_and_options(w):
    args = ["chat", "-m", w.llama, "--max-tokens", "8", "--temperature", "2", "--seed", "3"]
    code, out, err = w.run(*args, "--system", "Be kind.", stdin="hi\n/system\nhi\n/system Be kind.\nhi\n/save s.jsonl\n/reset\nhi\n")
    same((code, err), (0, ""), "exit code")
    with open(os.path.join(w.folder, "s.jsonl")) as f:
        saved = json.load(f)["messages"]
    same([m["role"] for m in saved], ["system", "user", "assistant"], "roles")
    one = saved[2]["content"]
    with open(os.path.join(w.folder, "sys.jsonl"), "w") as f:
        f.write("".join(json.dumps({"messages": m}) + "\n" for m in (saved[:2], saved[1:2])))
    code, told, err = w.run("ask", "-m", w.llama, "--batch", f.name, "--batch-size", "1", "--json", *args[3:])
    told = [json.loads(x)["text"] for x in told.split("\n") if x]
    same(one, told[0], "with a system message")
    ends = lambda t: t if t.endswith("\n") else t + "\n"
    same(out, ends(one) + ends(told[1]) + ends(one) + ends(one), "all of it")
    same(w.chat(["what is it?"], "--regex", "yes|no") in ("yes\n", "no\n"), True, "--regex")
    code, out, err = w.run(*args, "--stats", stdin="hi\n")
    same(bool(re.fullmatch(r"rebus: \d+ prompt tokens in [\d.]+ s, \d+ new ones in [\d.]+ s\n", err)), True, f"--stats: {err}")


@test
def mistakes(w):
    w.chat(["/imag x.png"], code=2, words="/imag: unknown, expected a message or one of /system")
    w.chat(["/image"], code=2, words="expected the name of a picture")
    w.chat(["/image none.png"], code=1, words="none.png")
    w.chat(["/save"], code=2, words="expected the name of a file")
    w.chat(["/save none/x.jsonl"], code=1, words="cannot be written")
    w.chat(["/reset now"], code=2, words="takes nothing after it")
    w.chat(["what? " * 3000], code=1, words="512 positions")
    w.chat(["a\0b"], code=2, words="holds a NUL")
    w.chat([], "--json", code=2, words="not an option of chat")
    same(w.run("chat", "-m", os.path.join(HERE, "../parity/fixtures/gpt2-v5"), stdin="hi")[0], 2, "no template")
    same(w.run("chat", "-m", os.path.join(os.path.dirname(w.llava), "vit-fashion"), stdin="hi")[0], 2, "no text")


class Terminal:
    """The program at a pty; what it says is read until it holds some words."""
    def __init__(self, w, *args):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.chdir(w.folder)
            os.environ["TERM"] = "dumb"
            os.execv(w.program, [w.program, *args])
        self.seen = ""

    def until(self, words, seconds=60):
        end = time.time() + seconds
        while words not in self.seen:
            if time.time() > end:
                raise AssertionError(f"no {words!r} within {seconds} s: {self.seen[-300:]!r}")
            if select.select([self.fd], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode("utf-8", "replace")
                except OSError:
                    raise AssertionError(f"ended before {words!r}: {self.seen[-300:]!r}")
        at = self.seen.index(words) + len(words)
        before, self.seen = self.seen[:at], self.seen[at:]
        return before

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        deadline = time.time() + 60
        while time.time() < deadline:
            pid, how = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(how)
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    os.read(self.fd, 65536)
                except OSError:
                    pass
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError("did not end")


@test
def terminal(w):
    t = Terminal(w, "chat", "-m", w.llava)
    t.until("> ")
    t.type("/nothing\n")
    t.until("rebus: /nothing: unknown")
    t.until("> ")
    t.type(f"/image {w.picture}\n")
    t.until("> ")
    t.type("what shape is in the image?\n")
    t.until("triangle")
    t.until("> ")
    t.type("what? " * 600 + "\n")
    t.until("512 positions")
    t.until("(the conversation is as it was")
    t.until("> ")
    t.type("\x03")
    t.until("(Ctrl-D or /quit ends)")
    t.until("> ")
    t.type("\x04")
    same(t.end(), 0, "Ctrl-D")


@test
def stopping(w):
    """An answer that cannot end (its end token is forbidden) is stopped; the next turn works."""
    with open(os.path.join(w.llava, "config.json")) as f:
        config = json.load(f)
    with open(os.path.join(w.llava, "generation_config.json")) as f:
        generation = json.load(f)
    eos = generation.get("eos_token_id", config.get("text_config", config).get("eos_token_id"))
    bias = [x for i in (eos if isinstance(eos, list) else [eos]) for x in ("--logit-bias", f"{i}:-inf")]
    t = Terminal(w, "chat", "-m", w.llava, "-t", "1", "--max-tokens", "20000", "--temperature", "5", *bias)
    t.until("> ")
    t.type("go\n")
    t.until("go")
    time.sleep(1)
    t.type("\x03")
    t.until("(stopped)")
    t.until("> ")
    t.type("/save stopped.jsonl\n")
    t.until("> ")
    with open(os.path.join(w.folder, "stopped.jsonl")) as f:
        saved = json.load(f)["messages"]
    same([m["role"] for m in saved], ["user", "assistant"], "what was said stays")
    t.type("/quit\n")
    same(t.end(), 0, "/quit after Ctrl-C")
    p = subprocess.Popen([w.program, "chat", "-m", w.llava, "--max-tokens", "20000", "--temperature", "5", *bias], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, cwd=w.folder)
    p.stdin.write(b"go\n")
    p.stdin.flush()
    time.sleep(1.5)
    p.send_signal(signal.SIGTERM)
    same(p.communicate(timeout=60)[1].startswith(b"rebus: "), True, "SIGTERM")
    same(p.returncode, 143, "SIGTERM")


def main():
    passed = failed = 0
    models = sys.argv[2] if len(sys.argv) > 2 else os.path.join(HERE, "../../models")
    for f in TESTS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                f(World(sys.argv[1], models, folder))
                passed += 1
            except AssertionError as e:
                print(f"FAILED {f.__name__}: {e}")
                failed += 1
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
