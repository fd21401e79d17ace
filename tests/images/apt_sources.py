#!/usr/bin/python3
"""The host's apt mirrors, rewritten for another suite: one-line entries on standard output.

    apt_sources.py SUITE

Reads /etc/apt/sources.list and sources.list.d (both formats), takes the entries that carry the
host's own release (its codename, -updates, -security), and names SUITE in its place. Third-party
entries are left out. STRAKE_TEST_MIRROR overrides the mirror; a host that is not Debian gets
Debian's own.
"""

import glob
import os
import re
import sys


def entries_one_line(text):
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+\S", line)
        if match:
            yield match.group(1), match.group(2)


def entries_deb822(text):
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):\s*(.*)$", paragraph, re.M))
        if "deb" not in fields.get("Types", "").split() or fields.get("Enabled", "yes") == "no":
            continue
        for uri in fields.get("URIs", "").split():
            for suite in fields.get("Suites", "").split():
                yield uri, suite


def host_entries():
    files = ["/etc/apt/sources.list"] + sorted(glob.glob("/etc/apt/sources.list.d/*"))
    for path in files:
        if not os.path.isfile(path):
            continue
        with open(path, errors="replace") as f:
            text = f.read()
        if path.endswith(".sources"):
            yield from entries_deb822(text)
        elif path.endswith(".list"):
            yield from entries_one_line(text)


def codename():
    with open("/etc/os-release") as f:
        fields = dict(line.rstrip("\n").split("=", 1) for line in f if "=" in line)
    if fields.get("ID", "").strip('"') != "debian":
        return None
    return fields.get("VERSION_CODENAME", "").strip('"')


def main():
    suite = sys.argv[1]
    host = codename()
    lines = []
    mirror = os.environ.get("STRAKE_TEST_MIRROR")
    if mirror:
        lines.append((mirror, suite))
    elif host:
        for uri, name in host_entries():
            if name in (host, host + "-updates", host + "-security", host + "/updates"):
                lines.append((uri, name.replace(host, suite, 1)))
    if not any(name == suite for _, name in lines):
        lines.insert(0, ("http://deb.debian.org/debian", suite))
    seen = []
    for uri, name in lines:
        line = "deb %s %s main" % (uri, name)
        if line not in seen:
            seen.append(line)
    print("\n".join(seen))


if __name__ == "__main__":
    main()
