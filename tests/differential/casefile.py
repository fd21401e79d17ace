"""Reads cases/*.txt: each file holds the cases of one topic.

    ==== NAME
    # args: --build-arg X=1          more arguments of the build, for both builders (shell words)
    # fails: TEXT                    both must fail; TEXT is in what strake prints
    # differs: FIELD: WHY            a difference that is right (see below)
    # encoding: bom | crlf           of the Dockerfile
    FROM busybox                     the Dockerfile, up to the first `-- `
    COPY a /d/
    -- a 0640                        a file; its content follows. 0644 unless said
    hello
    -- sub/ 0700                     a directory; 0755 unless said
    -- link -> a                     a symbolic link
    -- hard = a                      a hard link
    -- a.tar.gz tar                  an archive (tar, .gz .bz2 .xz), one entry a line:
    f 0644 1:2 path content          f file, d directory, l symbolic link, h hard link (content is
    l 0777 0:0 path target           what it points to)

FIELD is what the comparison calls it: `result`, a key of the config (`Env`), `history N` or
`/path`. A difference that is not listed fails the test, and so does a listed one that is gone.
"""

import collections
import gzip
import io
import os
import re
import shlex
import tarfile

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases")
MTIME = 1600000000
Case = collections.namedtuple("Case", "name args fails differs dockerfile files text")
File = collections.namedtuple("File", "path mode kind content")  # kind: file, dir, link, hard, tar


def parse_section(line):
    """A `-- ` line without its dashes → File without content."""
    for mark, kind in ((" -> ", "link"), (" = ", "hard")):
        if mark in line:
            path, target = line.split(mark)
            return File(path, None, kind, target)
    path, mode, tar = re.match(r"(.*?)(?: ([0-7]{4}))?( tar)?$", line).groups()
    kind = "tar" if tar else "dir" if path.endswith("/") else "file"
    return File(path, int(mode or ("0755" if kind == "dir" else "0644"), 8), kind, "")


def parse_case(name, text):
    header = {"args": [], "fails": [], "differs": [], "encoding": []}
    lines = text.split("\n")
    while lines:
        match = re.match(r"# (args|fails|differs|encoding): (.*)$", lines[0])
        if not match:
            break
        header[match.group(1)].append(match.group(2))
        lines.pop(0)
    sections = re.split(r"(?m)^-- (.*)\n", "\n".join(lines))
    dockerfile, files = sections[0], []
    for head, body in zip(sections[1::2], sections[2::2]):
        section = parse_section(head)
        files.append(section._replace(content=body) if section.kind in ("file", "tar") else section)
        assert section.kind in ("file", "tar") or not body, "%s: %s has content" % (name, head)
    data = dockerfile.encode()
    for encoding in header["encoding"]:
        data = {"bom": b"\xef\xbb\xbf" + data, "crlf": data.replace(b"\n", b"\r\n")}[encoding]
    differs = dict(d.split(": ", 1) for d in header["differs"])
    assert len(differs) == len(header["differs"]), "%s: two `differs` of one field" % name
    return Case(name, shlex.split(" ".join(header["args"])), " ".join(header["fails"]), differs,
                data, files, text)


def load(folder=FOLDER):
    cases = []
    for topic in sorted(os.listdir(folder)):
        with open(os.path.join(folder, topic)) as f:
            parts = re.split(r"(?m)^==== (.*)\n", f.read())
        assert not parts[0].strip(), "%s: text before the first case" % topic
        for name, text in zip(parts[1::2], parts[2::2]):
            name = "%s-%s" % (os.path.splitext(topic)[0], name)
            cases.append(parse_case(name, text.rstrip("\n") + "\n"))
    names = [c.name for c in cases]
    assert len(set(names)) == len(names), [n for n in names if names.count(n) > 1]
    return cases


def archive(name, lines):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for line in lines.splitlines():
            kind, mode, owner, path, *rest = line.split(" ", 4)
            info = tarfile.TarInfo(path)
            info.mode, info.mtime = int(mode, 8), MTIME
            info.uid, info.gid = map(int, owner.split(":"))
            content = " ".join(rest)
            info.type = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE,
                         "h": tarfile.LNKTYPE}[kind]
            if kind == "f":
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.encode()))
            else:
                info.linkname = content
                tar.addfile(info)
    data = out.getvalue()
    if name.endswith("gz"):
        return gzip.compress(data, mtime=0)
    if name.endswith("bz2"):
        import bz2
        return bz2.compress(data)
    if name.endswith("xz"):
        import lzma
        return lzma.compress(data)
    return data


def write_context(case, root, uid, gid):
    """The context's files below `root`, all of one date so that no stat cache can tell them
    apart by accident."""
    made = []
    for item in case.files + [File("Dockerfile", 0o644, "file", None)]:
        path = os.path.join(root, item.path.rstrip("/"))
        parent = os.path.dirname(path)
        while not os.path.isdir(parent):
            made.append(parent)
            parent = os.path.dirname(parent)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if item.kind == "link":
            os.symlink(item.content, path)
        elif item.kind == "hard":
            os.link(os.path.join(root, item.content), path)
        elif item.kind == "dir":
            os.makedirs(path, exist_ok=True)
        else:
            data = (case.dockerfile if item.content is None else
                    archive(item.path, item.content) if item.kind == "tar" else
                    item.content.encode())
            with open(path, "wb") as f:
                f.write(data)
        os.chown(path, uid, gid, follow_symlinks=False)
        made.append(path)
    modes = {os.path.join(root, f.path.rstrip("/")): f.mode for f in case.files}
    for path in sorted(set(made), reverse=True):
        if not os.path.islink(path):
            default = 0o755 if os.path.isdir(path) else 0o644
            if modes.get(path, default) is not None:
                os.chmod(path, modes.get(path, default))
            os.utime(path, (MTIME, MTIME))
        os.chown(path, uid, gid, follow_symlinks=False) if os.path.isdir(path) else None
