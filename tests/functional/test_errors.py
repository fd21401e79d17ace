"""Bad input: one clear message with the place and the cure, exit code 1 to 123, a clean store."""

import os
import subprocess

import pytest

from conftest import IS_ROOT


def fails(strake, text, *words, args=(), **kwargs):
    result = strake.build(*args, check=False, dockerfile=text, **kwargs)
    assert 1 <= result.code <= 123, result
    for word in words:
        assert word in result.err, "no %r in %s" % (word, result.err)
    assert "\033" not in result.err
    return result


def test_missing_dockerfile(strake):
    result = strake.build(check=False)
    assert 1 <= result.code <= 123
    assert "Dockerfile" in result.err and "-f" in result.err


def test_missing_context(strake):
    result = strake.run("build", os.path.join(strake.dir, "nowhere"), check=False)
    assert 1 <= result.code <= 123 and "nowhere" in result.err


def test_no_context_argument(strake):
    result = strake.run("build", check=False)
    assert 1 <= result.code <= 123 and "build" in result.err


def test_unknown_instruction(strake):
    fails(strake, "FROM scratch\nCOPPY a b\n", "Dockerfile:2", "COPPY", "COPY")


def test_unknown_flag_of_an_instruction(strake):
    fails(strake, "FROM scratch\nCOPY --chwon=1 a b\n", "Dockerfile:2", "chwon", "chown")


def test_unknown_option(strake):
    result = strake.run("build", "--tga", "x", strake.context, check=False)
    assert 1 <= result.code <= 123 and "--tga" in result.err


def test_unknown_command(strake):
    result = strake.run("biuld", check=False)
    assert 1 <= result.code <= 123 and "biuld" in result.err and "build" in result.err


def test_unknown_target(strake):
    fails(strake, "FROM scratch AS builder\nENV A=b\n", "bulder", "builder",
          args=["--target", "bulder"])


def test_unknown_copy_stage(strake):
    fails(strake, "FROM scratch AS builder\nENV A=b\nFROM scratch\nCOPY --from=buidler /a /\n",
          "buidler")


def test_later_stage(strake):
    fails(strake, "FROM busybox AS a\nCOPY --from=b /x /\nFROM busybox AS b\nRUN touch /x\n"
                  "FROM a\n", "b", "Dockerfile:2")


def test_missing_copy_source(strake):
    fails(strake, "FROM scratch\nCOPY nope /x\n", "Dockerfile:2", "nope")


def test_missing_copy_source_hidden_by_ignore_file(strake):
    strake.write("hidden.txt", "x")
    strake.write(".dockerignore", "# c\n*.txt\n")
    fails(strake, "FROM scratch\nCOPY hidden.txt /x\n", "Dockerfile:2", "hidden.txt",
          ".dockerignore", "*.txt")


def test_missing_source_in_a_stage(strake):
    fails(strake, "FROM busybox AS a\nFROM scratch\nCOPY --from=a /nope /x\n", "Dockerfile:3",
          "/nope")


def test_missing_base(strake):
    fails(strake, "FROM localhost:1/no/such:image\n", "Dockerfile:1", "localhost:1/no/such")


def test_missing_tag_of_a_layout(strake):
    layout = strake.layouts("busybox")
    fails(strake, "FROM b\n", "nosuchtag",
          args=["--build-context", "b=oci-layout://%s:nosuchtag" % layout])


def test_layout_that_is_none(strake):
    fails(strake, "FROM b\n", "empty-dir",
          args=["--build-context", "b=oci-layout://%s:x" % strake.mkdir("empty-dir")])


def test_damaged_layout_blob(strake):
    copy = strake.path("damaged")
    subprocess.run(["cp", "-r", strake.layouts("busybox"), copy], check=True)
    blobs = os.path.join(copy, "blobs/sha256")
    biggest = max(os.listdir(blobs), key=lambda n: os.path.getsize(os.path.join(blobs, n)))
    with open(os.path.join(blobs, biggest), "r+b") as f:
        f.seek(1000)
        f.write(b"\xff\x00\xff")
    subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
    fails(strake, "FROM b\nRUN true\n", biggest[:12],
          args=["--build-context", "b=oci-layout://%s:latest" % copy])


def test_failing_run(strake):
    result = fails(strake, "FROM busybox\nRUN true\nRUN echo before; false\nRUN echo never\n",
                   'process "/bin/sh -c echo before; false" did not complete successfully: '
                   "exit code: 1", "Dockerfile:3", ">>> RUN echo before; false", "before")
    assert result.code == 1
    assert "never" not in [line for line in result.err.split("\n") if line.startswith("#")]


def test_exit_code_is_named(strake):
    result = fails(strake, "FROM busybox\nRUN exit 42\n", "exit code: 42")
    assert result.code == 1


def test_command_not_found(strake):
    fails(strake, "FROM busybox\nRUN no-such-program --x\n", "no-such-program", "exit code: 127")


def test_exec_form_of_a_missing_program(strake):
    fails(strake, 'FROM busybox\nRUN ["/no/such/program"]\n', "/no/such/program")


def test_killed_by_a_signal(strake):
    # The shell itself is pid 1 of its namespace, which no signal of its own can kill.
    fails(strake, "FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?\n", "137")


def test_failed_step_is_not_cached(strake):
    strake.write("flag", "")
    text = "FROM busybox\nRUN --mount=type=cache,target=/c [ -e /c/x ] || { touch /c/x; exit 1; }\n"
    fails(strake, text, "exit code: 1")
    strake.build()


def test_missing_quote_and_unterminated_heredoc(strake):
    fails(strake, "FROM scratch\nENV A=\"b\n", "Dockerfile:2")
    fails(strake, "FROM busybox\nRUN <<EOF\necho\n", "unterminated heredoc", "Dockerfile:2")


def test_no_from(strake):
    fails(strake, "RUN true\n", "Dockerfile:1", "FROM")


def test_empty_dockerfile(strake):
    fails(strake, "", "Dockerfile")
    fails(strake, "# only a comment\n", "Dockerfile")


def test_binary_dockerfile(strake):
    strake.write("Dockerfile", b"\x00\x01\xff\xfe\x1b]0;x\x07")
    result = strake.build(check=False)
    assert 1 <= result.code <= 123 and "\x1b" not in result.err and "\x07" not in result.err
    assert result.err


def test_hundred_megabyte_line(strake):
    strake.write("Dockerfile", b"FROM scratch\nENV A=" + b"x" * (100 << 20) + b"\n")
    result = strake.build(check=False)
    assert 1 <= result.code <= 123 and len(result.err) < 10000


def test_unreadable_context_file(strake):
    if strake.user.is_root:
        pytest.skip("root reads everything")
    strake.write("secret", "x", mode=0o000)
    fails(strake, "FROM scratch\nCOPY secret /\n", "secret", "ermission denied")


def test_unwritable_store(strake):
    if strake.user.is_root:
        pytest.skip("root writes everywhere")
    strake.dockerfile("FROM scratch\nENV A=b\n")
    strake.check_clean = False
    result = strake.run("build", strake.context, check=False, env={"STRAKE_STORE": "/proc/nowhere"})
    assert 1 <= result.code <= 123 and "/proc/nowhere" in result.err


def test_store_path_is_a_file(strake):
    strake.dockerfile("FROM scratch\nENV A=b\n")
    path = strake.write("file", "x", root=strake.mkdir("f"))
    result = strake.run("build", strake.context, check=False, env={"STRAKE_STORE": path})
    assert 1 <= result.code <= 123 and path in result.err


def test_no_subuid_entry(base, binary, layouts, tmp_path):
    """An account without subordinate ids: works with one id, or says what to add."""
    if not IS_ROOT:
        pytest.skip("needs root to start a process of another account")
    directory = os.path.join(base, "nosub")
    for name in ("", "context", "home", "tmp"):
        os.makedirs(os.path.join(directory, name), exist_ok=True)
        os.chown(os.path.join(directory, name), 65533, 65533)
    with open(os.path.join(directory, "context/Dockerfile"), "w") as f:
        f.write("FROM busybox\nRUN echo hi\n")
    env = {"PATH": os.environ["PATH"], "HOME": directory + "/home", "TMPDIR": directory + "/tmp",
           "STRAKE_STORE": directory + "/home/store", "STRAKE_PRIVILEGE": "subid"}
    run = subprocess.run([binary, "build", "--progress=plain", "--build-context",
                          "busybox=oci-layout://%s:latest" % layouts("busybox"),
                          directory + "/context"], capture_output=True, text=True, env=env,
                         user=65533, group=65533, extra_groups=[], cwd=directory, timeout=120)
    assert 1 <= run.returncode <= 123, run
    assert "/etc/subuid" in run.stderr


@pytest.fixture
def small_disk(strake):
    """A 3 MiB file system for the store."""
    if not IS_ROOT:
        pytest.skip("mounting a small file system needs root")
    target = strake.mkdir("small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=755,uid=%d,gid=%d" % (
        strake.user.uid, strake.user.gid), "none", target], check=True)
    yield target
    subprocess.run(["umount", "-l", target], check=True)


def test_full_disk(strake, small_disk):
    store = os.path.join(small_disk, "store")
    result = strake.build(check=False, env={"STRAKE_STORE": store}, dockerfile=(
        "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=20\n"))
    assert 1 <= result.code <= 123
    assert "No space left" in result.err
    assert strake.run("fsck", env={"STRAKE_STORE": store}).code == 0


def test_step_without_network_says_so(strake):
    result = strake.build("--network", "none", check=False,
                          dockerfile="FROM busybox\nRUN wget -T 5 http://192.0.2.1/\n")
    assert 1 <= result.code <= 123


def test_build_arg_that_nothing_uses(strake):
    result = strake.build("--build-arg", "TYPO=1", dockerfile="FROM scratch\nARG TYPE\nENV A=b\n")
    assert "TYPO" in result.err


def test_hostile_names_and_output_are_escaped(strake):
    """B12: nothing a build says drives the terminal."""
    result = fails(strake, "FROM busybox\nLABEL x=\"\033]52;c;aGk=\007\"\n"
                   "RUN printf '\\033]0;title\\007\\033[2J\\302\\2331m\\342\\200\\256'; false\n",
                   "\\x1b]0;title\\x07")
    for bad in ("\x1b", "\x07", "\x9b", "\u202e"):
        assert bad not in result.err and bad not in result.out


def test_a_machine_without_proc(strake):
    script = 'mount -t tmpfs none /proc && exec "$0" images'
    result = subprocess.run(["unshare", "-rm", "sh", "-c", script, strake.binary], env=strake.env,
                            capture_output=True, text=True, **strake.user.arguments)
    if "unshare" in result.stderr:
        pytest.skip("no user namespace here: " + result.stderr.strip())
    assert result.returncode == 1 and "mount -t proc" in result.stderr, result
