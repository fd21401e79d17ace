#!/usr/bin/python3
"""compare_report.py TABLE [--html FILE] [--readme FILE] - prints what examples/compare measured, and
writes it as a page of its own, and its sizes into README.md between the markers.

TABLE has a line an example, tab-separated: "stages" or "order"; name; what the tutorial says of the
sizes, or nothing; size in bytes, cold and edited build in milliseconds (0: not measured), of the one way,
then of the other.
"""

import argparse
import datetime
import html
import os
import platform
import re
import statistics
import subprocess
from collections import namedtuple

Row = namedtuple("Row", "kind name claim size1 cold1 edit1 size2 cold2 edit2")


def digits(n):
    return "%.0f" % n if n >= 99.95 else "%.1f" % n if n >= 9.995 else "%.2f" % n


def size(n):
    for unit in ("kB", "MB", "GB"):
        n /= 1000.0
        if n < 999.5 or unit == "GB":
            return "%s %s" % (digits(n), unit)


def seconds(ms):
    return "%s s" % (digits(ms / 1000.0) if ms < 99950 else "%.0f" % (ms / 1000.0))


def minutes(ms):
    whole = round(ms / 1000.0)
    return "%d min %d s" % divmod(whole, 60) if whole >= 60 else "%d s" % whole


def factor(row):
    """How many times smaller the other way's image is."""
    n = row.size1 / row.size2
    return "%.0f×" % n if n >= 9.95 else "%.1f×" % n


def read(path):
    with open(path, encoding="utf-8") as f:
        for line in f:
            kind, name, claim, *numbers = line.rstrip("\n").split("\t")
            yield Row(kind, name, claim, *map(int, numbers))


def plain(rows, times):
    form = "%-22s %9s %9s %6s" + ("   %12s %9s   %12s %9s" if times else "%.0s%.0s%.0s%.0s")
    for kind, head in (("stages", ("one stage", "several")), ("order", ("before", "after"))):
        part = [r for r in rows if r.kind == kind]
        if part:
            yield form % ("", *head, "", "cold: " + head[0].split()[0], head[1],
                          "edit: " + head[0].split()[0], head[1])
        for r in part:
            yield form % (r.name, size(r.size1), size(r.size2), factor(r), seconds(r.cold1),
                          seconds(r.cold2), seconds(r.edit1), seconds(r.edit2))


def markdown(rows):
    yield "| example | one stage | several stages | smaller | the tutorial says |"
    yield "|---|--:|--:|--:|---|"
    for r in rows:
        yield "| [%s](examples/%s) | %s | %s | %s | %s |" % (
            r.name, r.name, size(r.size1), size(r.size2), factor(r), r.claim)


def first_line(path, pattern):
    try:
        with open(path, encoding="utf-8") as f:
            found = re.search(pattern, f.read(), re.M)
            return found.group(1).strip() if found else None
    except OSError:
        return None


def machine():
    """What the times depend on: processor, memory, system."""
    memory = first_line("/proc/meminfo", r"^MemTotal:\s+(\d+)")
    yield "%d × %s" % (len(os.sched_getaffinity(0)),
                       first_line("/proc/cpuinfo", r"^model name\s*:(.*)") or platform.machine())
    if memory:
        yield "%.0f GB memory" % (int(memory) * 1024 / 1e9)
    yield first_line("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)') or "unknown system"
    yield "Linux " + re.match(r"[\d.]+", platform.release()).group(0).rstrip(".")


def commit():
    try:
        git = ["git", "-C", os.path.dirname(os.path.abspath(__file__)), "rev-parse", "--short", "HEAD"]
        return subprocess.run(git, check=True, text=True, capture_output=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --soft: #59636e; --line: #d8dee4; --page: #fff;
  --card: #f6f8fa; --one: #9aa7b5; --many: #1f6feb; --link: #0969da; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #30363d;
  --page: #0d1117; --card: #161b22; --one: #6e7681; --many: #4493f8; --link: #58a6ff; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif;
  color: var(--ink); background: var(--page); max-width: 76rem; margin: 0 auto; padding: 2.5rem 1.5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .25rem; }
p { max-width: 48rem; margin: .5rem 0; }
.soft, footer { color: var(--soft); }
.facts { font-size: .875rem; color: var(--soft); }
.facts span { white-space: nowrap; } .facts span:not(:last-child)::after { content: " ·"; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem;
  margin: 1.75rem 0 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.2rem; }
.card b { display: block; font-size: 1.4rem; line-height: 1.3; margin-top: .5rem; }
.card p { margin: .35rem 0 0; font-size: .9rem; } .card .soft { font-style: italic; }
.key { display: flex; gap: 1.5rem; font-size: .875rem; margin: .75rem 0; }
.key i { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .45rem;
  background: var(--one); } .key .many { background: var(--many); }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
col.name { width: 13.5rem; }
th, td { text-align: left; vertical-align: middle; padding: .5rem .75rem .5rem 0;
  border-top: 1px solid var(--line); font-weight: normal; overflow-wrap: anywhere; }
thead th { border-top: 0; font-size: .875rem; font-weight: 600; }
tbody th { font-weight: 600; font-size: .9rem; line-height: 1.3; }
tbody th small { display: block; font-weight: normal; color: var(--soft); }
.bar { display: flex; align-items: center; gap: .5rem; height: 1.15rem; font-size: .78rem;
  white-space: nowrap; font-variant-numeric: tabular-nums; }
.bar i { flex: none; height: .7rem; min-width: 2px; border-radius: 2px; background: var(--one); }
.bar.many i { background: var(--many); }
ul { max-width: 48rem; padding-left: 1.2rem; }
code { font: .9em ui-monospace, "DejaVu Sans Mono", monospace; }
a { color: var(--link); }
footer { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .875rem; }
@media (max-width: 46rem) {
  thead, col { display: none; } table, tbody, tr, th, td { display: block; width: auto; }
  tr { border-top: 1px solid var(--line); padding: .5rem 0; } th, td { border: 0; padding: .15rem 0; }
  td::before { content: attr(data-head); font-size: .78rem; color: var(--soft); } }
"""

MEASURES = (("Size of the image", "size", size), ("Cold build", "cold", seconds),
            ("Build after an edit", "edit", seconds))


# Where examples/compare has its stores.
DISK = subprocess.run(["stat", "-f", "-c", "%T", os.environ.get("TMPDIR", "/tmp")],
                      capture_output=True, text=True).stdout.strip() or "unknown"
TIMES = (
    "<li>Cold: an empty store (on " + html.escape(DISK) + "). "
    "The base images come from a registry on the same machine, other packages "
    "from Debian's mirrors and the npm registry: their network is in the times.</li>",
    "<li>After an edit: one line of one source file is changed, and the image built again. "
    "One measurement each.</li>")


def measured(rows):
    return [m for m in MEASURES if any(getattr(r, m[1] + "1") for r in rows)]


def chart(rows, one, many):
    """A table, a row an example, a column a measure, two bars a cell; a column has one scale."""
    measures = measured(rows)
    yield '<div class="key"><span><i></i>%s</span><span><i class="many"></i>%s</span></div>' % (one, many)
    yield '<table><colgroup><col class="name">%s</colgroup>' % ("<col>" * len(measures))
    yield "<thead><tr><th>Example</th>%s</tr></thead><tbody>" % "".join(
        "<th>%s</th>" % title for title, _, _ in measures)
    longest = {m: max(max(getattr(r, m + "1"), getattr(r, m + "2")) for r in rows) or 1
               for _, m, _ in measures}
    for r in rows:
        note = "tutorial: " + r.claim if r.claim else ""
        yield "<tr><th>%s%s</th>" % (html.escape(r.name),
                                     "<small>%s</small>" % html.escape(note) if note else "")
        for title, m, show in measures:
            yield '<td data-head="%s">' % title
            for way, label in (("1", one), ("2", many)):
                n = getattr(r, m + way)
                yield '<div class="bar%s" title="%s: %s"><i style="width:%.2f%%"></i>%s</div>' % (
                    " many" if way == "2" else "", label, show(n), 68.0 * n / longest[m], show(n))
            yield "</td>"
        yield "</tr>"
    yield "</tbody></table>"


def card(claim, verdict, text):
    return '<div class="card"><p class="soft">%s</p><b>%s</b><p>%s</p></div>' % (claim, verdict, text)


def cards(rows):
    """The tutorials' claims, and what became of them."""
    smaller = [r for r in rows if r.size1 > r.size2]
    best = max(rows, key=lambda r: r.size1 / r.size2)
    yield card("“Significantly reduce the size and attack surface of production images”",
               "%d of %d smaller" % (len(smaller), len(rows)),
               "%.1f× in the median; %s× for %s." % (
                   statistics.median(r.size1 / r.size2 for r in rows),
                   "%.0f" % (best.size1 / best.size2), best.name))
    if len(measured(rows)) < len(MEASURES):
        return
    cold = [r for r in rows if r.cold2 < r.cold1]
    edit = [r for r in rows if r.edit2 < r.edit1]
    yield card("“It takes far less time to complete the entire process”",
               "%d of %d faster, cold" % (len(cold), len(rows)),
               "%s for all in several stages, %s in one. Stages run side by side, but the final "
               "stage's base is one more to fetch, and some install packages a second time." % (
                   minutes(sum(r.cold2 for r in rows)), minutes(sum(r.cold1 for r in rows))))
    yield card("“Significantly reduce build times since individual stages can be cached”",
               "%d of %d faster, edited" % (len(edit), len(rows)),
               "%s for all in several stages, %s in one: either way the cache keeps the steps before "
               "the edited file; several stages also keep those beside it." % (
                   minutes(sum(r.edit2 for r in rows)), minutes(sum(r.edit1 for r in rows))))


def page(rows, date, strake):
    stages = [r for r in rows if r.kind == "stages"]
    order = [r for r in rows if r.kind == "order"]
    times = len(measured(rows)) == len(MEASURES)
    facts = [date, strake + (" (%s)" % commit() if commit() else ""), *machine()]
    yield '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield "<title>One stage or several: strake's examples measured</title>"
    yield "<style>%s</style>" % STYLE
    yield "<h1>One stage or several</h1>"
    yield ("<p>What multi-stage builds are worth: the applications of well-known tutorials, built by "
           "strake in one stage, with compilers and sources in the image, and in several.</p>")
    yield '<p class="facts">%s</p>' % "\n".join("<span>%s</span>" % html.escape(f) for f in facts)
    if stages:
        yield '<div class="cards">%s</div>' % "".join(cards(stages))
        yield "<h2>Sizes%s</h2>" % (" and times" if times else "")
        yield from chart(stages, "one stage", "several stages")
    if order and times:
        yield "<h2>The order of the steps</h2>"
        yield ("<p>The same steps in one stage, in two orders: before, all sources are copied ahead of "
               "<code>npm install</code>; after, <code>package.json</code> alone is.</p>")
        yield from chart(order, "before", "after")
    yield "<h2>How it was measured</h2><ul>"
    yield "<li>Size: the bytes of the image's layers, unpacked.</li>"
    if times:
        yield from TIMES
    yield ("<li>The bases are made of Debian's packages and called as on Docker Hub, so sizes differ from "
           "the tutorials', whose own figures stand beneath the names.</li></ul>")
    yield ("<footer>Written by <code>examples/compare</code>. The Dockerfiles: <code>examples/</code>, "
           "whose README also names the examples that are not compared, and why.</footer></html>")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--strake", default="strake", help="the version that built")
    parser.add_argument("--html")
    parser.add_argument("--readme")
    args = parser.parse_args()
    rows = sorted(read(args.table), key=lambda r: (r.kind != "stages", -r.size1 / r.size2))
    date = datetime.date.today().isoformat()
    print("\n".join(plain(rows, any(r.edit1 for r in rows))))
    if args.html:
        os.makedirs(os.path.dirname(os.path.abspath(args.html)), exist_ok=True)
        with open(args.html, "w", encoding="utf-8") as f:
            f.write("\n".join(page(rows, date, args.strake)) + "\n")
        print("written: " + args.html)
    if args.readme:
        with open(args.readme, encoding="utf-8") as f:
            text = f.read()
        stages = [r for r in rows if r.kind == "stages"]
        times = ", with the build times, cold and after an edit" if len(measured(stages)) > 1 else ""
        block = ("<!-- examples/compare -->\nSizes of the images, measured on %s; as a "
                 "[chart](docs/examples/compare.html)%s:\n\n%s\n<!-- end -->" % (
                     date, times, "\n".join(markdown(stages))))
        text, n = re.subn(r"<!-- examples/compare -->.*?<!-- end -->", lambda _: block, text, flags=re.S)
        if n != 1:
            raise SystemExit("%s: no markers for the table" % args.readme)
        with open(args.readme, "w", encoding="utf-8") as f:
            f.write(text)
        print("written: " + args.readme)


if __name__ == "__main__":
    main()
