#!/usr/bin/python3
"""compare_report.py TABLE [--html FILE] [--readme FILE] - prints what examples/compare measured, and
writes it as a page of its own, and its sizes into README.md between the markers.

TABLE has a line an example, tab-separated: name; size in bytes, cold and edited build in milliseconds,
of the single-stage image, then of the multi-stage one.
"""

import argparse
import datetime
import html
import re


def size(n):
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return "%.3g %s" % (n, unit) if n < 1000 else "%.2f %s" % (n, unit)
        n /= 1000.0


def seconds(ms):
    return "%.2f s" % (ms / 1000.0) if ms < 10000 else "%.0f s" % (ms / 1000.0)


def read(path):
    with open(path) as f:
        for line in f:
            name, *numbers = line.rstrip("\n").split("\t")
            yield (name, *map(int, numbers))


def ratio(row):
    n = row[1] / row[4]
    return "1/%.0f" % n if n >= 10 else "1/%.1f" % n


def markdown(rows):
    yield "| example | one stage | several stages | |"
    yield "|---|--:|--:|--:|"
    for row in rows:
        yield "| [%s](examples/%s) | %s | %s | %s |" % (row[0], row[0], size(row[1]), size(row[4]),
                                                       ratio(row))


def plain_sizes(rows):
    form = "%-18s %10s %10s %7s"
    yield form % ("", "one stage", "several", "")
    for row in rows:
        yield form % (row[0], size(row[1]), size(row[4]), ratio(row))


def plain(rows):
    form = "%-18s %10s %10s %7s   %9s %9s   %9s %9s"
    yield form % ("", "one stage", "several", "", "cold: one", "several", "edit: one", "several")
    for row in rows:
        yield form % (row[0], size(row[1]), size(row[4]), ratio(row), seconds(row[2]),
                      seconds(row[5]), seconds(row[3]), seconds(row[6]))


STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --soft: #59636e; --line: #d1d9e0; --page: #fff;
  --one: #a3b1c2; --many: #1f6feb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d;
  --page: #0d1117; --one: #57606a; --many: #4493f8; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 60rem; margin: 3rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p, .key { color: var(--soft); }
.row { display: grid; grid-template-columns: 10rem 1fr; gap: 1rem; align-items: center;
  padding: .5rem 0; border-top: 1px solid var(--line); }
.bar { display: flex; align-items: center; gap: .6rem; font-size: .8rem; color: var(--soft);
  white-space: nowrap; }
.bar i { height: .8rem; min-width: 2px; border-radius: 2px; background: var(--one); }
.bar.many i, .key .many { background: var(--many); }
.key b { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin: 0 .4rem 0 1rem;
  background: var(--one); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .35rem .6rem; border-top: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
"""


def chart(title, rows, one, many, show):
    longest = max(max(r[one], r[many]) for r in rows) or 1
    yield "<h2>%s</h2>" % title
    for r in rows:
        yield '<div class="row"><span>%s</span><div>' % html.escape(r[0])
        for kind, column in (("one", one), ("many", many)):
            yield '<div class="bar %s"><i style="width:%.2f%%"></i>%s</div>' % (
                kind, 80.0 * r[column] / longest, show(r[column]))
        yield "</div></div>"


def page(rows, date):
    yield '<!doctype html><html lang="en"><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width"><title>One stage or several</title>'
    yield "<style>%s</style>" % STYLE
    yield "<h1>One stage or several</h1>"
    yield ("<p>Sizes of the images and times of their builds with strake, measured on %s by "
           "<code>examples/compare</code>. Cold: an empty store, base images from a registry on the "
           "same machine.</p>" % date)
    yield '<p class="key"><b></b>one stage<b class="many"></b>several stages</p>'
    yield from chart("Size of the image", rows, 1, 4, size)
    yield from chart("Cold build", rows, 2, 5, seconds)
    yield from chart("Build after an edit of a source file", rows, 3, 6, seconds)
    yield "<h2>The figures</h2><table><tr><th>example<th>one stage<th>several<th>cold: one<th>several"
    yield "<th>edited: one<th>several</tr>"
    for name, s1, c1, e1, s2, c2, e2 in rows:
        yield "<tr><td>%s<td>%s<td>%s<td>%s<td>%s<td>%s<td>%s</tr>" % (
            html.escape(name), size(s1), size(s2), seconds(c1), seconds(c2), seconds(e1), seconds(e2))
    yield "</table></html>"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--html")
    parser.add_argument("--readme")
    args = parser.parse_args()
    rows = sorted(read(args.table), key=lambda r: -r[1] / r[4])
    date = datetime.date.today().isoformat()
    print("\n".join(plain(rows) if args.html else plain_sizes(rows)))
    if args.html:
        with open(args.html, "w") as f:
            f.write("\n".join(page(rows, date)) + "\n")
        print("written: " + args.html)
    if args.readme:
        with open(args.readme) as f:
            text = f.read()
        block = "<!-- examples/compare -->\nSizes of the images, measured on %s:\n\n%s\n<!-- end -->" % (
            date, "\n".join(markdown(rows)))
        text, n = re.subn(r"<!-- examples/compare -->.*?<!-- end -->", lambda _: block, text, flags=re.S)
        if n != 1:
            raise SystemExit("%s: no markers for the table" % args.readme)
        with open(args.readme, "w") as f:
            f.write(text)


if __name__ == "__main__":
    main()
