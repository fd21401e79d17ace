"""Facts of the Dockerfile language that only a real build shows; the numbers are SEMANTICS.md's.

Most cases check themselves: a RUN in the image fails unless the fact holds.
"""

import pytest

B = "FROM busybox\n"

# (name, context files, Dockerfile)
SELF_CHECKING = [
    ("10-heredoc-quoted-word", {}, B + "ARG X=1\nRUN <<'EOF'\nY=2; test \"$Y\" = 2\nEOF\n"),
    ("10-heredoc-strips-tabs", {},
     B + "COPY <<-EOF /f\n\tone\n\t\ttwo\n\tEOF\nRUN test \"$(cat /f)\" = \"$(printf 'one\\ntwo')\"\n"),
    ("11-heredoc-shebang", {}, B + "RUN <<EOF\n#!/bin/awk -f\nBEGIN { print 1+1 >\"/n\" }\nEOF\n"
     "RUN test $(cat /n) = 2\n"),
    ("11-heredoc-to-the-shell", {}, B + "RUN cat <<EOF >/f\nhello\nEOF\nRUN test $(cat /f) = hello\n"),
    ("12-copy-heredoc", {}, B + "COPY <<one <<two /d/\n1\none\n2\ntwo\n"
     "RUN test $(cat /d/one)$(cat /d/two) = 12 && test $(stat -c %a /d/one) = 644\n"),
    ("10-copy-heredoc-expands", {}, B + "ARG X=v\nCOPY <<EOF /f\n$X\nEOF\nCOPY <<'EOF' /g\n$X\nEOF\n"
     "RUN test \"$(cat /f)\" = v && test \"$(cat /g)\" = '$X'\n"),
    ("13-env-uses-old-values", {}, B + "ENV a=1\nENV a=2 b=$a\nRUN test $a$b = 21\n"),
    ("14-run-text-not-expanded", {}, B + "ENV a=1\nRUN a=2; test $a = 2\n"),
    ("16-operators", {}, B + "ENV v=foo.tar.gz e=\nENV a=${v%.*} b=${v%%.*} c=${v#*.} d=${v##*.} "
     "f=${v/foo/bar} g=${e:-d} h=${e-d} i=${v:+set} j=${u-w}\n"
     "RUN test \"$a,$b,$c,$d,$f,$g,$h,$i,$j\" = foo.tar,foo,tar.gz,gz,bar.tar.gz,d,,set,w\n"),
    ("17-arg-before-from", {}, "ARG BASE=busybox\nFROM $BASE\nRUN test -z \"$BASE\"\nARG BASE\n"
     "RUN test \"$BASE\" = busybox\n"),
    ("18-arg-is-environment-of-run", {}, B + "ARG X=1\nRUN test $X = 1 && env | grep -q ^X=1\n"),
    ("19-later-of-arg-and-env-wins", {}, B + "ENV X=env\nARG X=arg\nRUN test $X = arg\n"),
    ("20-args-of-a-parent-stage", {}, B.strip() + " AS p\nARG X=1\nFROM p\nRUN test $X = 1\n"),
    ("22-platform-args", {}, B + "RUN test -z \"$TARGETARCH\"\nARG TARGETARCH TARGETOS\n"
     "RUN test -n \"$TARGETARCH\" && test $TARGETOS = linux\n"),
    ("30-directory-copies-contents", {"d/f": "x", "d/sub/g": "y"},
     B + "COPY d /t\nRUN test -f /t/f && test -f /t/sub/g && test ! -e /t/d\n"),
    ("30-several-sources-make-a-directory", {"a": "1", "b": "2"},
     B + "COPY a b /t\nRUN test -f /t/a && test -f /t/b\n"),
    ("31-dotdot-is-clamped", {"a": "1"}, B + "COPY ../../a /x\nCOPY /a /y\nRUN test -f /x && test -f /y\n"),
    ("32-wildcard-takes-dotfiles", {"d/.hidden": "1", "d/seen": "2", "d/sub/deep": "3"},
     B + "COPY d/* /t/\nRUN test -f /t/.hidden && test -f /t/seen && test -f /t/deep && test ! -e /t/sub\n"),
    ("33-wildcard-without-match", {"a": "1"}, B + "COPY nothing* /t/\nRUN test ! -e /t/a\n"),
    ("34-top-level-link-is-followed", {"real/f": "1", "link": "->real", "real/l": "->f"},
     B + "COPY link /t\nRUN test -f /t/f && test ! -L /t && test -L /t/l && test $(readlink /t/l) = f\n"),
    ("35-destination-link-inside-root", {"f": "1"},
     B + "RUN mkdir /real && ln -s /real /link && ln -s ../../../../real /up\n"
     "COPY f /link/a\nCOPY f /up/b\nRUN test -f /real/a && test -f /real/b && test -L /link\n"),
    ("37-top-level-keeps-nested-takes", {"d/sub/f": "1"},
     B + "RUN mkdir -m 700 /t && mkdir -m 700 /t/sub && chown 5:6 /t /t/sub\nCOPY d /t\n"
     "RUN test $(stat -c %a:%u /t) = 700:5 && test $(stat -c %a:%u /t/sub) = 755:0\n"),
    ("38-created-parents", {"f": "1"}, B + "COPY --chown=3:4 f /a/b/c\n"
     "RUN test $(stat -c %a:%u:%g /a/b) = 755:3:4 && test $(stat -c %u:%g /a/b/c) = 3:4\n"),
    ("40-chown-name", {"f": "1"}, B + "COPY --chown=daemon f /a\nCOPY --chown=1000 f /b\n"
     "COPY --chown=mail:users f /c\n"
     "RUN test $(stat -c %u:%g /a) = 1:1 && test $(stat -c %u:%g /b) = 1000:1000 && "
     "test $(stat -c %u:%g /c) = 8:100\n"),
    ("41-link", {"f": "1"}, B + "COPY --link f /a/f\nRUN test -f /a/f && test -f /bin/sh\n"),
    ("42-hard-links-in-a-copy", {}, B.strip() + " AS a\nRUN mkdir /d && echo x >/d/1 && ln /d/1 /d/2\n"
     + B + "COPY --from=a /d /d\nRUN test $(stat -c %h /d/1) = 2\n"),
    ("46-chmod-octal-and-symbolic", {"f": "1"}, B + "COPY --chmod=4711 f /a\nCOPY --chmod=u=rwX,go=rX f /b\n"
     "RUN test $(stat -c %a /a) = 4711 && test $(stat -c %a /b) = 644\n"),
    ("46-parents", {"a/b/f": "1", "a/c/g": "2"}, B + "COPY --parents a/b/f a/c/g /t/\n"
     "COPY --parents ./a/./b/f /u/\nRUN test -f /t/a/b/f && test -f /t/a/c/g && test -f /u/b/f\n"),
    ("46-exclude", {"d/a.c": "1", "d/a.o": "2", "d/sub/b.o": "3"},
     B + "COPY --exclude=**/*.o d /t\nRUN test -f /t/a.c && test ! -e /t/a.o && test ! -e /t/sub/b.o\n"),
    ("51-default-path", {}, B + "RUN test $PATH = /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"),
    ("52-shell", {}, B + "SHELL [\"/bin/busybox\", \"ash\", \"-e\", \"-c\"]\nRUN case $- in *e*) ;; *) exit 1;; esac\n"),
    ("53-user", {}, B + "USER daemon\nRUN test $(id -u):$(id -g) = 1:1 && test $HOME = /usr/sbin\n"
     "USER 1234\nRUN test $(id -u):$(id -g) = 1234:0\nUSER 1:100\nRUN test $(id -u):$(id -G) = 1:100\n"),
    ("54-hosts-and-resolv-leave-no-trace", {}, "FROM busybox AS a\nRUN test -s /etc/hosts && test -e /etc/resolv.conf\n"
     + B + "COPY --from=a /etc /e\nRUN test ! -e /e/hosts && test ! -e /e/resolv.conf\n"),
    ("55-stdin-is-null", {}, B + "RUN test -z \"$(cat)\"\n"),
    ("56-cache-mount-is-kept", {}, B + "RUN --mount=type=cache,target=/c echo 1 >/c/f\n"
     "RUN --mount=type=cache,target=/c test $(cat /c/f) = 1\nRUN test ! -e /c\n"),
    ("58-bind-is-read-only", {"f": "1"}, B + "RUN --mount=type=bind,target=/m test -f /m/f && ! touch /m/g\n"
     "RUN --mount=type=bind,target=/m,rw touch /m/g\nRUN --mount=type=bind,target=/m test ! -e /m/g\n"),
    ("58-bind-from-stage", {}, "FROM busybox AS a\nRUN echo 1 >/f\n" + B +
     "RUN --mount=type=bind,from=a,source=/f,target=/x test $(cat /x) = 1\nRUN test ! -e /x\n"),
    ("58-tmpfs", {}, B + "RUN --mount=type=tmpfs,target=/t,size=1m touch /t/f && "
     "! dd if=/dev/zero of=/t/g bs=1M count=2\nRUN test ! -e /t/f\n"),
    ("60-network-none", {}, B + "RUN --network=none test \"$(ls /sys/class/net)\" = lo\n"),
    ("62-workdir-owner", {}, B + "USER 1000:1000\nWORKDIR /w/x\nRUN test $(stat -c %a:%u:%g /w/x) = 755:1000:1000 "
     "&& test $PWD = /w/x\nWORKDIR y\nRUN test $PWD = /w/x/y\n"),
    ("66-volume-keeps-writes", {}, B + "VOLUME /v\nRUN mkdir /v && echo 1 >/v/f\nRUN test $(cat /v/f) = 1\n"),
    ("74-type-changes", {}, B + "RUN mkdir /a && echo 1 >/a/f && echo 2 >/b\nRUN rm -r /a && echo 3 >/a && "
     "rm /b && mkdir /b\nRUN test -f /a && test -d /b && test ! -e /b/f\n"),
    ("73-delete-and-recreate", {}, B + "RUN mkdir /a && touch /a/old\nRUN rm -r /a && mkdir /a && touch /a/new\n"
     "RUN test \"$(ls /a)\" = new\n"),
    ("79-mount-target-leaves-nothing", {}, B + "RUN --mount=type=tmpfs,target=/x/y/z true\nRUN test ! -e /x\n"),
    ("80-single-wildcard-match", {"one.txt": "1"}, B + "COPY one* /x\nRUN test -f /x\n"),
    ("81-hidden-directory-copies-empty", {".dockerignore": "sub\n", "sub/f": "1"},
     B + "COPY sub /t\nRUN test -d /t && test ! -e /t/f\n"),
    ("81-bang-brings-back", {".dockerignore": "sub\n!sub/keep\n", "sub/f": "1", "sub/keep": "2"},
     B + "COPY sub /t\nRUN test ! -e /t/f && test -f /t/keep\n"),
    ("9-lower-case-instructions", {}, "from busybox as x\nrun echo 1 >/f\nfrom x\nrun test -f /f\n"),
    ("29-onbuild-of-a-stage", {}, "FROM busybox AS p\nONBUILD RUN echo 1 >/trigger\n"
     "FROM p\nRUN test -f /trigger\n"),
    ("23-mount-from-zero-is-a-name", {}, "FROM busybox AS zero\nRUN echo 1 >/f\n" + B +
     "RUN --mount=type=bind,from=zero,target=/m test -f /m/f\n"),
]


@pytest.mark.parametrize("files,text", [c[1:] for c in SELF_CHECKING],
                         ids=[c[0] for c in SELF_CHECKING])
def test_fact(strake, files, text):
    for name, content in files.items():
        if content.startswith("->"):
            strake.write(name, link=content[2:])
        else:
            strake.write(name, content)
    # the last step proves that the steps before it ran
    result = strake.build(dockerfile=text + "RUN echo reached-$((6 * 7))\n")
    assert "reached-42" in result.err


def test_63_entrypoint_clears_inherited_cmd(strake):
    strake.build("-t", "parent", dockerfile='FROM scratch\nCMD ["a"]\n')
    assert "Cmd" not in strake.image(dockerfile='FROM parent\nENTRYPOINT ["b"]\n').config["config"]
    image = strake.image(dockerfile='FROM parent\nCMD ["c"]\nENTRYPOINT ["b"]\n')
    assert image.config["config"]["Cmd"] == ["c"]


def test_29_onbuild_of_an_image(strake):
    strake.build("-t", "parent", dockerfile="FROM busybox\nONBUILD COPY f /f\nONBUILD RUN test -f /f\n")
    strake.write("f", "x")
    image = strake.image(dockerfile="FROM parent\nRUN test -f /f\n")
    assert not image.config["config"].get("OnBuild")


def test_57_secret_leaves_no_trace(strake):
    canary = "c4n4ry-5ecret-value"
    path = strake.write("token", canary, root=strake.mkdir("secrets"))
    image = strake.image("--secret", "id=t,src=" + path, dockerfile=(
        "FROM busybox\nRUN --mount=type=secret,id=t test \"$(cat /run/secrets/t)\" = " + canary[:7] +
        '"' + canary[7:] + '" && test $(stat -c %a /run/secrets/t) = 400\n'
        "RUN test ! -e /run/secrets\n"))
    for i in range(len(image.layers)):
        assert canary.encode() not in image.layer_tar(i)
    import os
    for folder, _, names in os.walk(strake.store):
        for name in names:
            full = os.path.join(folder, name)
            if os.path.isfile(full) and not os.path.islink(full) and os.access(full, os.R_OK):
                with open(full, "rb") as f:
                    assert canary.encode() not in f.read(), full


def test_57_required_secret(strake):
    result = strake.build(check=False, dockerfile="FROM busybox\n"
                          "RUN --mount=type=secret,id=nope,required cat /run/secrets/nope\n")
    assert 1 <= result.code <= 123 and "nope" in result.err


def test_77_workdir_adds_a_layer(strake):
    image = strake.image(dockerfile="FROM busybox\nWORKDIR /tmp/\n")
    assert image.config["config"]["WorkingDir"] == "/tmp/"
    assert len(image.layers) == 2


def test_78_scratch_alone_has_no_history(strake):
    image = strake.image(dockerfile="FROM scratch\nENV A=1\n")
    assert len(image.history) == 1 and image.layers == []


def test_18_proxy_arguments_leave_no_trace(strake):
    text = "FROM busybox\nRUN case $HTTP_PROXY in *//one:1 | *//two:2) ;; *) exit 1; esac\n"
    image = strake.image("--build-arg", "HTTP_PROXY=http://one:1", dockerfile=text)
    assert "http://one" not in str(image.config)
    from conftest import executed
    result = strake.build("--build-arg", "HTTP_PROXY=http://two:2")
    assert executed(result) == []


def test_36_file_over_directory(strake):
    strake.write("f", "1")
    strake.write("d/x", "1")
    for text in ("FROM busybox\nRUN mkdir -p /t/f\nCOPY f /t/\n",
                 "FROM busybox\nRUN mkdir /t && touch /t/d\nCOPY --parents d /t/\n"):
        result = strake.build(check=False, dockerfile=text)
        assert 1 <= result.code <= 123 and "COPY" in result.err


def test_42_mtime_is_preserved(strake):
    import os
    path = strake.write("f", "1")
    os.utime(path, (1234567890, 1234567890))
    assert strake.image(dockerfile="FROM scratch\nCOPY f /f\n").tree()["f"].mtime == 1234567890


@pytest.mark.parametrize("form", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_43_add_unpacks_archives(strake, form):
    import io
    import os
    import tarfile
    path = os.path.join(strake.context, "a." + form)
    with tarfile.open(path, "w:" + form[4:]) as tar:
        info = tarfile.TarInfo("dir/file")
        info.size, info.uid, info.gid, info.mode, info.mtime = 2, 12, 34, 0o640, 1000000000
        tar.addfile(info, io.BytesIO(b"hi"))
    os.chmod(path, 0o644)
    os.chown(path, strake.user.uid, strake.user.gid)
    tree = strake.image(dockerfile="FROM scratch\nADD a.%s /t/\nCOPY a.%s /c\n" % (form, form)).tree()
    entry = tree["t/dir/file"]
    assert (entry.uid, entry.gid, entry.mode, entry.mtime) == (12, 34, 0o640, 1000000000)
    assert tree["c"].type == "f"


def test_5_only_the_dockerfile_frontend(strake):
    for syntax in ("docker/dockerfile:1", "docker.io/docker/dockerfile:1.7-labs",
                   "docker/dockerfile@sha256:" + "0" * 64):
        strake.build(dockerfile="# syntax=%s\nFROM scratch\nLABEL a=b\n" % syntax)
        strake.build("--build-arg", "BUILDKIT_SYNTAX=" + syntax,
                     dockerfile="# syntax=example.org/other\nFROM scratch\nLABEL a=b\n")
    for syntax in ("example.org/other:1", "docker/dockerfile-evil"):
        for text, args in (("# syntax=%s\n" % syntax, ()), ("// syntax=%s\n" % syntax, ()),
                           ("", ("--build-arg", "BUILDKIT_SYNTAX=" + syntax))):
            failed = strake.build(*args, dockerfile=text + "FROM scratch\n", check=False)
            assert 1 <= failed.code <= 123 and syntax in failed.err, failed
            assert "strake reads the Dockerfile language itself" in failed.err, failed


def test_50_ignore_files_of_contexts(strake):
    """The definition is readable though hidden, and each local context has its own file."""
    other = strake.mkdir("other")
    for name in ("a", "b"):
        strake.write(name, name)
        strake.write(name, name, root=other)
    strake.write(".dockerignore", "Dockerfile\n.dockerignore\na\n")
    strake.write(".dockerignore", "b\n", root=other)
    tree = strake.image("--build-context", "other=" + other, dockerfile=(
        "FROM scratch\nCOPY . /main/\nCOPY --from=other . /other/\n")).tree()
    assert {p for p, e in tree.items() if e.type == "f"} == {
        "main/b", "other/a", "other/.dockerignore"}


def test_83_links_and_directories_are_not_exchanged(strake):
    strake.write("d/x/f", "1")
    strake.write("l/x", link="/bin")
    for text in ("RUN mkdir -p /t && ln -s /bin /t/x\nCOPY d /t\n",
                 "RUN mkdir -p /t/x\nCOPY l /t\n"):
        failed = strake.build(check=False, dockerfile="FROM busybox\n" + text)
        assert 1 <= failed.code <= 123 and "link" in failed.err and "/t/x" in failed.err, failed


def test_85_chown_reaches_the_entries_of_archives(strake):
    import io
    import os
    import tarfile
    path = os.path.join(strake.context, "a.tar")
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("d/f")
        info.size, info.uid, info.gid, info.mode = 2, 12, 34, 0o640
        tar.addfile(info, io.BytesIO(b"hi"))
    os.chmod(path, 0o644)
    tree = strake.image(dockerfile="FROM scratch\nADD --chown=5:6 --chmod=777 a.tar /\n").tree()
    assert (tree["d/f"].uid, tree["d/f"].gid, tree["d/f"].mode) == (5, 6, 0o640)


def test_68_media_types(strake):
    image = strake.image(dockerfile="FROM scratch\nCOPY Dockerfile /\n")
    assert image.manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert image.manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert image.layers[0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
