#!/usr/bin/env python3
"""check_handbook - the handbook of docs/handbook is whole, cited, and says what its data says.

    check_handbook [--full] REBUS

Checked: every planned file is there, and in every chapter the planned sections, in order; 230 to 400 lines; every row with a number of
a table under "What published work found", and every paragraph there with a decimal number or a percentage, has a citation key;
every key is in references.bib, every chapter cites six or more, and names each with its arXiv id under "Sources"; tables between
`<!-- measured: NAME -->` and `<!-- end -->` are what docs/handbook/data/NAME.json gives, and each is followed by its command; links
and named source files exist; every command shown runs, and prints the lines shown after it, in their order (`...` stands for any).

A command is a line `    $ rebus ...`. With `# times differ` behind it what it prints is not compared; with `# long` it runs with --full
only; there each `docs/handbook/measure` is tried with --smoke.
"""
import argparse
import importlib.machinery
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
FOLDER = "docs/handbook"
CHAPTERS = """00-token-concatenation-strategies 01-multimodal-sequence-augmentation 02-rope-multiaxis-encoding 03-2d-positional-encoding
04-sequence-vs-spatial-attention 05-learned-positional-encodings 06-fixed-vs-variable-patch-size 07-patch-size-consistency-stability
08-batching-multiresolution-vit 09-vit-paper-fixed-patch-analysis 10-token-sequence-order-importance 11-dual-position-encoding""".split()
OTHERS = ["INDEX.md", "HOWTO.md", "references.bib", "measure"]
SECTIONS = ["What is asked", "The mathematics", "What published work found", "How each system does it", "A worked example",
            "Best practice and trade-offs", "Measured by rebus", "Sources"]
LEAST, MOST = 230, 400
KEY = re.compile(r"\[@([a-z0-9]+)\]")
passed, failures = 0, []


def check(good, what):
    global passed
    if good:
        passed += 1
    else:
        failures.append(what)
        print("FAILED", what)


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        return f.read()


def bibliography():
    entries = {}
    for body in re.split(r"^@", read("references.bib"), flags=re.M)[1:]:
        key = re.match(r"\w+\{([^,]+),", body).group(1)
        check(key not in entries, f"references.bib: {key} is there twice")
        fields = dict(re.findall(r"(\w+)\s*=\s*\{(.*?)\}(?=\s*[,}])", body))
        check({"author", "title", "year"} <= fields.keys() and ("eprint" in fields or "url" in fields),
              f"references.bib: {key}: expected author, title, year, and eprint or url")
        entries[key] = fields
    return entries


def sections(text):
    parts = re.split(r"^## (.*)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2])), parts[1::2]


def paragraphs(text):
    """Paragraphs and items of lists; not tables, indented blocks, comments."""
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.split("\n") if not line.startswith(("|", "    ", "\t", "<!--"))]
        for item in re.split(r"\n(?=[-*] |\d+\. )", "\n".join(lines)):
            if item.strip():
                yield item


def check_citations(name, text, parts, bib):
    keys = set(KEY.findall(text))
    for key in sorted(keys):
        check(key in bib, f"{name}: [@{key}] is not in references.bib")
    published = parts.get("What published work found", "")
    for line in published.split("\n"):
        if line.startswith("|") and re.search(r"\d", KEY.sub("", line)) and not re.match(r"^\|[-| :]+\|$", line):
            header = re.search(r"^\|.*\|\s*source\s*\|$", line)
            check(header or KEY.search(line), f"{name}: a published number has no citation: {line[:80]}")
    for item in paragraphs(published):
        number = re.search(r"\d\.\d|\d ?%|\d,\d{3}", re.sub(r"\d{4}\.\d{5}", "", item))
        check(not number or KEY.search(item), f"{name}: a published number has no citation: {item[:80]!r}")
    sources = parts.get("Sources", "")
    cited = set(KEY.findall(text.replace(sources, "")))
    check(len(cited) >= 6, f"{name}: expected six sources or more cited before \"Sources\", found {len(cited)}")
    for key in sorted(keys - cited):
        check(False, f"{name}: Sources: [@{key}] is cited nowhere in the chapter")
    for key in sorted(keys & bib.keys()):
        entry = bib[key]
        line = next((s for s in sources.split("\n- ") if f"[@{key}]" in s), "")
        check(entry.get("eprint", entry.get("url")) in line, f"{name}: Sources: expected [@{key}] with {entry.get('eprint', entry.get('url'))}")


def check_tables(name, text, measure):
    marks = re.findall(r"^<!-- measured: ([\w-]+) -->\n(.*?)^<!-- end -->\n(.*?)(?=^<!-- measured|\Z)", text, flags=re.M | re.S)
    check(len(marks) > 0, f"{name}: no measured table")
    for table, shown, after in marks:
        known = measure.tables.TABLES.get(table)
        check(known and known["chapter"] == name, f"{name}: {table} is no table of this chapter in tables.py")
        if known:
            made = measure.rows_of(known, measure.load(table))
            check(shown.strip().split("\n") == made, f"{name}: {table} is not what data/{table}.json gives; run docs/handbook/measure --write")
        check(f"    $ docs/handbook/measure {table}" in after[:400], f"{name}: {table}: its command is not under it")
    return [m[0] for m in marks]


def check_links(name, text):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if not re.match(r"https?:", target):
            check(os.path.exists(os.path.join(FOLDER, target)), f"{name}: link to {target}, which is not there")
    for path in set(re.findall(r"`((?:src|docs|tests|models|recipes|bench|include)/[\w./-]+\w)`", text)):
        check(os.path.exists(path), f"{name}: {path} is not there")


def commands(text):
    """Commands shown, each with the lines shown after it."""
    found = []
    for line in text.split("\n"):
        if line.startswith("    $ "):
            found.append((line[6:], []))
        elif line.startswith("    ") and found and found[-1] is not None:
            found[-1][1].append(line[4:].rstrip())
        else:
            found.append(None)
    return [f for f in found if f]


def run_command(name, line, shown, rebus, full, folder):
    command, _, note = line.partition("  # ")
    if command.startswith("docs/handbook/measure"):
        table = command.split()[-1]
        if full:
            command = f"docs/handbook/measure --smoke {table}"
        else:
            return
    elif "long" in note and not full:
        return
    bin_ = os.path.join(folder, "bin")
    if not os.path.isdir(bin_):
        os.mkdir(bin_)
        os.symlink(os.path.abspath(rebus), os.path.join(bin_, "rebus"))
    env = dict(os.environ, PATH=bin_ + ":" + os.environ["PATH"], TMPDIR=folder, REBUS=os.path.abspath(rebus))
    result = subprocess.run(["bash", "-c", "set -o pipefail; " + command.replace("/tmp/", folder + "/")], env=env, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(result.returncode == 0, f"{name}: {command}: exit code {result.returncode}: {result.stdout[-300:]}")
    if "differ" in note or result.returncode != 0:
        return
    printed, at = [p.rstrip() for p in result.stdout.replace(folder + "/", "/tmp/").split("\n")], 0
    for want in shown:
        if want.strip() == "..." or not want:
            continue
        while at < len(printed) and printed[at] != want:
            at += 1
        check(at < len(printed), f"{name}: {command}: does not print {want!r}")
        at += 1


def load_measure():
    path = os.path.join(FOLDER, "measure")
    loader = importlib.machinery.SourceFileLoader("measure", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("measure", loader))
    loader.exec_module(module)
    return module


def check_chapter(name, bib, measure, o, folder):
    text = read(name)
    parts, order = sections(text)
    check(order == SECTIONS, f"{name}: expected the sections {', '.join(SECTIONS)}, found {', '.join(order)}")
    check(LEAST <= text.count("\n") <= MOST, f"{name}: {text.count(chr(10))} lines, expected {LEAST} to {MOST}")
    check_citations(name, text, parts, bib)
    check_links(name, text)
    found = commands(text)
    check(any(c[0].startswith("rebus ") for c in found), f"{name}: no command of rebus is shown")
    for line, shown in found:
        run_command(name, line, shown, o.rebus, o.full, folder)
    return check_tables(name, text, measure)


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--full", action="store_true")
    p.add_argument("--only", help="only the files that begin so")
    p.add_argument("rebus")
    o = p.parse_args()
    measure, bib, shown = load_measure(), bibliography(), []
    planned = [c + ".md" for c in CHAPTERS]
    with tempfile.TemporaryDirectory() as folder:
        for name in planned + OTHERS:
            if o.only and not name.startswith(o.only):
                continue
            there = os.path.isfile(os.path.join(FOLDER, name))
            check(there, f"{name} is not there")
            if there and name in planned:
                shown += check_chapter(name, bib, measure, o, folder)
            elif there and name.endswith(".md"):
                text = read(name)
                check_links(name, text)
                for key in set(KEY.findall(text)):
                    check(key in bib, f"{name}: [@{key}] is not in references.bib")
                for line, lines in commands(text):
                    run_command(name, line, lines, o.rebus, o.full, folder)
    if not o.only:
        index = read("INDEX.md") if os.path.exists(os.path.join(FOLDER, "INDEX.md")) else ""
        for name in planned:
            check(f"({name})" in index, f"INDEX.md: no link to {name}")
        for name in measure.tables.TABLES:
            check(name in shown, f"tables.py: {name} is in no chapter")
        for name in sorted(os.listdir(os.path.join(FOLDER, "data"))):
            known = name[:-5] in measure.tables.TABLES
            check(known, f"data/{name} belongs to no table")
            if known:
                keys = measure.wanted(measure.tables.TABLES[name[:-5]])
                check(json.load(open(os.path.join(FOLDER, "data", name)))["runs"].keys() <= keys.keys(), f"data/{name}: a run of no table")
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


sys.exit(main())
