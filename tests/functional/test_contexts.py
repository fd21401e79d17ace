"""Contexts that are not a plain directory, remote sources of ADD, and --squash."""

import functools
import http.server
import io
import os
import subprocess
import tarfile
import threading

import pytest


@pytest.fixture
def server(strake):
    """An HTTP server over strake.path('www')."""
    www = strake.mkdir("www")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=www)
    handler.log_message = lambda *args: None
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield www, "http://127.0.0.1:%d" % httpd.server_port
    httpd.shutdown()
    httpd.server_close()


def tar_of(files, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            info.mode = 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def tree(strake, *args, **kwargs):
    target = strake.path("out.tar")
    if os.path.exists(target):
        os.unlink(target)
    strake.run("build", "-q", "-o", "type=tar,dest=" + target, *args, **kwargs)
    with tarfile.open(target) as tar:
        return {m.name.strip("/"): m for m in tar.getmembers()}


def make_repo(path):
    git = ["git", "-C", path, "-c", "user.name=t", "-c", "user.email=t@example.com"]
    env = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", HOME=path)
    subprocess.run(["git", "init", "-q", path], check=True, env=env)
    os.mkdir(os.path.join(path, "sub"))
    for name, text in {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "main\n",
                       "sub/Dockerfile": "FROM scratch\nCOPY . /s/\n", "sub/g": "g\n"}.items():
        with open(os.path.join(path, name), "w") as f:
            f.write(text)
    for command in (["add", "-A"], ["commit", "-qm", "one"], ["branch", "other"],
                    ["update-server-info"]):
        subprocess.run(git + command, check=True, env=env)


def test_dockerfile_on_stdin_has_no_context(strake):
    assert "a" in tree(strake, "-", input="FROM scratch\nCOPY <<E /a\nhi\nE\n")
    result = strake.run("build", "-", input="FROM scratch\nCOPY f /\n", check=False)
    assert result.code == 1 and "no build context" in result.err


def test_dockerfile_on_stdin_with_a_directory(strake):
    strake.write("f", "x")
    assert "f" in tree(strake, "-f", "-", strake.context, input="FROM scratch\nCOPY f /\n")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_on_stdin(strake, mode):
    archive = tar_of({"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "x", ".dockerignore": "f\n"},
                     mode)
    # .dockerignore does not apply to archives
    assert "f" in tree(strake, "-", input=archive)
    archive = tar_of({"ci/D": "FROM scratch\nCOPY ci /\n"}, mode)
    assert "D" in tree(strake, "-f", "ci/D", "-", input=archive)


def test_archive_without_dockerfile(strake):
    result = strake.run("build", "-", input=tar_of({"f": "x"}), check=False)
    assert result.code != 0 and "holds no Dockerfile" in result.err


def test_http_contexts(strake, server):
    www, url = server
    with open(os.path.join(www, "ctx.tar"), "wb") as f:
        f.write(tar_of({"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "x"}))
    assert "f" in tree(strake, url + "/ctx.tar")
    with open(os.path.join(www, "D"), "w") as f:
        f.write("FROM scratch\nCOPY <<E /a\nhi\nE\n")
    assert "a" in tree(strake, url + "/D")
    result = strake.run("build", url + "/none", check=False)
    assert result.code == 1 and "404" in result.err


def test_git_context(strake, server):
    www, url = server
    make_repo(os.path.join(www, "repo"))
    repo = url + "/repo/.git"
    assert set(tree(strake, repo)) == {"f"}
    assert set(tree(strake, repo + "#other:sub")) == {"s", "s/Dockerfile", "s/g"}
    result = strake.run("build", repo + "#nothing", check=False)
    assert result.code == 1 and "nothing" in result.err


def test_add_from_afar(strake, server):
    www, url = server
    make_repo(os.path.join(www, "repo"))
    with open(os.path.join(www, "a[1].tar"), "wb") as f:
        f.write(tar_of({"inner": "x"}))
    os.utime(os.path.join(www, "a[1].tar"), (1234567890, 1234567890))
    strake.dockerfile("FROM scratch\nADD %s/a%%5B1%%5D.tar /file\nADD %s/a%%5B1%%5D.tar /\n"
                      "ADD --unpack %s/a%%5B1%%5D.tar /un/\nADD %s/repo/.git#other:sub /r\n"
                      % (url, url, url, url))
    files = tree(strake, strake.context)
    assert files["file"].mode & 0o7777 == 0o600 and files["file"].isfile()
    assert files["file"].mtime == 1234567890  # Last-Modified
    assert files["a[1].tar"].size == files["file"].size
    assert files["un/inner"].isfile() and files["r/g"].isfile() and "r/.git" not in files
    again = strake.build()
    assert "DONE" in again.err and again.err.count("CACHED") >= 4


def test_squash_keeps_the_base_and_the_files(strake):
    strake.write("f", "x")
    text = ("FROM busybox\nRUN mkdir /d && echo 1 >/d/a && echo 2 >/d/b\nRUN rm /d/a && rm -r /home\n"
            "COPY f /d/c\nRUN chmod 700 /d\n")
    plain = strake.image(dockerfile=text, name="plain")
    squashed = strake.image("--squash", name="squashed")
    base = strake.image(dockerfile="FROM busybox\n", name="base")
    assert len(squashed.config["rootfs"]["diff_ids"]) == len(base.config["rootfs"]["diff_ids"]) + 1
    assert squashed.config["rootfs"]["diff_ids"][0] == plain.config["rootfs"]["diff_ids"][0]

    def facts(image):
        return {p: (e.type, e.mode, e.uid, e.gid, e.size, e.digest, e.link)
                for p, e in image.tree().items()}
    assert facts(squashed) == facts(plain)
    assert "home" not in squashed.tree() and "d/a" not in squashed.tree()


def test_many_directories(strake):
    """Threads walk and hash a large context; they must be gone when the user namespace is made."""
    for i in range(40):
        strake.write("t/d%d/f" % i, "%d\n" % i)
    strake.dockerfile('FROM busybox\nCOPY t /t\nRUN test "$(cat /t/*/f | wc -l)" = 40\n')
    for changed in ("first", "second"):
        strake.write("t/d7/f", changed + "\n")
        strake.build()
        out = strake.build().err
        assert "#5 CACHED" in out and "#6 CACHED" in out, out
