"""Containers and shells without the kernel's overlay: fuse-overlayfs and plain copies give the same
results. And what owners look like from outside with a single id."""

import io
import os
import shutil
import signal
import subprocess
import tarfile

import pytest

from conftest import IS_ROOT, wait_for
from test_modes import can_use_fuse

pytestmark = pytest.mark.single

OFF = "--network=none"
# without busybox's 300 hard links, each of which a plain copy makes a file of its own
BASE = """FROM busybox AS b
FROM scratch AS base
COPY --from=b /bin/busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"""
IMAGE = BASE + """RUN mkdir -p /tmp /etc && echo root:x:0:0:root:/:/bin/sh >/etc/passwd
RUN mkdir -p /d/old /d/keep /vol && echo a >/d/a && echo b >/d/old/b && ln -s a /d/l && chown -h 5:6 /d/l \\
 && chown 7:8 /d/keep && echo seed >/vol/seed && ln /d/a /d/hard
"""
# deletes, replaces a directory, adds links, pipes and owners
CHANGE = """echo changed >/d/a; rm -rf /d/old; mkdir /d/old; echo n >/d/old/n; ln -s n /d/old/l
chown 3:4 /d/old/n; chown -h 9:10 /d/old/l; mkfifo /d/pipe; chown 11:12 /d/pipe; mv /d/keep /d/kept
rm /d/hard; chmod 700 /d; stat -c '%n %u:%g' /d/l /d/kept"""


@pytest.fixture(params=["fuse", "copy"])
def kind(strake, request):
    if request.param == "fuse" and not (shutil.which("fuse-overlayfs") and can_use_fuse(strake)):
        pytest.skip("no fuse-overlayfs, or no /dev/fuse")
    return request.param


def use(strake, kind):
    strake.store = strake.env["STRAKE_STORE"] = os.path.join(strake.dir, "store-" + kind)
    strake.env["STRAKE_OVERLAY"] = kind


def members(data):
    """Of hard links what they lead to: which of the names comes first is the directory's order."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: ("file" if m.isreg() or m.islnk() else m.type, m.mode, m.uid, m.gid,
                         m.linkname if m.issym() else "",
                         tar.extractfile(m).read() if m.isreg() or m.islnk() else b"") for m in tar}


def raw(strake, *args):
    process = strake.popen(*args, stdout=subprocess.PIPE)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    return out


def life(strake):
    """Everything that is seen of a container, from its beginning to its end."""
    seen = []
    strake.build("-t", "one", dockerfile=IMAGE)
    strake.run("create", OFF, "--name", "c", "-v", "/vol", "one", "sh", "-c", CHANGE)
    seen.append(strake.run("diff", "c").out)
    seen.append(strake.run("start", "-a", "c").out)
    seen.append(strake.run("diff", "c").out)
    seen.append(strake.run("cp", "c:/d/old/n", strake.path("n")).code)
    strake.run("cp", strake.path("n"), "c:/d/given")
    strake.run("cp", "-a", strake.path("n"), "c:/vol/given")
    seen.append(members(raw(strake, "cp", "c:/d", "-")))
    seen.append(members(raw(strake, "export", "c")))
    seen.append(strake.run("run", OFF, "--rm", "--read-only", "one", "sh", "-c",
                           "echo x >/x || cat /d/a", check=False).out)
    # again, with the same files; and while it runs
    strake.run("commit", "c", "two")
    seen.append(strake.run("run", OFF, "--rm", "--user", "33", "two", "sh", "-c",
                           "ls -ln /d/old /d; cat /d/a /d/given; ls /d/old; id -u").out)
    strake.run("run", "-d", OFF, "--name", "r", "two", "sh", "-c",
               "mkdir /r; echo r >/r/f; trap 'echo e >/end; exit' TERM; touch /up; "
               "while :; do sleep 0.1; done")
    wait_for(lambda: strake.run("exec", "r", "ls", "/up", check=False).code == 0)
    seen.append(strake.run("exec", "r", "sh", "-c",
                           "ln -s x /r/x; chown -h 21:22 /r/x; stat -c '%n %u:%g' /r/x /d/old/* /d/l").out)
    seen.append(strake.run("exec", "-t", "r", "tty").out)
    strake.run("cp", strake.path("n"), "r:/r/given")
    seen.append(members(raw(strake, "cp", "r:/r", "-")))
    seen.append(strake.run("diff", "r").out)
    seen.append(members(raw(strake, "export", "r")))
    strake.run("commit", "r", "three")
    strake.run("stop", "r")
    seen.append(strake.run("diff", "r").out)
    seen.append(members(raw(strake, "export", "r")))
    strake.run("start", "r")
    seen.append(strake.run("exec", "r", "stat", "-c", "%n %u:%g", "/r/x", "/d/old/l").out)
    strake.run("rm", "-f", "r")
    seen.append(strake.run("run", OFF, "--rm", "three", "stat", "-c", "%n %u:%g %F", "/r/x", "/r/given",
                           "/d/l", "/d/pipe", "/d/kept").out)
    strake.run("rm", "c")
    return seen


def no_times(text):
    """Of ls -l all but what the clock says."""
    return "\n".join(" ".join(w for i, w in enumerate(line.split()) if i not in (5, 6, 7))
                     if len(line.split()) > 7 else line for line in text.split("\n"))


def test_same_life(strake, kind):
    use(strake, "kernel")
    kernel = life(strake)
    assert kernel[0] == "" and "9:10" not in kernel[1]
    assert "D /d/keep\n" in kernel[2] and "A /d/kept\n" in kernel[2]
    owners = {name: member[2:4] for name, member in kernel[4].items()}
    assert (owners["d/l"], owners["d/kept"], owners["d/pipe"]) == ((5, 6), (7, 8), (11, 12))
    assert (owners["d/old/n"], owners["d/old/l"], owners["d/given"]) == ((3, 4), (9, 10), (0, 0))
    assert kernel[5]["d/old/l"][2:4] == (9, 10) and kernel[5]["d/l"][2:4] == (5, 6)
    assert "/r/x 21:22\n" in kernel[8] and "/d/old/l 9:10\n" in kernel[8] and "/d/l 5:6" in kernel[8]
    assert kernel[9] == "/dev/pts/0\r\n"
    assert kernel[10]["r/x"][2:4] == (21, 22) and kernel[10]["r/given"][2:4] == (0, 0)
    assert "A /end\n" in kernel[13] and "end" in kernel[14]
    assert kernel[15] == "/r/x 21:22\n/d/old/l 9:10\n"
    use(strake, kind)
    other = life(strake)
    for i, (a, b) in enumerate(zip(kernel, other)):
        a, b = (no_times(x) if isinstance(x, str) else x for x in (a, b))
        assert a == b, "step %d" % i


def test_one_kind_after_another(strake, kind):
    """The upper directory of one kind is taken over by the next; a copy stays a copy."""
    use(strake, kind)
    strake.build("-t", "one", dockerfile=IMAGE)
    strake.run("run", OFF, "--name", "c", "one", "sh", "-c",
               "test -e /first && exit 9; rm -rf /d/old; mkdir /d/old; echo 1 >/first; ln -s 1 /s; "
               "chown -h 5:5 /s")
    expected = "/first 0:0\n/s 5:5\n/d/old 0:0\n"
    for other in ("kernel", "fuse" if kind == "copy" else "copy"):
        if other == "fuse" and not can_use_fuse(strake):
            continue
        strake.env["STRAKE_OVERLAY"] = other
        strake.run("commit", "c", "again")
        assert strake.run("run", OFF, "--rm", "again", "stat", "-c", "%n %u:%g", "/first", "/s",
                          "/d/old").out == expected
        assert strake.run("run", OFF, "--rm", "again", "ls", "/d/old").out == ""
        # the container itself, too
        assert strake.run("start", "-a", "c", check=False).code == 9
        assert "C /d/old\nD /d/old/b\n" in strake.run("diff", "c").out
    strake.run("rm", "c")


def test_killed_supervisor(strake, kind):
    use(strake, kind)
    strake.build("-t", "one", dockerfile=IMAGE)
    process = strake.popen("run", OFF, "--name", "k", "one", "sh", "-c",
                           "rm -rf /d/old; mkdir /d/old; echo up; exec sleep 1000", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    before = strake.run("diff", "k").out
    assert before == "C /d\nC /d/old\nD /d/old/b\n"
    strake.run("cp", "k:/d/a", strake.path("a"))
    assert strake.run("diff", "k").out == before
    strake.run("commit", "k", "two")
    assert strake.run("run", OFF, "--rm", "two", "ls", "/d/old").out == ""
    strake.run("rm", "k")


FAILS = BASE + """FROM base AS tools
RUN mkdir /t && echo tool >/t/tool
FROM base
RUN echo kept >/kept && mkdir /o && chown 7:8 /kept && chmod 777 /o
USER 1000:1000
RUN --mount=type=bind,from=tools,source=t,target=/tools --mount=type=tmpfs,target=/new/place \\
    echo left >/o/left; exit 7
"""
LOOK = "id -u; stat -c %u:%g /kept /o/left; cat /tools/tool; ls -d /new/place; echo >/o/x; exit 3\n"


def test_shells(strake, kind):
    use(strake, kind)
    result = strake.build("--on-error=shell", dockerfile=FAILS, check=False, input=LOOK)
    assert result.out == "1000\n7:8\n1000:1000\ntool\n/new/place\n"
    assert result.code == 1 and "exit code: 7" in result.err
    result = strake.run("debug", "shell", input=LOOK, check=False)
    assert result.code == 3 and result.out == "1000\n7:8\ntool\n/new/place\n"
