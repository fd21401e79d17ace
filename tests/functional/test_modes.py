"""The ladder of privilege modes: root, subordinate ids, a single id. The same Dockerfile must give
the same image in each."""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile

import pytest

import oci
from conftest import IS_ROOT, Strake, User, remove_tree
from test_debian import online  # noqa: F401 (a fixture)

KINDS = ["root", "rootless", "single"] if IS_ROOT else ["self", "single"]


@pytest.fixture
def each(base, binary, layouts):
    """Calls a function with a program of each kind of user; returns {kind: result}."""
    made = []

    def run(function, kinds=KINDS):
        results = {}
        for kind in kinds:
            user = User(kind)
            directory = tempfile.mkdtemp(prefix="s.", dir=base)
            os.chown(directory, user.uid, user.gid)
            os.chmod(directory, 0o755)
            made.append(directory)
            strake = Strake(binary, user, directory, layouts)
            results[kind] = function(strake)
            strake.fsck()
        return results
    yield run
    for directory in made:
        remove_tree(directory)


def contents(tree):
    """All that a tree digest covers."""
    return {path: entry._replace(mtime=0) for path, entry in tree.items()}


def same(results):
    first = results[KINDS[0]]
    for kind in list(results)[1:]:
        differ = {p: (first.get(p), results[kind].get(p)) for p in set(first) | set(results[kind])
                  if first.get(p) != results[kind].get(p)}
        assert not differ, "%s and %s differ: %r" % (KINDS[0], kind, differ)
    return first


USERS = """FROM debian:bookworm-slim
RUN useradd -m -u 1234 app && echo hi >/home/app/f && ln -s f /home/app/l && chown -h app /home/app/l
RUN mkdir /srv/x && chown app:www-data /srv/x && chmod 2775 /srv/x && touch /srv/x/byroot
USER app
RUN test "$(id -u) $(stat -c %u:%g ~ ~/f ~/l /etc/shadow /var/mail | xargs)" = \
    "1234 1234:1234 0:0 1234:0 0:42 0:8"
RUN echo x >/srv/x/byapp; mkdir ~/d; ln -s mine ~/d/link; mkfifo ~/fifo; umask 077; echo s >~/secret; \
    cp -a ~/l ~/l2; cp ~/f ~/copy; mv ~/f ~/moved
USER root
RUN test "$(stat -c %u:%g /srv/x/* /home/app/secret /home/app/d/link | xargs)" = \
    "1234:33 0:33 1234:1234 1234:1234" && su app -c 'touch /tmp/by-su' && chmod 6755 /home/app/copy && \
    chown 77:88 /home/app/copy && mv /home/app/l2 /home/app/l3 && rm -rf /var/log/* /etc/*-
COPY --chown=app:www-data --chmod=0640 Dockerfile /srv/x/
COPY --chown=4321 Dockerfile /new/dir/
RUN test "$(stat -c %u:%g:%a /srv/x/Dockerfile /new/dir | xargs)" = "1234:33:640 4321:4321:755" && \
    echo >>/etc/gshadow && echo >>/srv/x/Dockerfile && chmod 700 /new/dir
WORKDIR /work/dir
"""


def test_same_image_in_every_mode(each):
    tree = same(each(lambda s: contents(s.image(dockerfile=USERS, bases=["debian"]).tree())))
    owners = {p: (tree[p].uid, tree[p].gid, tree[p].mode) for p in tree}
    assert owners["home/app"] == (1234, 1234, 0o755)
    assert (owners["home/app/l"], owners["home/app/l3"]) == ((1234, 0, 0o777), (1234, 1234, 0o777))
    assert owners["home/app/d/link"] == (1234, 1234, 0o777)
    assert owners["home/app/moved"] == (0, 0, 0o644)
    assert owners["home/app/copy"] == (77, 88, 0o755)
    assert owners["home/app/fifo"] == (1234, 1234, 0o644)
    assert owners["tmp/by-su"] == (1234, 1234, 0o644)
    assert owners["srv/x/byroot"] == (0, 33, 0o644)
    assert owners["srv/x/byapp"] == (1234, 33, 0o644)
    assert owners["srv/x/Dockerfile"] == (1234, 33, 0o640)
    assert owners["new/dir"] == (4321, 4321, 0o700)
    assert owners["etc/gshadow"] == (0, 42, 0o640)
    assert not [p for p in tree if any(n.startswith("user.strake") for n, _ in tree[p].xattrs)]


APT = """FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends cron sudo && \
    rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old \
    /var/cache/debconf /var/lib/systemd /etc/*-
RUN useradd -m -u 1234 -G sudo app && mkdir -p /app/data && chown -R app:app /app && \
    echo 'app ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/app && rm -f /etc/*-
USER app
RUN test "$(sudo -n id -u)" = 0 && sudo -n touch /app/by-root && touch /app/data/by-app
"""


def test_same_apt_image_in_every_mode(each, online):  # noqa: F811
    tree = same(each(lambda s: contents(s.image(dockerfile=APT, bases=["debian"]).tree())))
    assert (tree["usr/bin/crontab"].mode, tree["usr/bin/sudo"].mode) == (0o2755, 0o4755)
    assert tree["usr/bin/crontab"].gid >= 100
    assert (tree["app/by-root"].uid, tree["app/data/by-app"].uid) == (0, 1234)


COPIES = """FROM busybox AS a
COPY --chown=5:6 --chmod=2640 Dockerfile /srv/x
COPY --chmod=000 Dockerfile /zero
WORKDIR /a/b
COPY --from=busybox --chmod=0311 /bin/busybox /v/
RUN_OR_NOT
FROM scratch
COPY --from=a /zero /srv/x /
COPY --from=a / /r/
"""


def test_without_namespaces(each):
    """The lowest rung: no user namespace at all. Everything but RUN works, with the same result."""
    text = COPIES.replace("RUN_OR_NOT\n", "")
    tree = same(each(lambda s: contents(s.image(dockerfile=text).tree()),
                     KINDS + ["none"]))
    assert (tree["x"].uid, tree["x"].gid, tree["x"].mode) == (5, 6, 0o2640)
    assert tree["zero"].mode == 0 and tree["r/srv/x"].gid == 6

    def errors(strake):
        run = strake.build(dockerfile=COPIES.replace("RUN_OR_NOT", "RUN id"), check=False)
        assert run.code == 1 and "RUN needs root or a user namespace: STRAKE_PRIVILEGE=none" in run.err
        assert "Dockerfile:6" in run.err and "hint: unset STRAKE_PRIVILEGE" in run.err
        assert "RUN does not" in strake.run("info", check=False).out
        # what was written with one set of rights is not taken for something else
        other = strake.run("fsck", env={"STRAKE_PRIVILEGE": "single"}, check=False)
        assert other.code == 1 and "written with other rights" in other.err
        assert "STRAKE_STORE=" in other.err
    each(errors, ["none"])


def test_user_namespaces_switched_off(each):
    """By the sysctl, in a user namespace that stands for the machine."""
    off = ["unshare", "--map-root-user", "--map-auto", "sh", "-c",
           "echo 0 >/proc/sys/user/max_user_namespaces && "
           "exec setpriv --reuid 1000 --regid 1000 --clear-groups \"$@\"", "sh"]

    def refused(strake):
        home = strake.mkdir("theirs")
        os.chmod(home, 0o777)
        env = {**strake.env, "HOME": home, "STRAKE_STORE": home + "/s", "TMPDIR": home, "XDG_RUNTIME_DIR": home}

        def run(*args):
            return subprocess.run([*off, strake.binary, *args], env=env, cwd=strake.dir, capture_output=True,
                                  text=True, **strake.user.arguments)
        assert "user namespaces are switched off (user.max_user_namespaces is 0)" in run("info").stdout
        build = ("build", *strake.bases(["busybox"]), "-o", "type=oci,tar=false,dest=%s/out" % home,
                 strake.context)
        strake.dockerfile(COPIES.replace("RUN_OR_NOT\n", ""))
        result = run(*build)
        assert result.returncode == 0, result
        tree = contents(oci.open_layout(home + "/out").tree())
        strake.dockerfile(COPIES.replace("RUN_OR_NOT", "RUN id"))
        result = run(*build)
        assert result.returncode == 1 and "hint: sudo sysctl -w user.max_user_namespaces=" in result.stderr, result
        assert run("fsck").returncode == 0
        strake.dockerfile(COPIES.replace("RUN_OR_NOT\n", ""))
        assert contents(strake.image().tree()) == tree
    each(refused, [KINDS[1] if IS_ROOT else "self"])


# (alpine's applets are symlinks: a copy has busybox's binary once for each of its hard links)
ROOTS = """FROM alpine AS other
RUN echo hi >/bindme && mkdir /old && echo 1 >/old/a && echo 2 >/old/b && echo keep >/file && ln /file /hard
FROM other
RUN echo >>/etc/passwd && mkdir -p /data && chown 7:8 /data && touch /data/f && ln -s f /data/l && \
    chown -h 9:9 /data/l && chmod 2775 /data && rm /old/a && echo changed >/hard
RUN rm -rf /old && mkdir /old && echo new >/old/c && rm -rf /tmp && ln -s /data /tmp && mkdir -p /d/e/f && \
    mv /data/f /d/moved && chmod 711 /
RUN --mount=type=tmpfs,target=/new/tmp --mount=type=bind,from=other,source=/bindme,target=/b \
    --mount=type=bind,from=other,target=/x,rw --mount=type=cache,target=/c \
    cat /b /x/bindme && echo >/x/thrown && mkdir /new2 && test -d /new/tmp && test ! -e /old/b
COPY --chown=5 Dockerfile /d/
USER 33:33
RUN test "$(stat -c %u:%g /d/Dockerfile /data /data/l | xargs)" = "5:5 7:8 9:9" && test ! -e /new && \
    test ! -e /b && mkdir -p /var/tmp/mine && echo >/var/tmp/mine/x
"""


@pytest.mark.single
@pytest.mark.parametrize("kind", ["copy", "fuse"])
def test_same_layers_without_the_kernels_overlay(strake, kind):
    if kind == "fuse" and not (shutil.which("fuse-overlayfs") and can_use_fuse(strake)):
        pytest.skip("no fuse-overlayfs, or no /dev/fuse for this user (tests/run opens it)")
    text = ROOTS.replace("USER 33:33\nRUN test", "USER 33:33\nRUN chmod 777 /var/tmp 2>/dev/null; test")
    text = text.replace("chmod 711 /\n", "chmod 711 / && mkdir -p /var/tmp && chmod 1777 /var/tmp\n")
    kernel = strake.image(dockerfile=text, name="kernel", bases=["alpine"])
    strake.env["STRAKE_STORE"] = strake.store = os.path.join(strake.dir, "store2")
    strake.env["STRAKE_OVERLAY"] = kind
    other = strake.image(dockerfile=text, name="other", bases=["alpine"])
    assert len(kernel.layers) == len(other.layers)
    assert contents(kernel.tree()) == contents(other.tree())
    # (fuse-overlayfs gives copied-up directories a new date, so that they are in layers unchanged)
    for i in range(len(kernel.layers) if kind == "copy" else 0):
        assert layer(kernel, i) == layer(other, i), "layer %d" % i
    assert (other.tree()["data"].uid, other.tree()["data/l"].uid) == (7, 9)
    info = strake.run("info")
    assert kind + " (STRAKE_OVERLAY)" in info.out


def can_use_fuse(strake):
    return strake.user.is_root or os.stat("/dev/fuse").st_mode & 0o006 == 0o006


def layer(image, index):
    """What one layer's tree digest covers, whiteouts included."""
    with tarfile.open(fileobj=io.BytesIO(image.layer_tar(index))) as tar:
        return {m.name: (m.type, m.mode, m.uid, m.gid, m.size, m.linkname,
                         tar.extractfile(m).read() if m.isreg() else b"") for m in tar}


def test_single_says_so(each):
    out = each(lambda s: s.run("info").out)
    assert "single id" in out["single"] and "STRAKE_PRIVILEGE=single" in out["single"]
