#!/usr/bin/env python3
"""Golden cases of the Dockerfile language: run.py TOOL FILE..., results in TAP.

TOOL answers like `strake debug` (ast, expand, ignore) and knows `lint` besides. The kind of a file
is its name: parser*, expand*, ignore*, lint*. A case:

    === name
    input
    --- want
    expectation

"=== name (escaped)" decodes \\t \\r \\n \\xNN \\\\ in the input, "\\" at a line end joins lines, and
the input's last newline is dropped. Blank lines at both ends of an expectation, and lines that begin
with "##", do not count.

parser: one JSON object an instruction, of which only the given keys are compared; or "error: TEXT"
with a part of the message. ignore: input is the pattern file, the expectation its answers; or
"error: TEXT". lint: the warnings in order. expand: every line is a case of its own, the question with
"want": the result, the list of words, or {"error": TEXT}.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

tool, files = sys.argv[1], sys.argv[2:]
count = failed = 0


def report(name, problem):
    global count, failed
    count += 1
    if problem:
        failed += 1
        print("not ok %d - %s" % (count, name))
        for line in problem.split("\n"):
            print("#   " + line)
    else:
        print("ok %d - %s" % (count, name))


def run(args, stdin=b""):
    p = subprocess.run([tool] + args, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return p.returncode, p.stdout, p.stderr.decode("utf-8", "replace")


def unescape(text):
    simple = {"t": b"\t", "r": b"\r", "n": b"\n", "\\": b"\\", "\n": b""}

    def one(m):
        s = m.group(1).decode()
        return bytes([int(s[1:], 16)]) if s[0] == "x" else simple[s]

    text = re.sub(rb"\\(x[0-9a-f]{2}|[trn\\\n])", one, text)
    return text[:-1] if text.endswith(b"\n") else text


def cases(path):
    with open(path, "rb") as f:
        text = f.read()
    for part in re.split(rb"(?m)^=== ", text)[1:]:
        name, _, rest = part.partition(b"\n")
        source, _, want = rest.partition(b"--- want\n")
        name = name.decode()
        if name.endswith("(escaped)"):
            source = unescape(source)
        want = [l for l in want.decode().strip("\n").split("\n") if l and not l.startswith("##")]
        yield name, source, want


def with_file(data, args, stdin=b""):
    fd, path = tempfile.mkstemp()
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
        return run([path if a == "FILE" else a for a in args], stdin)
    finally:
        os.unlink(path)


def wants_error(want):
    return want[0][len("error: "):] if want and want[0].startswith("error: ") else None


def check_error(rc, err, text):
    if rc != 1:
        return "exit code %d, 1 wanted" % rc
    return None if text in err else "message: %s\nwanted: %s" % (err.strip(), text)


def parser_case(source, want):
    rc, out, err = with_file(source, ["ast", "FILE"])
    if wants_error(want):
        return check_error(rc, err, wants_error(want))
    if rc:
        return "exit code %d: %s" % (rc, err)
    got = [json.loads(l) for l in out.decode().splitlines()]
    if len(got) != len(want):
        return "%d instructions, %d wanted:\n%s" % (len(got), len(want), out.decode())
    for g, w in zip(got, want):
        for key, value in json.loads(w).items():
            if key == "child":
                same = all(g.get("child", {}).get(k) == v for k, v in value.items())
            else:
                same = g.get(key) == value
            if not same:
                return "%s: %s\nwanted: %s" % (key, json.dumps(g.get(key)), json.dumps(value))
    return None


def ignore_case(source, want):
    paths = "".join(l[2:] + "\n" for l in want).encode()
    rc, out, err = with_file(source, ["ignore", "FILE"], paths)
    if wants_error(want):
        return check_error(rc, err, wants_error(want))
    got = out.decode().splitlines()
    bad = ["%s (wanted %s)" % (g, w[0]) for g, w in zip(got, want) if g != w]
    return "exit code %d: %s" % (rc, err) if rc else "\n".join(bad)


def lint_case(source, want):
    rc, out, _ = run(["lint"], source)
    got = out.decode().splitlines()
    return None if got == want else "\n".join(["got:"] + got + ["wanted:"] + want)


def expand_file(path):
    with open(path, encoding="utf-8") as f:
        questions = [json.loads(l) for l in f if l.strip() and not l.startswith("##")]
    text = "".join(json.dumps({k: v for k, v in q.items() if k != "want"}) + "\n" for q in questions)
    rc, out, err = run(["expand"], text.encode())
    answers = out.decode().splitlines()
    if rc or len(answers) != len(questions):
        report(path, "exit code %d, %d answers for %d questions: %s"
               % (rc, len(answers), len(questions), err))
        return
    for q, line in zip(questions, answers):
        a, want = json.loads(line), q["want"]
        if isinstance(want, dict):
            good = want["error"] in a.get("error", "\0")
        else:
            good = a == {"words" if isinstance(want, list) else "result": want}
        report("expand " + q["word"].replace("#", "\\#").replace("\n", " "),
               None if good else "%s\nwanted: %s" % (line, json.dumps(want)))


for f in files:
    kind = os.path.basename(f).split(".")[0].split("-")[0]
    if kind == "expand":
        expand_file(f)
        continue
    check = {"parser": parser_case, "ignore": ignore_case, "lint": lint_case}[kind]
    for name, source, want in cases(f):
        report("%s: %s" % (kind, name), check(source, want))
print("1..%d" % count)
sys.exit(failed != 0)
