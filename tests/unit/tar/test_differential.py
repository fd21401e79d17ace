#!/usr/bin/python3
"""The tar code against GNU tar, bsdtar and Python's tarfile, both ways, in TAP.

usage: test_differential.py TAR_TOOL

Reading: the same directory packed by each program in each of its formats must list the same as the
file system itself. Writing: what our writer makes of the directory must be read the same by all of
them. A program that is not there is a skip, which MUST_WORK=1 turns into a failure.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

tool = sys.argv[1]
count = failed = 0


def ok(cond, what):
    global count, failed
    count += 1
    failed += not cond
    print(f"{'ok' if cond else 'not ok'} {count} - {what}", flush=True)
    return cond


def skip(what):
    if os.environ.get("MUST_WORK") == "1":
        return ok(False, f"{what} is needed")
    global count
    count += 1
    print(f"ok {count} - # SKIP {what} is not installed", flush=True)


def run(*args, **kw):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


def make_tree(root, rich):
    """rich: names and times that v7 and ustar cannot hold."""
    def put(path, data, mode=0o644, mtime=1000000000):
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data)
        os.chmod(full, mode)
        os.utime(full, (mtime, mtime))

    put(b"a/empty".decode(), b"")
    put("a/one", b"1", 0o755)
    put("a/block", b"b" * 512)
    put("a/large", bytes(range(256)) * 12345)
    put("a.b", b"sorts behind the directory")
    put("suid", b"x")
    os.chmod(os.path.join(root, "suid"), 0o4755)
    put("with space/and\ttab", b"odd")
    os.mkdir(os.path.join(root, "sticky"))
    os.chmod(os.path.join(root, "sticky"), 0o1777)
    os.symlink("../a/one", os.path.join(root, "a/sym"))
    os.symlink("/nowhere/at/all", os.path.join(root, "dangling"))
    os.link(os.path.join(root, "a/one"), os.path.join(root, "zz-hard"))
    os.link(os.path.join(root, "a/one"), os.path.join(root, "0-hard"))
    put("p" * 60 + "/" + "q" * 90, b"prefix and name")
    if not rich:
        return
    put("n" * 200, b"long name")
    put("d" * 120 + "/" + "e" * 120 + "/" + "f" * 120, b"long path")
    os.symlink("t" * 300, os.path.join(root, "long-link"))
    os.link(os.path.join(root, "n" * 200), os.path.join(root, "long-hard"))
    put("uni-\u00e9\u4e16", b"unicode")
    put("fraction", b"x", mtime=1000000000.5)


def make_sparse(root):
    path = os.path.join(root, "sparse")
    with open(path, "wb") as f:
        f.truncate(3 << 20)
        for i in range(30):
            f.seek(i * 100000 + 7)
            f.write(b"data%d" % i)


def expected(root):
    """{path: (type, mode, size, sha256, symlink target)} and the groups of hard links."""
    out, groups = {}, {}
    root = os.fsencode(root)
    for base, dirs, files in os.walk(root):
        for name in dirs + files:
            full = os.path.join(base, name)
            path = os.path.relpath(full, root)
            st = os.lstat(full)
            if os.path.islink(full):
                out[path] = ("symlink", 0o777, 0, None, os.readlink(full), int(st.st_mtime))
            elif os.path.isdir(full):
                out[path] = ("dir", st.st_mode & 0o7777, 0, None, b"", int(st.st_mtime))
            else:
                with open(full, "rb") as f:
                    digest = hashlib.sha256(f.read()).hexdigest()
                out[path] = ("file", st.st_mode & 0o7777, st.st_size, digest, b"",
                             int(st.st_mtime))
                if st.st_nlink > 1:
                    groups.setdefault(st.st_ino, []).append(path)
    return out, sorted(sorted(g) for g in groups.values())


def seen_by_us(archive):
    r = run(tool, "list", archive)
    if r.returncode:
        print("#", r.stderr.decode(errors="replace").strip())
        return None, None
    out, links = {}, {}
    for line in r.stdout.splitlines():
        e = json.loads(line)
        path, link = bytes.fromhex(e["path"]), bytes.fromhex(e["link"])
        if path == b"":
            continue
        if e["type"] == "hardlink":
            links.setdefault(link, [link]).append(path)
            out[path] = out[link]
        else:
            out[path] = (e["type"], e["mode"], e["size"], e.get("sha256"), link, e["mtime"])
    return out, sorted(sorted(g) for g in links.values())


def same(got, want, what):
    if not ok(got == want, what) and got[0] is not None:
        for path in sorted(set(got[0]) | set(want[0])):
            if got[0].get(path) != want[0].get(path):
                print("#", path, "got", got[0].get(path), "want", want[0].get(path))
        if got[1] != want[1]:
            print("# links", got[1], want[1])


def pack_python(root, archive, fmt):
    with tarfile.open(archive, "w", format=fmt) as t:
        t.add(root, arcname=".")


def reading(plain, rich, work):
    archive = os.path.join(work, "x.tar")
    for root, formats in ((plain, ["v7", "ustar", "oldgnu", "gnu", "pax"]),
                          (rich, ["oldgnu", "gnu", "pax"])):
        for fmt in formats:
            if fmt == "v7" and root == plain:
                # v7 has no prefix: leave the long path out
                args = ["--exclude=ppp*"]
                want = {k: v for k, v in expected(root)[0].items() if not k.startswith(b"ppp")}
                want = (want, expected(root)[1])
            else:
                args, want = [], expected(root)
            r = run("tar", "-C", root, f"--format={fmt}", *args, "-cf", archive, ".")
            if ok(r.returncode == 0, f"GNU tar packs {fmt}"):
                same(seen_by_us(archive), want, f"GNU tar {fmt} reads back")
    for version in ("oldgnu", "gnu", "0.0", "0.1", "1.0"):
        args = [f"--format={version}"] if "gnu" in version else \
            ["--format=pax", f"--sparse-version={version}"]
        run("tar", "-C", rich, "--sparse", *args, "-cf", archive, ".")
        same(seen_by_us(archive), expected(rich), f"GNU tar sparse {version} reads back")
    for comp in ("--gzip", "--zstd"):
        r = run("tar", "-C", rich, comp, "-cf", archive, ".")
        if r.returncode == 0:
            same(seen_by_us(archive), expected(rich), f"GNU tar {comp} reads back")
    for fmt, name in ((tarfile.USTAR_FORMAT, "ustar"), (tarfile.GNU_FORMAT, "gnu"),
                      (tarfile.PAX_FORMAT, "pax")):
        root = plain if name == "ustar" else rich
        pack_python(root, archive, fmt)
        same(seen_by_us(archive), expected(root), f"Python's tarfile {name} reads back")
    if not shutil.which("bsdtar"):
        return skip("bsdtar")
    for fmt in ("ustar", "pax", "rpax", "gnutar"):
        root = plain if fmt == "ustar" else rich
        r = run("bsdtar", "-C", root, f"--format={fmt}", "-cf", archive, ".",
                env={**os.environ, "LC_ALL": "C.UTF-8"})
        if ok(r.returncode == 0, f"bsdtar packs {fmt}"):
            same(seen_by_us(archive), expected(root), f"bsdtar {fmt} reads back")


def seen_by_python(archive):
    out, links = {}, {}
    with tarfile.open(archive, errors="surrogateescape") as t:
        for m in t:
            path = os.fsencode(m.name)
            if m.islnk():
                link = os.fsencode(m.linkname)
                links.setdefault(link, [link]).append(path)
                out[path] = out[link]
            elif m.issym():
                out[path] = ("symlink", m.mode, 0, None, os.fsencode(m.linkname), int(m.mtime))
            elif m.isdir():
                out[path] = ("dir", m.mode, 0, None, b"", int(m.mtime))
            else:
                digest = hashlib.sha256(t.extractfile(m).read()).hexdigest()
                out[path] = ("file", m.mode, m.size, digest, b"", int(m.mtime))
    return out, sorted(sorted(g) for g in links.values())


def writing(rich, work):
    archive = os.path.join(work, "ours.tar")
    for i in range(2):
        with open(archive + str(i), "wb") as f:
            r = subprocess.run([tool, "write", rich], stdout=f, stderr=subprocess.PIPE)
        ok(r.returncode == 0, "our writer packs")
    with open(archive + "0", "rb") as a, open(archive + "1", "rb") as b:
        ok(a.read() == b.read(), "the same bytes twice")
    archive += "0"
    want = expected(rich)
    same(seen_by_us(archive), want, "we read it back")
    same(seen_by_python(archive), want, "Python's tarfile reads it")
    for program in ("tar", "bsdtar"):
        if not shutil.which(program):
            skip(program)
            continue
        dest = os.path.join(work, "out-" + program)
        os.mkdir(dest)
        r = run(program, "-C", dest, "-xpf", archive, env={**os.environ, "LC_ALL": "C.UTF-8"})
        ok(r.returncode == 0 and not r.stderr, f"{program} unpacks it without a word")
        same(expected(dest), want, f"and {program} makes the same tree")


def main():
    work = tempfile.mkdtemp(prefix="strake-tar-")
    os.umask(0o022)
    try:
        plain, rich = os.path.join(work, "plain"), os.path.join(work, "rich")
        os.mkdir(plain)
        os.mkdir(rich)
        make_tree(plain, False)
        make_tree(rich, True)
        make_sparse(rich)
        reading(plain, rich, work)
        writing(rich, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"1..{count}")
    sys.exit(1 if failed else 0)


main()
