"""Containers: create, start, cp, ps, stop, kill, wait, rm; what a killed supervisor leaves."""

import fcntl
import io
import json
import os
import pty
import select
import signal
import socket
import stat
import struct
import subprocess
import tarfile
import termios
import time

import pytest

from conftest import free_port, wait_for

OFF = "--network=none"  # most tests need no network, and its start takes time

IMAGE = """FROM busybox
RUN mkdir -p /app/sub && echo one >/app/one && echo two >/app/sub/two && ln -s /app/one /link \\
 && ln -s /app /applink && mkdir /vol && echo seed >/vol/seed && chmod 700 /vol
VOLUME /vol
ENV WHO=world
CMD ["sh", "-c", "echo hello $WHO; exit 4"]
"""


@pytest.fixture
def box(strake):
    strake.build("-t", "box", dockerfile=IMAGE)
    return strake


def names(strake, *args):
    return {line.split()[-1] for line in strake.run("ps", *args).out.strip().split("\n")[1:]}


def state(strake, name):
    found = json.loads(strake.run("inspect", "--type", "container", name).out)
    return found[0]["State"]


def test_builder_pattern(box):
    """The article's build.sh: build, create, cp out, rm, and the second image from the result."""
    ident = box.run("create", OFF, "--name", "extract", "box").out.strip()
    assert len(ident) == 64 and int(ident, 16)
    box.run("cp", "extract:/app", box.path("app"))
    assert open(box.path("app/sub/two")).read() == "two\n"
    assert os.lstat(box.path("app/sub/two")).st_uid == box.user.uid
    assert box.run("rm", "-f", "extract").out == "extract\n"
    assert names(box, "-a") == set()
    box.write("Dockerfile.2", "FROM busybox\nCOPY app /app\nCMD [\"cat\", \"/app/one\"]\n",
              root=box.path(""))
    box.build("-t", "second", "-f", box.path("Dockerfile.2"), context=box.path(""))
    assert box.run("run", OFF, "--rm", "second").out == "one\n"
    assert box.run("rmi", "box").out.startswith("Untagged: ")


def test_life_of_a_container(box):
    box.run("create", OFF, "--name", "c", "-e", "WHO=you", "-l", "a=b", "box")
    assert state(box, "c")["Status"] == "created"
    assert names(box) == set() and names(box, "-a") == {"c"}
    result = box.run("start", "-a", "c", check=False)
    assert (result.code, result.out) == (4, "hello you\n")
    after = state(box, "c")
    assert after["Status"] == "exited" and after["ExitCode"] == 4
    assert names(box, "-a", "--filter", "exited=4", "--filter", "label=a=b") == {"c"}
    assert names(box, "-a", "--filter", "label=a=c") == set()
    assert names(box, "-a", "-f", "status=created") == set()
    # its files are still there, and are seen by the next start
    box.run("cp", "-", "c:/", input=tar_of({"new": b"given\n"}))
    box.run("rm", "c")
    assert box.run("rm", "c", check=False).code == 1
    assert box.run("rm", "-f", "c").code == 0


def test_what_is_written_stays(box):
    box.run("run", OFF, "--name", "c", "box", "sh", "-c", "echo mine >/app/mine; rm /app/one; "
            "echo more >>/vol/seed; stat -c %a /vol")
    box.run("cp", "c:/app", box.path("a"))
    assert sorted(os.listdir(box.path("a"))) == ["mine", "sub"]
    box.run("cp", "c:/vol/seed", box.path("seed"))
    assert open(box.path("seed")).read() == "seed\nmore\n"
    again = box.run("run", OFF, "--rm", "--name", "d", "box", "ls", "/app")
    assert again.out == "one\nsub\n", "another container sees nothing of it"
    assert names(box, "-a") == {"c"}, "--rm leaves nothing"


def test_names(box):
    box.run("create", OFF, "--name", "c", "box")
    result = box.run("create", OFF, "--name", "c", "box", check=False)
    assert result.code == 2 and "in use" in result.err and "strake rm c" in result.err
    assert box.run("create", OFF, "--name", "-x", "box", check=False).code == 2
    other = box.run("create", OFF, "box").out.strip()
    assert box.run("rm", other[:12], "c").out == "%s\nc\n" % other[:12]
    result = box.run("start", "nobody", check=False)
    assert result.code == 1 and "no such container: nobody" in result.err


def test_detached(box):
    ident = box.run("run", OFF, "-d", "--name", "d", "box", "sh", "-c",
                    "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done").out
    assert len(ident.strip()) == 64
    assert names(box) == {"d"} and state(box, "d")["Running"] is True
    assert box.run("rm", "d", check=False).code == 1, "it runs"
    box.run("cp", "d:/app/one", box.path("one"))
    box.run("cp", box.path("one"), "d:/tmp/given")
    box.run("cp", "d:/tmp/given", box.path("back"))
    assert open(box.path("back")).read() == "one\n"
    waiter = box.popen("wait", "d", stdout=subprocess.PIPE)
    assert box.run("stop", "d").out == "d\n"
    assert waiter.communicate(timeout=30)[0] == b"5\n"
    assert state(box, "d")["ExitCode"] == 5
    assert box.run("logs", "d").out == "up\nbye\n"
    box.run("start", "d")
    assert box.run("kill", "d").out == "d\n"
    assert box.run("wait", "d").out == "137\n"
    assert box.run("kill", "d", check=False).code == 1, "it does not run"
    assert box.run("stop", "d").code == 0
    assert box.run("run", OFF, "-d", "--rm", "--name", "e", "box", "sleep", "100").code == 0
    box.run("rm", "-f", "e", "d")
    assert names(box, "-a") == set()


def test_logs_of_an_attached_container(box):
    """Shown and kept; with --rm only shown. A reader that does not read, or has gone, stops the
    program, and never the supervisor."""
    assert box.run("create", OFF, "--name", "c", "box", "sh", "-c",
                   "echo out; echo err >&2; head -c 100000 /dev/zero | tr '\\0' x").out
    assert box.run("logs", "c").out == ""
    shown = box.run("start", "-a", "c")
    assert (shown.out, shown.err) == ("out\n" + "x" * 100000, "err\n")
    logged = box.run("logs", "c")
    assert (logged.out, logged.err) == (shown.out, shown.err)
    assert box.run("run", OFF, "--name", "t", "-t", "box", "echo", "hi").out == "hi\r\n"
    assert box.run("logs", "t").out == "hi\r\n"
    box.run("rm", "c", "t")
    gone = box.popen("run", OFF, "--name", "y", "box", "yes", stdout=subprocess.PIPE,
                     stderr=subprocess.DEVNULL)
    assert gone.stdout.read(2) == b"y\n"
    gone.stdout.close()
    assert gone.wait(30) == 1, "a write fails: the signal does nothing to pid 1"
    stuck = box.popen("run", OFF, "--name", "z", "box", "yes", stdout=subprocess.PIPE)
    assert stuck.stdout.read(2) == b"y\n"
    assert box.run("kill", "z").out == "z\n"
    assert stuck.communicate(timeout=30)[0].startswith(b"y\ny\n") and stuck.returncode == 137
    box.run("rm", "y", "z")


def test_commit_pauses(box):
    """Files that a program writes one after the other are of one moment in the image, and the
    program goes on; --pause=false lets it."""
    box.run("run", OFF, "-d", "--name", "p", "box", "sh", "-c", "mkdir /f; cd /f; while :; do "
            "for k in $(seq 100 399); do echo >>f$k; done; touch /ready; done")
    assert wait_for(lambda: box.run("exec", "p", "test", "-e", "/ready", check=False).code == 0)
    changes = ("exec", "p", "sh", "-c", "n() { wc -c </f/f100; }; a=$(n); sleep 0.3; test $a -lt $(n)")
    rounds = []
    for i in range(2):
        box.run("commit", "p", "paused")
        out = box.run("run", OFF, "--rm", "paused", "sh", "-c", "cd /f; wc -c f*").out
        sizes = [int(line.split()[0]) for line in out.strip().split("\n")[:-1]]
        assert len(sizes) == 300 and sizes == sorted(sizes, reverse=True)
        assert sizes[0] <= sizes[-1] + 1
        rounds.append(sizes[-1])
    assert rounds[1] > rounds[0]
    assert box.run(*changes).code == 0, "it goes on"
    # one whose command was stopped by somebody else stays so
    box.run("kill", "-s", "STOP", "p")
    box.run("commit", "p", "paused")
    assert box.run(*changes, check=False).code == 1
    box.run("kill", "-s", "CONT", "p")
    box.run("commit", "--pause=false", "p", "moving")
    assert box.run(*changes).code == 0
    box.run("rm", "-f", "p")
    box.run("commit", "-p", box.run("create", OFF, "box").out.strip(), "still")


def test_killed_supervisor(box):
    process = box.popen("run", OFF, "--name", "k", "box", "sh", "-c", "echo up; exec sleep 1000",
                        stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    rm = box.popen("run", OFF, "--rm", "--name", "gone", "box", "sh", "-c",
                   "echo up; exec sleep 1000",
                   stdout=subprocess.PIPE)
    assert rm.stdout.readline() == b"up\n"
    for victim in (process, rm):
        os.kill(victim.pid, signal.SIGKILL)
        assert victim.wait() == -9
        assert victim.stdout.read() == b"", "the command died with it"
    assert state(box, "k")["Status"] == "exited" and state(box, "k")["ExitCode"] == 137
    box.run("create", OFF, "--name", "next", "box")
    assert "gone" not in names(box, "-a"), "--rm of a killed one is made good by the next"
    box.run("rm", "k", "next")


def test_exit_codes(box):
    assert box.run("run", OFF, "--rm", "box", "nope", check=False).code == 127
    assert box.run("run", OFF, "--rm", "box", "/app", check=False).code == 126
    assert box.run("run", OFF, "--rm", "no-such-image.invalid/x", check=False).code == 125
    assert box.run("run", "-d", "--rm", "box", "/nope", check=False).code == 127
    assert box.run("run", "--rm", "--network", "none", "box", "sh", "-c", "exit 200",
                   check=False).code == 200
    assert names(box, "-a") == set()


def test_signals_are_passed_on(box):
    process = box.popen("run", "--rm", "--network", "none", "box", "sh", "-c",
                        "trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; echo up; "
                        "while :; do sleep 0.05; done", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == b"usr1\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == b"term\n" and process.wait() == 9


def test_init_reaps(box):
    script = "(sleep 0.1 & exec true) & sleep 0.4; ps -o pid,stat | grep -c Z; cat /proc/1/comm"
    out = box.run("run", "--rm", "--init", "--network", "none", "box", "sh", "-c", script,
                  check=False).out
    assert out.split("\n")[:2] == ["0", "strake-sandbox"]
    process = box.popen("run", "--rm", "--init", "--network", "none", "box", "sh", "-c",
                        "echo up; exec sleep 1000", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143, "a command without a handler ends, as it is not pid 1"


def test_volumes(box):
    host = box.mkdir("host")
    box.run("run", OFF, "--rm", "-v", host + ":/h", "-v", "data:/app", "box", "sh", "-c",
            "echo out >/h/f; echo kept >/app/kept; ls /app")
    assert open(os.path.join(host, "f")).read() == "out\n"
    assert os.stat(os.path.join(host, "f")).st_uid == box.user.uid
    out = box.run("run", OFF, "--rm", "-v", "data:/d", "--read-only", "box", "sh", "-c",
                  "ls /d; touch /x 2>/dev/null || echo ro; touch /vol/x && echo rw").out
    assert out == "kept\none\nsub\nro\nrw\n", "a named volume was filled from the image, and stays"
    assert box.run("run", OFF, "--rm", "-v", host + ":/h:ro", "box", "touch", "/h/x",
                   check=False).code == 1
    made = os.path.join(box.dir, "host", "made")
    box.run("run", OFF, "--rm", "-v", made + ":/m", "box", "true")
    assert os.path.isdir(made), "as docker does"
    result = box.run("run", OFF, "--rm", "--mount", "type=bind,src=%s/none,dst=/m" % host, "box",
                     "true",
                     check=False)
    assert result.code == 125 and "none" in result.err
    assert "1777" in box.run("run", OFF, "--rm", "--tmpfs", "/t:size=1m", "box", "stat", "-c", "%a",
                             "/t").out
    assert box.run("create", OFF, "-v", "a:/x", "-v", "b:/x", "box", check=False).code == 2


def test_env_and_labels(box):
    path = box.write("env", "# note\nA=1\n\nB=two words\nFROMHERE\n")
    out = box.run("run", OFF, "--rm", "--env-file", path, "-e", "A=2", "-e", "C", "box", "sh", "-c",
                  "echo $A; echo $B; echo $C; echo $FROMHERE", env={"C": "3", "FROMHERE": "h"}).out
    assert out == "2\ntwo words\n3\nh\n"
    path = box.write("bad", "A=1\nNO GOOD\n")
    result = box.run("run", OFF, "--rm", "--env-file", path, "box", check=False)
    assert result.code == 125 and "bad:2" in result.err


# --- cp -------------------------------------------------------------------------------------------


def tar_of(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def tree(path):
    found = {}
    for folder, directories, files in os.walk(path):
        for name in directories + files:
            full = os.path.join(folder, name)
            rel = os.path.relpath(full, path)
            if os.path.islink(full):
                found[rel] = "->" + os.readlink(full)
            elif os.path.isdir(full):
                found[rel + "/"] = None
            else:
                found[rel] = open(full).read()
    return found


def test_cp_out_rules(box):
    """docker cp's table: source file or directory, destination missing, file or directory."""
    box.run("create", OFF, "--name", "c", "box")
    out = box.path("o")
    os.mkdir(out)
    os.chown(out, box.user.uid, box.user.gid)

    def cp(source, dest, *args, check=True):
        return box.run("cp", *args, "c:" + source, dest, check=check)
    cp("/app/one", out + "/new")
    cp("/app/one", out)
    assert tree(out) == {"new": "one\n", "one": "one\n"}
    cp("app/sub/two", out + "/one")  # a relative path starts at /; the file is overwritten
    assert tree(out)["one"] == "two\n"
    assert "must exist" in cp("/app/one", out + "/absent/", check=False).err
    assert cp("/app/one", out + "/absent/x", check=False).code == 1
    cp("/app", out)
    assert tree(out + "/app") == {"one": "one\n", "sub/": None, "sub/two": "two\n"}
    cp("/app", out + "/fresh")
    assert tree(out + "/fresh") == tree(out + "/app")
    cp("/app/.", out + "/fresh")
    assert tree(out + "/fresh") == tree(out + "/app"), "the contents, again"
    assert "cannot copy a directory" in cp("/app", out + "/one", check=False).err
    cp("/link", out)
    assert tree(out)["link"] == "->/app/one"
    os.unlink(out + "/link")
    cp("/link", out, "-L")
    assert tree(out)["link"] == "one\n"
    cp("/applink", out)
    assert tree(out)["applink"] == "->/app"
    os.unlink(out + "/applink")
    cp("/applink/", out + "/through")
    assert tree(out + "/through") == tree(out + "/app")
    assert "could not find /nope" in cp("/nope", out, check=False).err
    assert cp("/app/one/", out, check=False).code != 0
    os.symlink("target", out + "/dangling")
    os.symlink(out + "/new", out + "/alias")
    cp("/app/sub/two", out + "/alias")
    assert os.path.islink(out + "/alias") and tree(out)["new"] == "two\n", "links are followed"
    listing = box.run("cp", "c:/app/sub", "-").out
    with tarfile.open(fileobj=io.BytesIO(listing.encode())) as tar:
        assert tar.getnames() == ["sub", "sub/two"]
    box.run("rm", "c")


def test_cp_in_rules(box):
    box.run("create", OFF, "--name", "c", "box")
    src = box.path("src")
    for name, text in {"f": "F\n", "d/x": "X\n", "d/y/z": "Z\n"}.items():
        box.write(name, text, root=src)
    os.symlink("f", src + "/ln")
    os.chmod(src + "/f", 0o750)

    def cp(source, dest, *args, check=True):
        return box.run("cp", *args, source, "c:" + dest, check=check)

    def ls(path):
        data = subprocess.run([box.binary, "cp", "c:" + path, "-"], env=box.env,
                              capture_output=True, check=True, **box.user.arguments).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return {m.name: (m.uid, m.gid, oct(m.mode), m.linkname) for m in tar.getmembers()}
    cp(src + "/f", "/new")
    assert ls("/new") == {"new": (0, 0, "0o750", "")}, "root's, whoever copies"
    cp(src + "/f", "/app")
    cp(src + "/f", "/applink/g")
    assert set(ls("/app")) == {"app", "app/one", "app/sub", "app/sub/two", "app/f", "app/g"}
    cp(src + "/d", "/app")
    cp(src + "/d/.", "/app/sub")
    assert set(ls("/app")) >= {"app/d/y/z", "app/sub/x", "app/sub/y/z"}
    cp(src + "/ln", "/")
    assert ls("/ln")["ln"][3] == "f"
    assert "must exist" in cp(src + "/f", "/absent/", check=False).err
    assert cp(src + "/f", "/absent/x", check=False).code == 1
    assert cp(src + "/d", "/app/one", check=False).code != 0
    cp(src + "/f", "/vol/in-volume")
    assert box.run("start", "-a", "c", check=False).code == 4
    assert "vol/in-volume" in ls("/vol")
    box.run("cp", "-", "c:/app", input=tar_of({"t/one": b"1", "t/two": b"22"}))
    assert set(ls("/app/t")) == {"t", "t/one", "t/two"}
    result = box.run("cp", "-", "c:/app", input=tar_of({"../../evil": b"1"}), check=False)
    assert result.code != 0 and ".." in result.err
    assert box.run("cp", "-", "c:/app/one", input=tar_of({"x": b""}), check=False).code != 0
    box.run("rm", "c")


def test_cp_hostile_container(strake):
    """Links that lead out, device nodes, sockets, deep trees: nothing gets out of the container."""
    strake.build("-t", "evil", dockerfile="""FROM busybox
RUN mkdir -p /bad/deep && ln -s /etc/passwd /bad/abs && ln -s ../../../../../../etc /bad/up \\
 && ln -s /proc/self/root /bad/proc && mkfifo /bad/fifo && mknod /bad/null c 1 3 || true
RUN cp /bin/busybox /bad/suid && chmod 4755 /bad/suid && echo real >/etc/passwd
RUN cd /bad/deep; for i in $(seq 300); do mkdir -p a && cd a; done; echo end >f
""")
    strake.run("create", "--name", "e", "evil")
    marker = strake.path("marker")
    with open(marker, "w") as f:
        f.write("host\n")
    os.chmod(marker, 0o666)
    # absolute and climbing links resolve in the container's root
    strake.run("cp", "-L", "e:/bad/abs", strake.path("passwd"))
    assert open(strake.path("passwd")).read() == "real\n"
    strake.run("cp", "e:/bad/up/passwd", strake.path("passwd2"))
    assert open(strake.path("passwd2")).read() == "real\n"
    assert strake.run("cp", "e:/bad/proc/etc/hostname", strake.path("x"), check=False).code != 0
    out = strake.path("bad")
    result = strake.run("cp", "e:/bad", out, check=False)
    if os.path.lexists(out + "/null"):
        raise AssertionError("a device node came out")
    assert result.code == 0 or "device node" in result.err
    mode = os.lstat(out + "/suid").st_mode
    assert not mode & stat.S_ISUID, "no set-uid program appears on the host"
    assert os.readlink(out + "/abs") == "/etc/passwd"
    assert stat.S_ISFIFO(os.lstat(out + "/fifo").st_mode)
    assert os.path.exists(out + "/deep" + "/a" * 300 + "/f")
    # a link in the container where the destination goes: followed inside
    strake.run("cp", marker, "e:/bad/up/written")
    assert not os.path.exists("/etc/written")
    assert strake.run("cp", "e:/etc/written", strake.path("w")).code == 0
    link = tarfile.TarInfo("l")
    link.type, link.linkname = tarfile.SYMTYPE, strake.dir
    strake.run("cp", "-", "e:/", input=tar_of({"l": link, "l/through": b"x"}), check=False)
    assert not os.path.exists(os.path.join(strake.dir, "through"))
    # a directory over a link is refused, and the link's target is not touched
    os.mkdir(strake.path("abs"))
    result = strake.run("cp", strake.path("abs"), "e:/bad", check=False)
    assert result.code != 0 and "non-directory" in result.err
    strake.run("rm", "e")


# --- terminal -------------------------------------------------------------------------------------


class Screen:
    def __init__(self, strake, *args):
        self.master, slave = pty.openpty()
        self.slave = slave
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        os.chown(os.ttyname(slave), strake.user.uid, -1)
        self.before = termios.tcgetattr(slave)

        def session():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = strake.popen(*args, stdin=slave, stdout=slave, stderr=slave,
                                    preexec_fn=session)
        self.seen = b""

    def until(self, text):
        end = time.monotonic() + 30
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 4096)
        self.seen = self.seen.split(text, 1)[1]

    def type(self, text):
        os.write(self.master, text)

    def interrupt(self, prompt):
        """^C until the shell is back: one that comes before its child is in front is lost."""
        end = time.monotonic() + 30
        while prompt not in self.seen:
            assert time.monotonic() < end, self.seen
            self.type(b"\x03")
            if select.select([self.master], [], [], 0.5)[0]:
                self.seen += os.read(self.master, 4096)
        self.seen = b""

    def close(self):
        code = self.process.wait(30)
        restored = termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return code, restored


def test_terminal(box):
    screen = Screen(box, "run", "-it", "--rm", "--network", "none", "box", "sh")
    screen.until(b"# ")
    screen.type(b"stty size; tty\n")
    screen.until(b"33 101")
    screen.until(b"/dev/console")
    fcntl.ioctl(screen.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 90, 0, 0))
    os.kill(screen.process.pid, signal.SIGWINCH)
    screen.type(b"while [ \"$(stty size)\" != '40 90' ]; do :; done; echo re\"\"sized\n")
    screen.until(b"resized")
    screen.type(b"echo wait; sleep 100\n")
    screen.until(b"wait\r\n")
    screen.interrupt(b"# ")
    screen.type(b"echo code $?\n")
    screen.until(b"code 130")
    screen.type(b"exit 7\n")
    assert screen.close() == (7, True)


def test_terminal_is_restored_after_a_failure(box):
    screen = Screen(box, "run", "-it", "--rm", "--network", "none", "box", "/nope")
    screen.until(b"no such file in the image")
    assert screen.close() == (127, True)
    result = box.run("run", OFF, "-it", "--rm", "box", "true", check=False)
    assert result.code == 2 and "not a terminal" in result.err


def test_prune_keeps_what_containers_need(box):
    box.run("create", OFF, "--name", "c", "box")
    box.run("rmi", "-f", "box")
    box.run("prune", "--all")
    result = box.run("start", "-a", "c", check=False)
    assert (result.code, result.out) == (4, "hello world\n"), result
    assert "containers" in box.run("du").out
    box.run("rm", "c")
    box.run("prune", "--all")
    assert os.listdir(os.path.join(box.store, "layers")) == []


def test_published_ports(box):
    """-p leads to the container, as pasta or slirp4netns can; a taken port is said to be taken."""
    port = free_port()
    box.run("run", "-d", "--name", "web", "-p", "127.0.0.1:%d:80" % port, "-p", "127.0.0.1::81",
            "box", "sh", "-c", "while :; do echo served | nc -l -p 80; done")
    assert box.run("port", "web", "80").out == "127.0.0.1:%d\n" % port
    field = '{{(index (index .NetworkSettings.Ports "81/tcp") 0).HostPort}}'
    chosen = box.run("inspect", "-f", field, "web").out.strip()
    assert 0 < int(chosen) < 65536
    assert "127.0.0.1:%d->80/tcp" % port in box.run("ps").out

    def answer():
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as s:
                return s.recv(100)
        except OSError:
            return b""
    assert wait_for(lambda: answer() == b"served\n", 20)
    result = box.run("run", "--rm", "-p", "127.0.0.1:%d:80" % port, "box", "true", check=False)
    assert result.code == 125 and "a published port is taken" in result.err
    assert box.run("restart", "-t", "0", "web").out == "web\n"
    assert state(box, "web")["Running"] is True
    box.run("rm", "-f", "web")
    assert box.run("create", "-p", "80:x", "box", check=False).code == 2


def test_unknown_commands_of_docker(strake):
    for name in ("attach", "network", "compose"):
        result = strake.run(name, check=False)
        assert result.code == 2 and "no command " + name in result.err and "hint:" in result.err


def test_single_id(strake):
    """Where only one id exists owners are on record: they survive commit, cp -a and new volumes."""
    strake.env["STRAKE_PRIVILEGE"] = "single"
    strake.build("-t", "one", dockerfile="FROM busybox\nRUN mkdir /v && echo x >/v/f && "
                 "chown -R 7:8 /v\n")
    strake.run("run", "--name", "c", OFF, "-v", "vol:/v", "one", "sh", "-c",
               "echo y >/mine && chown 5:6 /mine && stat -c %u:%g /v/f")
    strake.run("commit", "c", "two")
    out = strake.run("run", "--rm", OFF, "-v", "vol:/v", "two", "stat", "-c", "%u:%g",
                     "/mine", "/v/f", "/v").out
    assert out == "5:6\n7:8\n7:8\n"
    strake.run("rm", "c")
