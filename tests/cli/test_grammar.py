#!/usr/bin/env python3
"""test_grammar.py - answers bound by a schema, an expression or a grammar, judged by others.

    test_grammar.py PROGRAM [ROUNDS]

Tiny models with random weights (tests/parity/fixtures) write at a high temperature, so their answers are noise but for what binds
them. Random schemas and expressions, drawn by a fixed seed; ROUNDS of each (default 12). Whatever ends by itself is judged: JSON
must parse and be valid (by the jsonschema package where it is installed, else by the small judge below), a text must match by Python's
re. Every other answer must be cut off by its length. The last line is `N passed, N failed`.
"""
import json, os, random, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = ["llama-v5", "gpt2-v5", "t5-hub", "gemma3-train", "qwen2-hub", "opt-hub"]
try:
    import jsonschema
except ImportError:
    jsonschema = None
passed = failed = 0


def verdict(ok, text):
    global passed, failed
    passed, failed = passed + ok, failed + (not ok)
    if not ok:
        print("FAILED", text)


# ------------------------------------------------------------------------------------------------ a small judge
def is_type(v, t):
    return {"string": isinstance(v, str), "boolean": isinstance(v, bool), "null": v is None, "array": isinstance(v, list), "object": isinstance(v, dict),
            "number": isinstance(v, (int, float)) and not isinstance(v, bool),
            "integer": isinstance(v, (int, float)) and not isinstance(v, bool) and v == int(v)}[t]


def valid(v, s, root):
    """Is v valid by s? Only what random schemas below hold."""
    if isinstance(s, bool):
        return s
    if "$ref" in s:
        at = root
        for step in s["$ref"].split("/")[1:]:
            at = at[step]
        return valid(v, at, root)
    if "const" in s and (v != s["const"] or type(v) is not type(s["const"])):
        return False
    if "enum" in s and not any(v == e and type(v) is type(e) for e in s["enum"]):
        return False
    if "anyOf" in s and not any(valid(v, e, root) for e in s["anyOf"]):
        return False
    if "oneOf" in s and sum(valid(v, e, root) for e in s["oneOf"]) != 1:
        return False
    types = s.get("type")
    if types and not any(is_type(v, t) for t in ([types] if isinstance(types, str) else types)):
        return False
    if isinstance(v, str):
        return s.get("minLength", 0) <= len(v) <= s.get("maxLength", 1 << 30) and ("pattern" not in s or re.search(s["pattern"], v) is not None)
    if isinstance(v, (int, float)) and not isinstance(v, bool):
        return (v >= s.get("minimum", v) and v <= s.get("maximum", v) and not ("exclusiveMinimum" in s and v <= s["exclusiveMinimum"])
                and not ("exclusiveMaximum" in s and v >= s["exclusiveMaximum"]))
    if isinstance(v, list):
        prefix = s.get("prefixItems", [])
        return (s.get("minItems", 0) <= len(v) <= s.get("maxItems", 1 << 30) and all(valid(a, b, root) for a, b in zip(v, prefix))
                and all(valid(e, s.get("items", True), root) for e in v[len(prefix):]))
    if isinstance(v, dict):
        known = s.get("properties", {})
        return (all(n in v for n in s.get("required", [])) and all(valid(e, known[n], root) for n, e in v.items() if n in known)
                and all(valid(e, s.get("additionalProperties", True), root) for n, e in v.items() if n not in known))
    return True


# ------------------------------------------------------------------------------------------------ random schemas
NAMES = ["a", "b", "name", "é", "x y", 'q"', "back\\slash", "\n", "ab", "abc", ""]


def bounds(r, real):
    s = {}
    low = r.choice([r.randint(-9, 9), r.randint(-1200, 1200), r.randint(-10**12, 10**12)])
    high = low + r.choice([0, 1, 5, 99, r.randint(0, 10**6)])
    if r.random() < 0.7:
        s[r.choice(["minimum", "exclusiveMinimum"])] = low
    if r.random() < 0.7:
        s[r.choice(["maximum", "exclusiveMaximum"])] = high + 2
    return s


def scalar(r):
    kind = r.randrange(9)
    if kind == 0:
        low = r.randint(0, 4)
        return {"type": "string", **({"minLength": low} if r.random() < 0.5 else {}), **({"maxLength": low + r.randint(0, 6)} if r.random() < 0.8 else {})}
    if kind == 1:
        return {"type": "integer", **bounds(r, False)}
    if kind == 2:
        return {"type": "number", **bounds(r, True)}
    if kind == 3:
        return {"enum": r.sample(["red", "grün", 7, 2.5, None, True, [1, "x"], {"k": []}, "with \"quotes\""], r.randint(1, 4))}
    if kind == 4:
        return {"const": r.choice(["yes", 0, -1.5e-7, False, [], {"a": {"b": 1}}])}
    if kind == 5:
        return {"type": r.sample(["string", "boolean", "null", "integer"], r.randint(1, 3)), "maxLength": 5, "minimum": -5, "maximum": 50}
    if kind == 6:
        return {"type": "string", "pattern": expression(r, 2) if r.random() < 0.5 else "^" + expression(r, 2) + "$"}
    if kind == 7:
        return {"type": "string", "format": r.choice(["date", "time", "date-time", "uuid", "ipv4"])}
    return {"type": "boolean"}


def schema(r, depth):
    kind = r.randrange(6) if depth else 0
    if kind <= 1:
        return scalar(r)
    if kind == 2:
        s = {"type": "array", "items": schema(r, depth - 1), "minItems": r.randint(0, 2)}
        if r.random() < 0.4:
            s["prefixItems"] = [schema(r, depth - 1) for _ in range(r.randint(1, 2))]
        s["maxItems"] = s["minItems"] + r.randint(0, 3)
        return s
    if kind == 3:
        return {r.choice(["anyOf"]): [schema(r, depth - 1) for _ in range(r.randint(1, 3))]}
    if kind == 4:
        return {"oneOf": [{"type": "object", "properties": {"kind": {"const": k}, "v": schema(r, depth - 1)}, "required": ["kind"]} for k in ("p", "q")]}
    names = r.sample(NAMES, r.randint(0, 4))
    s = {"type": "object", "properties": {n: schema(r, depth - 1) for n in names}, "required": [n for n in names if r.random() < 0.5]}
    s["additionalProperties"] = r.choice([False, False, {"type": "integer", "minimum": 0, "maximum": 99}, {"type": "boolean"}])
    return s


def expression(r, depth):
    kind = r.randrange(9) if depth else r.randrange(4)
    if kind == 0:
        return r.choice(["a", "b", "é", "\\.", "\\\\", '"', "/", " ", "\\n", "{", "€", "\U0001F600"])
    if kind == 1:
        return r.choice(["[a-f]", "[^a-z]", "\\d", "\\w", "\\s", "\\S", "\\D", "\\W", ".", "[\\d_-]", "[^\\s\\d]", "[à-ÿ0-9]", "\\x41", "\\u00e9"])
    if kind <= 3:
        return r.choice(["x", "yz", "0", "[01]"])
    inner = expression(r, depth - 1)
    if kind <= 5:
        return inner + expression(r, depth - 1)
    if kind == 6:
        return f"({inner}|{expression(r, depth - 1)})"
    return f"(?:{inner})" + r.choice(["?", "*", "+", "{2}", "{1,3}", "{2,}", "*?", "{0}"])


# ------------------------------------------------------------------------------------------------ asking
def ask(program, model, option, text, seed, tokens, count):
    """-> the answers, or the line that refuses"""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.write("".join(json.dumps({"text": f"go {i}"}) + "\n" for i in range(count)))
        f.flush()
        p = subprocess.run([program, "ask", "-m", os.path.join(HERE, "../parity/fixtures", model), "--raw", "--batch", f.name, "--json", "--temperature",
                            "3", "--seed", str(seed), "--max-tokens", str(tokens), "-q", option, text], capture_output=True)
    if p.returncode:
        return p.stderr.decode()
    return [json.loads(line) for line in p.stdout.decode().split("\n") if line]


def judge_schema(s, text):
    try:
        v = json.loads(text)
    except ValueError as e:
        return f"no JSON: {e}"
    if not valid(v, s, s):
        return "not valid"
    if jsonschema:
        v2 = next(jsonschema.Draft202012Validator(s, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).iter_errors(v), None)
        return v2 and v2.message
    return None


def main():
    program, rounds = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 12
    r = random.Random(7)
    ended = 0
    for n in range(rounds):
        s = schema(r, 3)
        for model in r.sample(MODELS, 2):
            got = ask(program, model, "--json-schema", json.dumps(s), n, 150, 6)
            if isinstance(got, str):
                print(got.strip()[:200], json.dumps(s)[:150]) if os.environ.get("SHOW") else None
                verdict("no text fits" in got or "no token of this" in got, f"{model} {json.dumps(s)}: {got}")
                continue
            for a in got:
                why = judge_schema(s, a["text"]) if a["finish"] == "stop" else None
                ended += a["finish"] == "stop"
                verdict(why is None, f"{model} {json.dumps(s)}: {a['text']!r}: {why}")
        e = expression(r, 4)
        re.compile(e)
        for model in r.sample(MODELS, 2):
            got = ask(program, model, "--regex", e, n, 60, 6)
            if isinstance(got, str):
                verdict("no token of this" in got, f"{model} {e!r}: {got}")
                continue
            for a in got:
                ended += a["finish"] == "stop"
                verdict(a["finish"] == "length" or re.fullmatch(e, a["text"]) is not None, f"{model} {e!r}: {a['text']!r}")
    verdict(ended > passed // 3, f"{ended} of {passed} answers ended by themselves, expected a third")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
