"""Sources that strangers wrote, at the command line: git repositories (B3), tar contexts (B4), names
of downloads (B5), archives for ADD (T5), cache mounts shared with an enemy (S4), layers made to
confuse or exhaust the tar reader (T6, T7). The ids are RELIABILITY's: E (a named error) or C
(contained), the canary as it was, the store clean, nothing left behind."""

import gzip
import http.server
import io
import os
import subprocess
import tarfile
import threading

import pytest

from conftest import remove_tree
from test_security import hostile_layout, member, tar_of

pytestmark = pytest.mark.single


@pytest.fixture
def web(strake):
    """(directory, URL, answers): files of a directory, and for a raw path ("*": any) what `answers`
    says: (headers, body)."""
    www = strake.mkdir("www")
    answers = {}

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=www)

        def log_message(self, *args):
            pass

        def do_GET(self):
            headers, body = answers.get(self.path) or answers.get("*") or (None, None)
            if body is None:
                return super().do_GET()
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield www, "http://127.0.0.1:%d" % httpd.server_port, answers
    httpd.shutdown()
    httpd.server_close()


def refused(result, *words):
    assert 1 <= result.code <= 123, result
    assert not words or any(word in result.err for word in words), (words, result)


# --- B3: git ---------------------------------------------------------------------------------

class Repo:
    """A repository for a server that only serves files; branches made from raw objects."""

    def __init__(self, path):
        self.path = path
        os.mkdir(path)
        self.git("init", "-q", "-b", "main", ".")

    def git(self, *args, input=None):
        env = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null")
        run = subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *args],
                             cwd=self.path, env=env, input=input, capture_output=True)
        assert run.returncode == 0, run
        return run.stdout.decode().strip()

    def blob(self, text):
        return self.git("hash-object", "-w", "--stdin", input=text.encode())

    def branch(self, name, files):
        """files: [(mode, path, object id or text)]; names go into the tree as they are."""
        raw = b""
        for mode, path, what in sorted(files, key=lambda f: f[1]):
            if mode != "160000":
                what = what if mode == "40000" else self.blob(what)
            raw += b"%s %s\0%s" % (mode.encode(), path.encode(), bytes.fromhex(what))
        tree = self.git("hash-object", "--literally", "-t", "tree", "-w", "--stdin", input=raw)
        if name:
            commit = self.git("commit-tree", "-m", name, tree)
            self.git("update-ref", "refs/heads/" + name, commit)
            return commit
        return tree

    def done(self):
        self.git("update-server-info")


PLAIN = ("100644", "Dockerfile", "FROM scratch\nCOPY . /\n")


@pytest.fixture
def repo(web):
    www, url, _ = web
    repo = Repo(os.path.join(www, "repo"))
    repo.branch("main", [PLAIN, ("100644", "f", "f\n")])
    repo.url = url + "/repo/.git"
    return repo


def test_b3_words_that_are_options(strake, canary, repo):
    """Nothing a user was talked into typing reaches git or ssh as an option or another transport."""
    repo.done()
    touch = "touch %s/x" % canary
    strake.write("Dockerfile", "FROM scratch\n")
    for context in (repo.url + "#--upload-pack=" + touch, repo.url + "#-x", repo.url + "#a..b",
                    repo.url + "#refs/heads/main:../..", repo.url + "#main:f/../../..",
                    repo.url + "?ref=--upload-pack%3Dx", repo.url + "?subdir=..%2F..",
                    "ext::sh -c '%s'" % touch, "ssh://-oProxyCommand=%s/x.git" % touch,
                    "git@-oProxyCommand=%s:x" % touch, "file://%s/.git" % repo.path,
                    "ssh://x@-oProxyCommand=%s/x.git" % touch):
        refused(strake.build(check=False, context=context))
        if not context.startswith(("file", "ext")):
            refused(strake.build(check=False, dockerfile='FROM scratch\nADD ["%s", "/x"]\n' % context))


def test_b3_subdirectory_that_is_a_link(strake, canary, repo):
    repo.branch("links", [PLAIN, ("120000", "proj", "/"), ("120000", "up", "../../.."),
                          ("120000", "out", canary)])
    repo.done()
    for subdir in ("proj", "up", "out", "out/.", "f"):
        refused(strake.build(check=False, context=repo.url + "#links:" + subdir), "links are not followed")
    refused(strake.build(check=False, dockerfile="FROM scratch\nADD %s#links:out /x\n" % repo.url),
            "links are not followed")


def test_b3_files_that_are_links(strake, canary, repo):
    """The Dockerfile and what it copies are looked up inside the checkout."""
    secret = canary + "/file"
    repo.branch("dockerfile", [("120000", "Dockerfile", secret)])
    repo.branch("copy", [("100644", "Dockerfile", "FROM scratch\nCOPY l /l\n"), ("120000", "l", secret)])
    repo.done()
    refused(strake.build(check=False, context=repo.url + "#dockerfile"), "holds no Dockerfile")
    refused(strake.build(check=False, context=repo.url + "#copy"), '"/l": not found', "not found")


def test_b3_trees_that_climb(strake, canary, repo):
    """Entries that only a forged object can have."""
    inner = repo.branch(None, [("100755", "post-checkout", "#!/bin/sh\ntouch %s/x\n" % canary)])
    hooks = repo.branch(None, [("40000", "hooks", inner)])
    for name, entry in {"dots": ("40000", "..", inner), "git": ("40000", ".git", hooks),
                        "case": ("40000", ".GIT", hooks), "slash": ("100644", "../x", "x"),
                        "short": ("40000", "GIT~1", hooks)}.items():
        repo.branch(name, [PLAIN, entry])
        repo.done()
        refused(strake.build(check=False, context=repo.url + "#" + name), "invalid path", "git")
    assert not os.path.exists(os.path.join(strake.dir, "x"))


def test_b3_submodules(strake, canary, repo, web):
    """Their URLs and settings come from the repository: no command, no local path, no hook."""
    touch = "touch %s/x" % canary
    inner = Repo(os.path.join(web[0], "inner"))
    commit = inner.branch("main", [("100755", "post-checkout", "#!/bin/sh\n" + touch)])
    inner.git("config", "core.hooksPath", ".")
    inner.done()
    good = web[1] + "/inner/.git"

    def branch(name, settings, path="m", where="x"):
        repo.branch(name, [PLAIN, ("160000", path, commit),
                           ("100644", ".gitmodules", '[submodule "%s"]\n\tpath = %s\n\t%s\n' % (
                               where, path, "\n\t".join(settings)))])
    branch("ext", ["url = ext::sh -c %% '%s'" % touch])
    branch("file", ["url = file://%s/.git" % inner.path])
    branch("path", ["url = %s/.git" % inner.path])
    branch("option", ["url = --upload-pack=%s" % touch.replace(" ", "${IFS}")])
    branch("name", ["url = " + good], where="../../hooks")
    branch("update", ["url = " + good, "update = !%s" % touch])
    branch("works", ["url = " + good])
    repo.done()
    for name in ("ext", "file", "path", "option", "name", "update"):
        result = strake.build(check=False, context=repo.url + "#" + name)
        # git passes over a submodule whose name or URL it will not have
        assert result.code <= 123, result
        if name in ("ext", "file", "path"):
            refused(result, "not allowed")
    # the same with a harmless one: what is refused above would have been fetched
    target = strake.path("sub.tar")
    strake.build("-o", "type=tar,dest=" + target, context=repo.url + "#works")
    with tarfile.open(target) as tar:
        assert "m/post-checkout" in {m.name.strip("./") for m in tar}


def test_b3_the_hosts_own_settings(strake, canary, repo):
    """Hooks, filters and helpers of the user's configuration do not run for a stranger's files."""
    touch = "touch %s/x" % canary
    hooks = strake.mkdir("hooks")
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        strake.write(name, "#!/bin/sh\n%s\n" % touch, mode=0o755, root=hooks)
    strake.write(".gitconfig", '[core]\n\thooksPath = %s\n\tfsmonitor = "%s"\n[filter "evil"]\n'
                 '\tsmudge = "%s; cat"\n\trequired = true\n[credential]\n\thelper = "!%s;"\n'
                 % (hooks, touch, touch, touch), root=strake.env["HOME"])
    repo.branch("filters", [PLAIN, ("100644", ".gitattributes", "* filter=evil\n"),
                            ("100644", "f", "f\n")])
    repo.done()
    template = strake.mkdir("template/hooks")
    strake.write("post-checkout", "#!/bin/sh\n%s\n" % touch, mode=0o755, root=template)
    strake.build(context=repo.url + "#filters", env={
        "GIT_TEMPLATE_DIR": os.path.dirname(template), "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath", "GIT_CONFIG_VALUE_0": hooks, "GIT_EXEC_PATH": hooks,
        "GIT_DIR": canary, "GIT_EXTERNAL_DIFF": touch, "GIT_PROXY_COMMAND": touch})


# --- B4, T5: archives ------------------------------------------------------------------------

DOCKERFILE = b"FROM scratch\nCOPY . /all/\n"


def contexts(canary):
    secret = canary + "/file"
    good = member("Dockerfile", data=DOCKERFILE)
    out = member("l", tarfile.SYMTYPE, link=canary)
    return {
        "Dockerfile is a link": ([member("Dockerfile", tarfile.SYMTYPE, link=secret)], "holds no"),
        "and climbs": ([member("Dockerfile", tarfile.SYMTYPE, link="../" * 20 + secret[1:])], "holds no"),
        "Dockerfile is a hard link": ([member("Dockerfile", tarfile.LNKTYPE, link=secret)], ""),
        "hard link through a link": ([out, member("Dockerfile", tarfile.LNKTYPE, link="l/file")], ""),
        "Dockerfile is a pipe": ([member("Dockerfile", tarfile.FIFOTYPE)], ""),
        "Dockerfile is a directory": ([member("Dockerfile", tarfile.DIRTYPE, mode=0o755)], ""),
        "Dockerfile is a device": ([member("Dockerfile", tarfile.CHRTYPE, devmajor=1, devminor=5)], ""),
        "through a link": ([good, out, member("l/file", data=b"evil")], None),
        "climbs": ([good, member("../canary/file", data=b"evil")], "leads out"),
        "absolute": ([good, member(secret, data=b"evil")], None),
    }


def test_b4_tar_contexts(strake, canary):
    for name, (entries, message) in contexts(canary).items():
        for data in (tar_of(entries), gzip.compress(tar_of(entries))):
            result = strake.run("build", "-", input=data, check=False, timeout=60)
            assert 0 <= result.code <= 123, (name, result)
            if message is not None:
                assert result.code and message in result.err, (name, result)


def test_b4_broken_tar_contexts(strake, canary, web):
    """Cut at any place, or damaged: an error, and nothing of it is taken for a context."""
    www, url, _ = web
    whole = tar_of([member("Dockerfile", data=DOCKERFILE), member("f", data=os.urandom(5000))])
    packed = gzip.compress(whole)
    for n, data in enumerate((whole[:700], whole[:512 * 3 + 100], packed[:60], packed[:-10],
                              packed[:-8] + b"\0" * 8, whole[:148] + b"7" * 6 + whole[154:],
                              b"\x1f\x8b\x08\0" + b"\xff" * 100, b"\xfd7zXZ\0" + b"\0" * 100,
                              b"\x28\xb5\x2f\xfd" + b"\xff" * 100, b"BZh9" + b"\0" * 600)):
        result = strake.run("build", "-", input=data, check=False)
        assert 1 <= result.code <= 123, (n, result)
    with open(os.path.join(www, "cut.tgz"), "wb") as f:
        f.write(packed[:-100])
    refused(strake.run("build", url + "/cut.tgz", check=False), "cut.tgz")


def test_t5_archive_through_a_link(strake, canary):
    """As Debian has /var/run → /run: what is unpacked there lands in the root's own /run."""
    with open(strake.write("a.tar"), "wb") as f:
        f.write(tar_of([member("var/run/x", data=b"in run"), member("var/run/hard", tarfile.LNKTYPE,
                                                                   link="var/run/x")]))
    with open(strake.write("evil.tar"), "wb") as f:
        f.write(tar_of([member("out/file", data=b"evil"),
                        member("hard", tarfile.LNKTYPE, link="out/file")]))
    image = strake.image(dockerfile="FROM busybox\nRUN mkdir -p /var /run && rm -rf /var/run && "
                         "ln -s /run /var/run\nADD a.tar /\nRUN test \"$(cat /run/hard)\" = 'in run'\n")
    tree = image.tree()
    assert tree["var/run"].link == "/run" and tree["run/x"] is tree["run/hard"]
    result = strake.build(check=False, dockerfile="FROM busybox\nRUN ln -s %s /out\nADD evil.tar /\n"
                          "RUN test -f %s/file\n" % (canary, canary))
    assert result.code <= 123, result


# --- B5: names of downloads ------------------------------------------------------------------

def test_b5_names_of_downloads(strake, canary, web):
    """A file name, whatever the URL or the server says; never a path or a removal."""
    _, url, answers = web
    named = {"/1": "../../canary/file", "/2": "..", "/3": canary + "/file", "/4": "a\\b",
             "/5": "./.", "/6": "x" * 300}
    lines = []
    answers["*"] = ({}, b"x")
    for path, name in named.items():
        answers[path + "/"] = ({"Content-Disposition": 'attachment; filename="%s"' % name}, b"x")
        lines.append("ADD %s%s/ /d%s/\n" % (url, path, path))
    for n, path in enumerate(["/..", "/a/%2e%2e", "/a/..%2f..%2fcanary%2ffile", "/a%00b", "/a%0ab",
                              "/%1b%5b31m", "/a/.", "/%2f"]):
        lines.append("ADD %s%s /u/%d/\n" % (url, path, n))
    image = strake.image(dockerfile="FROM scratch\n" + "".join(lines))
    files = [p for p, e in image.tree().items() if e.type == "f"]
    assert len(files) == len(lines), files
    for path in files:
        assert path.startswith(("d/", "u/")) and path.count("/") == 2, files
        assert path.rsplit("/", 1)[1] not in ("", ".", "..") and path.isprintable(), files
    # a name that layers take for a removal
    refused(strake.build(check=False, dockerfile="FROM busybox\nADD %s/.wh.passwd /etc/\n" % url),
            "no layer can hold")


# --- S4: cache mounts ------------------------------------------------------------------------

FLIP = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* /c/sub is now a directory, now a link; until /c/stop is there, or too long */
int main(int argc, char **argv)
{
	(void)argc;
	mkdir("/c/dir", 0777);
	mkdir("/c/dir/deep", 0777);
	symlink(argv[1], "/c/link");
	rename("/c/dir", "/c/sub");
	close(open("/c/ready", O_CREAT | O_WRONLY, 0666));
	for (long i = 0; access("/c/stop", F_OK) != 0 && i < 30000000; i++)
		if (renameat2(AT_FDCWD, "/c/sub", AT_FDCWD, "/c/link", RENAME_EXCHANGE) != 0)
			return 1;
	return 0;
}
"""


def test_s4_cache_mounts_shared_with_an_enemy(strake, canary):
    """One step swaps a directory of the cache for a link out of it; others have mounts below that
    directory meanwhile. No inode of the host is seen, and nothing is made there."""
    subprocess.run(["cc", "-static", "-o", os.path.join(strake.context, "flip"),
                    strake.write("flip.c", FLIP)], check=True)
    rounds = 40 if os.environ.get("STRAKE_TORTURE") != "1" else 1000
    cache = "--mount=type=cache,id=shared,target=/c"
    text = "FROM busybox AS tools\nCOPY flip /\nFROM tools AS enemy\nRUN %s /flip %s\n" % (cache, canary)
    text += ("FROM tools AS victim\nRUN %s while test ! -e /c/ready; do sleep 0.05; done\n" % cache)
    for i in range(rounds):
        kind = ("--mount=type=tmpfs,target=/c/sub/deep", "--mount=type=bind,from=busybox,target=/c/sub/b%d" % i,
                "--mount=type=cache,id=other,target=/c/sub/deep")[i % 3]
        text += ("RUN %s %s ls /c/sub/ /c/sub/deep 2>/dev/null | grep -q '^file$' && echo SEEN-%d; "
                 "touch /c/sub/deep/x 2>/dev/null; true\n" % (cache, kind, i))
    text += ("RUN %s touch /c/stop\nFROM tools\nCOPY --from=enemy /etc/passwd /a\n"
             "COPY --from=victim /etc/passwd /b\n" % cache)
    # a mount that met the link is an error of the program's, after which the step is asked for again
    failures = 0
    while True:
        result = strake.build(check=False, dockerfile=text)
        assert result.code <= 123 and "\nSEEN" not in result.err, result
        assert not any(line.split(" ", 2)[-1].startswith("SEEN") for line in result.err.split("\n"))
        if result.code == 0 or failures == 3:
            break
        failures += 1
        assert "/c/sub" in result.err, result
        strake.build(dockerfile="FROM busybox\nRUN %s rm -rf /c/*\n" % cache)


# --- T6, T7: the tar reader ------------------------------------------------------------------

def header(name, size=0, kind=b"0", mode=0o644, link="", prefix=b"ustar\x0000", size_field=None):
    block = bytearray(512)
    block[0:len(name)] = name.encode()
    block[100:108] = b"%07o\0" % mode
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = size_field if size_field is not None else b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[157:157 + len(link)] = link.encode()
    block[257:257 + len(prefix)] = prefix
    block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 8 * 32)
    return bytes(block)


def padded(data):
    return data + bytes(-len(data) % 512)


def pax(**records):
    text = b""
    for key, value in records.items():
        line = b" %s=%s\n" % (key.replace("__", ".").encode(), value)
        n = len(line)
        while len(str(n)) + len(line) != n:
            n = len(str(n)) + len(line)
        text += b"%d%s" % (n, line)
    return header("x", len(text), b"x") + padded(text)


def longname(kind, text):
    return header("././@LongLink", len(text) + 1, kind) + padded(text.encode() + b"\0")


END = bytes(1024)
INNER = header("smuggled", 5) + padded(b"evil\n")


DESYNC = {
    "pax size over ustar's": pax(size=b"%d" % len(INNER)) + header("data", 0) + INNER,
    "ustar size over pax's": pax(size=b"0") + header("data", len(INNER)) + INNER,
    "x then L": pax(path=b"by-pax") + longname(b"L", "by-gnu") + header("by-header", 5) + padded(b"four\n"),
    "L then x": longname(b"L", "by-gnu") + pax(path=b"by-pax") + header("by-header", 5) + padded(b"four\n"),
    "two x": pax(path=b"one") + pax(path=b"two") + header("three", 5) + padded(b"four\n"),
    "size of a directory": header("d/", 512, b"5") + INNER,
    "size of a link": header("l", 512, b"2", link="x") + INNER,
    "size of a hard link": header("f", 0) + header("l", 512, b"1", link="f") + INNER,
    "padding is not zero": header("f", 3) + b"abc" + b"x" * 509 + header("g", 0),
    "one zero block": header("f", 0) + bytes(512) + header("after", 0),
    "zero in a name": header("a\0b", 0),
    "spaces in numbers": header("f", size_field=b"         5 \0") + padded(b"four\n"),
    "base-256 size": header("f", size_field=b"\x80" + bytes(10) + b"\x05") + padded(b"four\n"),
    "old v7": header("f", 5, b"\0", prefix=b"") + padded(b"four\n"),
}


def test_t6_what_readers_disagree_about(strake, canary):
    """As GNU tar lists it, or an error: what another tool scanned is what is unpacked."""
    accepted = []
    for name, data in DESYNC.items():
        run = subprocess.run(["tar", "-tf", "-"], input=data + END, capture_output=True)
        names = {n.decode().rstrip("/") for n in run.stdout.split(b"\n") if n}
        target = strake.path("t6.tar")
        remove_tree(strake.path("hostile"))
        arguments = hostile_layout(strake, data + END, busybox=False)
        result = strake.build(*arguments, "-o", "type=tar,dest=" + target, check=False,
                              dockerfile="FROM evil\nLABEL a=b\n")
        assert result.code <= 123, (name, result)
        if result.code == 0:
            with tarfile.open(target) as tar:
                found = {m.name.strip("/") for m in tar} - {"", "."}
            assert run.returncode == 0 and found == names, (name, found, names)
            accepted.append(name)
    assert accepted == ["padding is not zero", "zero in a name", "spaces in numbers", "base-256 size", "old v7"]


def bombs():
    big = b"%011o\0" % (1 << 30)
    sparse = pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0", GNU__sparse__name=b"s",
                 GNU__sparse__realsize=b"1000000000000")
    return {
        "pax of 1 GiB": header("x", kind=b"x", size_field=big) + b"9" * 4096,
        "long name of 1 GiB": header("x", kind=b"L", size_field=big) + b"9" * 4096,
        "global header of 1 GiB": header("x", kind=b"g", size_field=big) + b"9" * 4096,
        "size of 2^63": header("f", size_field=b"\x80\0\0\0\x80" + bytes(7)),
        "negative size": header("f", size_field=b"\xff" * 11 + b"\x01"),
        "pax size of 2^63": pax(size=b"9223372036854775808") + header("f", 0),
        "negative pax size": pax(size=b"-1") + header("f", 0),
        "sparse map of 10^9": sparse + header("s", 1024) + padded(b"1000000000\n0\n1\n") + bytes(512),
        "sparse map, old": pax(GNU__sparse__numblocks=b"1000000000", GNU__sparse__size=b"1",
                               GNU__sparse__map=b"0,1") + header("s", 512) + bytes(512),
        "pax length lies": header("x", 16, b"x") + padded(b"999999999 a=b\nxx"),
        "pax of zero length": header("x", 8, b"x") + padded(b"0 a=b\n\n\n"),
        "content that is not there": header("f", size_field=big) + bytes(4096),
    }


def test_t7_bombs(strake, canary):
    """An error, in little memory."""
    strake.dockerfile("FROM evil\nLABEL a=b\n")
    with open(strake.binary, "rb") as f:
        limit = (1 << 20 if b"__asan_init" in f.read() else 64 << 10)  # KiB
    for name, data in bombs().items():
        remove_tree(strake.path("hostile"))
        arguments = hostile_layout(strake, data + header("after", 0) + END, busybox=False)
        process = strake.popen("build", "--progress=plain", *arguments, "-o", "type=tar,dest=/dev/null",
                               strake.context, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        text = process.stderr.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        assert 1 <= process.returncode <= 123 and "layer sha256:" in text, (name, text)
        assert usage.ru_maxrss < limit, "%s: %d KiB" % (name, usage.ru_maxrss)
