"""What the user sees: plain lines as BuildKit writes them, JSON, quiet, and a live terminal."""

import base64
import fcntl
import json
import os
import pty
import re
import select
import struct
import termios

TEXT = "FROM busybox AS one\nRUN echo visible; echo warn >&2\nFROM busybox\nCOPY --from=one /etc/passwd /p\n"


def test_plain(strake):
    err = strake.build(dockerfile=TEXT).err
    assert re.search(r"^#\d+ \[one \d/2\] RUN echo visible; echo warn >&2$", err, re.M)
    assert re.search(r"^#\d+ \d\.\d{3} visible$", err, re.M)
    assert re.search(r"^#\d+ \d\.\d{3} warn$", err, re.M)
    assert re.search(r"^#\d+ DONE \d+\.\ds$", err, re.M)
    assert re.search(r"^#\d+ \[stage-1 \d/2\] COPY --from=one /etc/passwd /p$", err, re.M)
    again = strake.build().err
    assert re.search(r"^#\d+ CACHED$", again, re.M) and not re.search(r"^#\d+ \S+ visible$", again, re.M)


def test_plain_goes_to_stderr_alone(strake):
    result = strake.build(dockerfile=TEXT)
    assert result.out == "" and "visible" in result.err


def test_output_is_streamed(strake):
    """A log line arrives while its step still runs."""
    import subprocess
    strake.dockerfile("FROM busybox\nRUN echo early; sleep 30\n")
    process = strake.popen("build", "--progress=plain", *strake.bases(["busybox"]), strake.context,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seen = b""
    try:
        while b" early\n" not in seen:
            ready = select.select([process.stderr], [], [], 60)[0]
            assert ready, seen
            chunk = os.read(process.stderr.fileno(), 4096)
            assert chunk, seen
            seen += chunk
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(30)


def test_rawjson(strake):
    strake.dockerfile(TEXT)
    result = strake.run("build", "--progress=rawjson", *strake.bases(["busybox"]), strake.context)
    logs, names = b"", []
    for line in result.err.splitlines():
        event = json.loads(line)
        logs += b"".join(base64.b64decode(entry["data"]) for entry in event.get("logs", []))
        names += [vertex["name"] for vertex in event.get("vertexes", [])]
    assert b"visible\n" in logs
    assert any("RUN echo visible" in name for name in names)


def test_quiet_shows_why_it_failed(strake):
    strake.dockerfile("FROM busybox\nRUN echo reason; exit 3\n")
    result = strake.run("build", "-q", *strake.bases(["busybox"]), strake.context, check=False)
    assert result.code == 1 and result.out == ""
    assert "exit code: 3" in result.err


def run_on_terminal(strake, cols, *args):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, cols, 0, 0))
    process = strake.popen(*args, stdout=slave, stderr=slave, stdin=slave, env={"TERM": "xterm"})
    os.close(slave)
    seen = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    return process.wait(60), seen.decode(errors="replace")


def test_terminal(strake):
    strake.dockerfile("FROM busybox\nRUN echo on-terminal; sleep 0.5\n")
    for cols in (80, 15):
        code, seen = run_on_terminal(strake, cols, "build", "--no-cache",
                                     *strake.bases(["busybox"]), strake.context)
        assert code == 0, seen
        assert "[+] Building" in seen
        assert seen.count("\033[?25l") == seen.count("\033[?25h")
        assert seen.rfind("\033[?25h") > seen.rfind("\033[?25l")
        if cols == 80:
            assert "FINISHED" in seen and "# on-terminal" in seen
        # no line of a frame exceeds the terminal
        for line in re.sub(r"\033\[[?0-9;]*[A-Za-z]", "", seen).replace("\r", "").split("\n"):
            if line.startswith((" =>", "[+]")):
                assert len(line) < cols, line


def test_no_color(strake):
    strake.dockerfile("FROM busybox\nRUN sleep 0.3\n")
    strake.env["NO_COLOR"] = "1"
    code, seen = run_on_terminal(strake, 80, "build", *strake.bases(["busybox"]), strake.context)
    assert code == 0 and "[+] Building" in seen and not re.search(r"\033\[[0-9;]*m", seen)
