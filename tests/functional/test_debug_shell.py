"""Looking into a step that failed: build --on-error=shell, strake debug shell."""

import json
import os
import pty
import select
import time

from conftest import processes_with, wait_for

DOCKERFILE = """\
FROM busybox AS tools
RUN mkdir /t && echo tool >/t/tool
FROM busybox
ENV HELLO=moin
WORKDIR /w
RUN echo kept >kept && chmod 777 /tmp && rm -f /etc/motd && echo 1 >/etc/removed
USER 1000:1000
RUN --mount=type=cache,target=/cache,uid=1000 --mount=type=secret,id=s,uid=1000 \\
    --mount=type=bind,target=/ctx --mount=type=bind,from=tools,source=t,target=/tools \\
    echo left >/tmp/left; echo c >/cache/c; exit 7
"""

LOOK = """\
id -u; pwd; echo $HELLO; cat kept /cache/c /ctx/in.txt /tools/tool
cat /tmp/left; cat /run/secrets/s; touch /etc/x || echo no; touch /tmp/new; exit 3
"""


def test_shell_in_what_the_step_left(strake):
    strake.write("in.txt", "input\n")
    secret = strake.write("secret.txt", "hunter2\n", root=strake.dir)
    options = ["--secret", "id=s,src=" + secret]
    result = strake.build("--on-error=shell", *options, dockerfile=DOCKERFILE, check=False,
                          input=LOOK)
    assert result.out.splitlines() == ["1000", "/w", "moin", "kept", "c", "input", "tool", "left",
                                       "hunter2", "no"]
    # The shell's own exit code is nobody's; the build failed as it would have.
    assert result.code == 1 and "exit code: 7" in result.err and "Dockerfile:8" in result.err

    # Later: the state before the step, by what the history says.
    result = strake.run("debug", "shell", input=LOOK, check=False)
    assert result.code == 3
    assert result.out.splitlines() == ["1000", "/w", "moin", "kept", "c", "input", "tool", "no"]
    assert "not there: secret s" in result.err and "left" in result.err
    result = strake.run("debug", "shell", "latest", "cat", "kept")
    assert result.out == "kept\n"
    for name in ("meta.db", "meta.db-wal", "logs/builds.jsonl"):
        with open(os.path.join(strake.store, name), "rb") as f:
            assert b"hunter2" not in f.read(), name
    # Nothing of what the shells did is in the cache or the image.
    history = json.loads(strake.run("history", "builds", "latest", "--format=json").out)
    assert history["outcome"] == "failed"
    strake.run("prune", "--all")
    result = strake.run("debug", "shell", history["id"], check=False)
    assert result.code == 1 and ("no such build" in result.err or "no longer" in result.err)


def test_no_shell_where_none_is_wanted(strake):
    strake.dockerfile("FROM busybox\nRUN true\n")
    assert strake.build("--on-error=shell", input="exit 1\n").out == ""
    result = strake.run("debug", "shell", check=False)
    assert result.code == 1 and "no build on record" in result.err
    result = strake.build("--on-error=what", check=False)
    assert result.code == 2 and "shell is expected" in result.err
    result = strake.run("build", "--on-error=shell", "-", input="FROM scratch\n", check=False)
    assert result.code == 2 and "standard input" in result.err
    # An image without a shell: said, and the build's own error stays the error.
    strake.dockerfile('FROM scratch\nCOPY Dockerfile /\nRUN ["/nothing"]\n')
    result = strake.build("--on-error=shell", check=False, input="")
    assert result.code == 1 and "/nothing" in result.err and "no shell could be opened" in result.err


def test_terminal(strake):
    """With a terminal in front, the shell has one of its own: job control, its size, raw keys."""
    strake.dockerfile("FROM busybox\nRUN echo gone >/f; exit 9\n")
    master, slave = pty.openpty()
    process = strake.popen("build", "--progress=plain", "--on-error=shell",
                           *strake.bases(["busybox"]), strake.context, stdin=slave, stdout=slave,
                           stderr=slave)
    os.close(slave)
    seen = b""

    def read_more():
        nonlocal seen
        assert select.select([master], [], [], 60)[0], seen
        seen += os.read(master, 4096)

    def read_until(what):
        while what not in seen:
            read_more()

    def read_prompt(n):
        """The n-th prompt: the shell asks for the cursor once it listens; keys before are lost."""
        while seen.count(b"\x1b[6n") < n:
            read_more()

    read_prompt(1)
    os.write(master, b"test -t 0 && echo has-a-te\"\"rminal; cat /f\n")
    read_until(b"has-a-terminal")
    read_until(b"gone")
    read_prompt(2)
    os.write(master, b"echo sl\"\"eeps; sleep 100; echo still-h\"\"ere $?\n")
    read_until(b"sleeps")
    # ^C ends the sleep, not the build. A shell drops keys that come while it changes modes.
    for _ in range(50):
        os.write(master, b"\x03")
        if select.select([master], [], [], 0.5)[0]:
            seen += os.read(master, 4096)
        if seen.rstrip().endswith(b"#") or b"still-here" in seen or seen.endswith(b"\x1b[6n"):
            break
    assert process.poll() is None, seen
    for _ in range(100):
        try:
            os.write(master, b"exit\n")
            if select.select([master], [], [], 0.5)[0]:
                os.read(master, 65536)
        except OSError:  # nobody is at the other end just now
            time.sleep(0.2)
        if process.poll() is not None:
            break
    assert process.wait(60) == 1
    os.close(master)
    assert wait_for(lambda: not processes_with(strake.dir), 3)


def test_terminal_that_goes_away(strake):
    strake.dockerfile("FROM busybox\nRUN exit 9\n")
    master, slave = pty.openpty()
    process = strake.popen("build", "--progress=plain", "--on-error=shell",
                           *strake.bases(["busybox"]), strake.context, stdin=slave, stdout=slave,
                           stderr=slave)
    os.close(slave)
    seen = b""
    while b"/ # " not in seen:
        seen += os.read(master, 4096)
    os.close(master)
    assert process.wait(60) != 0
    assert wait_for(lambda: not processes_with(strake.dir), 3)
