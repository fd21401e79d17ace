"""From samples to medians, ratios, the table on the terminal and the page."""
import html
import statistics


def median(v, key):
    return statistics.median(s[key] for s in v)


def summary(case, result):
    """What results.json holds of a case: medians, ratios, which goals are met, and all samples."""
    builders = {}
    for name, v in result["samples"].items():
        if not v:
            builders[name] = {"failed": result["failed"].get(name, "no sample")}
            continue
        builders[name] = {
            "seconds": median(v, "seconds"), "fastest": min(s["seconds"] for s in v),
            "cpu_seconds": statistics.median(s["user"] + s["system"] for s in v),
            "peak_kib": max(s["peak_kib"] for s in v), "daemon_kib": max(s["daemon_kib"] for s in v),
            "samples": [s["seconds"] for s in v]}
        if "bytes" in v[0]:
            builders[name]["bytes"] = v[0]["bytes"]
    s = builders.get("strake", {})
    # An output that is much larger (docker save compresses nothing) is not the same work.
    rivals = {n: b["seconds"] for n, b in builders.items() if not n.startswith("strake")
              and "seconds" in b and b.get("bytes", 0) <= (case.goal_bytes or float("inf"))}
    best = min(rivals, key=rivals.get) if rivals else None
    r = {"about": case.about, "builders": builders, "limit": result["limit"], "limit_name": case.limit,
         "best_peer": best}
    if best and "seconds" in s:
        r["ratio"] = rivals[best] / s["seconds"]
    if result["limit"] and "seconds" in s:
        r["over_limit"] = s["seconds"] / result["limit"]
    r["goals"] = goals(case, r, builders)
    return r


def goals(case, r, builders):
    """[text, met] of each goal that can be judged in this run."""
    g = []
    s, rootless = builders.get("strake", {}), builders.get("strake rootless", {})
    if case.goal_seconds and "seconds" in s:
        g.append([f"at most {span(case.goal_seconds)}", s["seconds"] <= case.goal_seconds])
    if case.goal_rootless and "seconds" in rootless:
        g.append([f"rootless at most {span(case.goal_rootless)}",
                  rootless["seconds"] <= case.goal_rootless])
    if case.goal_ratio and "ratio" in r:
        g.append([f"{case.goal_ratio:g} times the best peer", r["ratio"] >= case.goal_ratio])
    if case.goal_limit and "over_limit" in r:
        g.append([f"within {case.goal_limit:g} of the limit", r["over_limit"] <= case.goal_limit])
    if case.goal_bytes and "bytes" in s:
        g.append([f"output at most {case.goal_bytes / 1e6:.0f} MB", s["bytes"] <= case.goal_bytes])
    for name in ("strake", "strake rootless"):
        if "peak_kib" in builders.get(name, {}):
            g.append([f"{name}: at most 48 MiB of memory", builders[name]["peak_kib"] <= 48 * 1024])
    return g


def span(t):
    if t is None:
        return "-"
    return f"{t * 1000:.1f} ms" if t < 1 else f"{t:.2f} s"


def mib(kib):
    return f"{kib / 1024:.0f} MiB"


class Table:
    def __init__(self, names):
        self.names = names
        self.widths = [max(len(n), 9) + 1 for n in names]
        head = f"{'case':<13}" + "".join(f"{n:>{w}}" for n, w in zip(names, self.widths))
        head += f"{'limit':>10}{'best peer/':>12}{'strake/':>9}{'memory':>9}  goals"
        print(head)
        print(" " * (13 + sum(self.widths) + 10) + f"{'strake':>12}{'limit':>9}")
        print("-" * len(head), flush=True)

    def row(self, name, r):
        cells = "".join(f"{span(r['builders'][n].get('seconds')):>{w}}"
                        for n, w in zip(self.names, self.widths))
        ratio = f"{r['ratio']:.1f}" if "ratio" in r else "-"
        over = f"{r['over_limit']:.2f}" if "over_limit" in r else "-"
        peaks = [b["peak_kib"] for n, b in r["builders"].items()
                 if n.startswith("strake") and "peak_kib" in b]
        memory = mib(max(peaks)) if peaks else "-"
        missed = [text for text, met in r["goals"] if not met]
        print(f"{name:<13}{cells}{span(r['limit']):>10}{ratio:>12}{over:>9}{memory:>9}  "
              + ("missed: " + "; ".join(missed) if missed else "met" if r["goals"] else ""), flush=True)

    def end(self, data):
        print(f"\nbinary, stripped: {data['binary_bytes'] / 1048576:.2f} MiB (goal: 3)")
        for name, value in data["limits"].items():
            print(f"{name}: {value:.0f}")
        for name, version in data["builders"].items():
            print(f"{name}: {version}")
        for name, why in data["left_out"].items():
            print(f"left out: {name}: {why[:100]}")
        print(f"{data['seconds'] / 60:.0f} minutes, load {data['load_at_start']:.1f} at the start")


# --- docs/performance.md --------------------------------------------------------------------------


def markdown(data):
    m = data["machine"]
    names = list(data["builders"])
    lines = [f"{data['when'][:10]}, {m['cpu']}, {m['cores']} cores, {m['memory_mib'] // 1024} GiB, {m['system']}, "
             f"load {data['load_at_start']:.1f} at the start; binary {data['binary_bytes'] / 1048576:.2f} MiB.", "",
             "| case | " + " | ".join(names) + " | limit | best peer / strake | strake / limit | memory |",
             "|---|" + "---:|" * (len(names) + 4)]
    for name, r in data["cases"].items():
        peaks = [b["peak_kib"] for n, b in r["builders"].items() if n.startswith("strake") and "peak_kib" in b]
        cells = [span(r["builders"].get(n, {}).get("seconds")) for n in names]
        cells += [span(r["limit"]), f"{r['ratio']:.1f}" if "ratio" in r else "-",
                  f"{r['over_limit']:.2f}" if "over_limit" in r else "-", mib(max(peaks)) if peaks else "-"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    missed = [f"- {name}: {text}" for name, r in data["cases"].items() for text, met in r["goals"] if not met]
    if missed:
        lines += ["", "Goals missed in this run:", ""] + missed
    lines += [""] + [f"- {k}: {v:.0f}" for k, v in data["limits"].items()]
    lines += [f"- {n}: {v}" for n, v in data["builders"].items() if not n.startswith("strake")]
    return "\n".join(lines) + "\n"


# --- the page --------------------------------------------------------------------------------------

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;
background:#fff}h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .2rem}
p{margin:.2rem 0 .6rem;color:#4a5560}.bar{display:grid;grid-template-columns:9rem 1fr 8.5rem 10rem;
gap:.6rem;align-items:center;margin:.15rem 0}.bar b{font-weight:500}.track{background:#eef1f4;
border-radius:3px}.track i{display:block;height:1.1rem;border-radius:3px;background:#9aa7b4;min-width:2px}
.strake i{background:#1f7a4d}.limit i{background:#d9a441}.num{text-align:right;
font-variant-numeric:tabular-nums}.small{color:#6a7580;font-size:.85rem}.met{color:#1f7a4d}
.missed{color:#b3361f}table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.15rem .8rem .15rem 0;
text-align:left;font-weight:400;border-bottom:1px solid #e6eaee}th{color:#6a7580}
@media(prefers-color-scheme:dark){body{background:#14171a;color:#e4e8ec}p,.small,th{color:#9aa5b0}
.track{background:#262b31}td,th{border-color:#2c3238}.met{color:#5cc68f}.missed{color:#f0806a}}
"""


def bar(kind, name, value, longest, extra):
    e = html.escape
    width = 100 * value / longest if longest else 0
    return (f'<div class="bar {kind}"><b>{e(name)}</b><span class="track"><i style="width:{width:.2f}%">'
            f'</i></span><span class="num">{e(span(value))}</span><span class="small">{e(extra)}</span>'
            "</div>")


def case_section(name, r):
    e = html.escape
    done = {n: b for n, b in r["builders"].items() if "seconds" in b}
    longest = max([b["seconds"] for b in done.values()] + [r["limit"] or 0])
    out = [f"<h2>{e(name)}</h2><p>{e(r['about'])}</p>"]
    for n, b in done.items():
        extra = mib(b["peak_kib"])
        if b["daemon_kib"]:
            extra += f" + daemon {mib(b['daemon_kib'])}"
        if "bytes" in b:
            extra += f", {b['bytes'] / 1e6:.0f} MB out"
        out.append(bar("strake" if n.startswith("strake") else "peer", n, b["seconds"], longest, extra))
    if r["limit"]:
        out.append(bar("limit", f"limit: {r['limit_name']}", r["limit"], longest, "the machine itself"))
    facts = []
    if "ratio" in r:
        facts.append(f"{r['ratio']:.1f} times as fast as {e(r['best_peer'])}")
    if "over_limit" in r:
        facts.append(f"{r['over_limit']:.2f} times the limit")
    facts += [f'<span class="{"met" if met else "missed"}">{"✓" if met else "✗"} {e(text)}</span>'
              for text, met in r["goals"]]
    out.append(f"<p>{' · '.join(facts)}</p>")
    for n, b in r["builders"].items():
        if "failed" in b:
            out.append(f'<p class="small">{e(n)}: {e(b["failed"][-160:])}</p>')
    return "".join(out)


def rows(pairs):
    return "".join(f"<tr><th>{html.escape(a)}</th><td>{html.escape(str(b))}</td></tr>" for a, b in pairs)


def page(data):
    m = data["machine"]
    facts = [("when", data["when"]), ("machine", f"{m['cpu']}, {m['cores']} cores, {m['memory_mib']} MiB"),
             ("system", m["system"]), ("load at the start", f"{data['load_at_start']:.2f}"),
             ("binary, stripped", f"{data['binary_bytes'] / 1048576:.2f} MiB")]
    facts += [(k, f"{v:.0f}") for k, v in data["limits"].items()]
    facts += list(data["builders"].items())
    facts += [("left out: " + k, v[:120]) for k, v in data["left_out"].items()]
    return ("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
            'content="width=device-width"><title>strake beside its peers</title>'
            f"<style>{STYLE}</style><h1>strake beside its peers</h1>"
            "<p>Medians of samples that alternate between the builders, all in one run on one machine. "
            "Memory is the largest process; shorter is better.</p>"
            + "".join(case_section(n, r) for n, r in data["cases"].items())
            + f"<h2>The machine and the builders</h2><table>{rows(facts)}</table></html>\n")
