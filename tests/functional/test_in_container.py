"""strake inside of containers that nobody made privileged, by podman as root and as an ordinary user:
the last rungs of the ladder, and what docs/sandbox.md says of them ("Inside a container or pod").

The image is busybox with what the program links, and two accounts: app, with subordinate ids, and plain,
without. The program itself, the base images and a volume for stores are mounted."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess

import pytest

import oci
from conftest import TAGS, User, mounts_below, remove_tree, wait_for

SONAMES = ("libcurl.so.4", "libarchive.so.13")  # loaded at first use

DOCKERFILE = """FROM busybox
COPY root /
COPY --chmod=4755 newuidmap newgidmap /opt/setuid/
COPY --chmod=755 newuidmap newgidmap setcap /usr/bin/
RUN for u in app:1000 plain:2000; do echo ${u%:*}:x:${u#*:}:${u#*:}::/:/bin/sh >>/etc/passwd; done && \\
    setcap cap_setuid=ep /usr/bin/newuidmap && setcap cap_setgid=ep /usr/bin/newgidmap && \\
    for f in subuid subgid; do echo app:3000:60000 >/etc/$f; done && echo secret >/in-the-container
"""

TEXT = """FROM busybox AS build
COPY --chown=5:6 Dockerfile /srv/x
RUN mkdir /app && echo hi >/app/f && chown 1234:77 /app/f && chmod 2755 /app && ln -s f /app/l && \\
    chown -h 9:9 /app/l && rm -r /home && mkfifo /app/fifo
USER 1234:77
RUN test "$(id -u):$(id -g)" = 1234:77 && mkdir -m 700 /app/../tmp/mine && echo x >/tmp/mine/x
FROM busybox
COPY --from=build /app /app
COPY --from=build --chown=3:4 /app/f /tmp/mine/x /d/
RUN test "$(stat -c %u:%g /app/f /app/l /app /d/f | xargs)" = "1234:77 9:9 0:0 3:4" && rm -r /etc/group && \\
    chown 33:33 /d && echo done >/result
USER 33
RUN test "$(id -u)" = 33 && touch /d/by-33
"""
COPIES = "FROM busybox AS a\nCOPY --chown=5:6 --chmod=2640 Dockerfile /srv/x\nWORKDIR /w\nFROM scratch\nCOPY --from=a / /r/\n"

# What containers allow but user namespaces, as the default profiles of some engines do.
REFUSING = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
    {"names": ["unshare", "setns", "mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
    {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [
        {"index": 0, "value": 0x10000000, "valueTwo": 0x10000000, "op": "SCMP_CMP_MASKED_EQ"}]}]}


def contents(tree):
    return {path: entry._replace(mtime=0) for path, entry in tree.items()}


def libraries(*programs):
    """What programs are linked with, and what strake loads at first use."""
    run = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    for soname in SONAMES:
        programs += tuple(re.findall(r"\t%s \(.*\) => (\S+)" % re.escape(soname), run.stdout)[:1])
    run = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True)
    return sorted(set(re.findall(r"(/\S+) \(0x", run.stdout)) | {p for p in programs if ".so" in p})


@pytest.fixture(scope="module")
def archive(base, binary, layouts):
    """The image, as an archive that podman loads; built by strake."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    context = os.path.join(base, "in-container")
    tools = [shutil.which(n, path="/usr/bin:/bin:/usr/sbin:/sbin") for n in ("newuidmap", "newgidmap", "setcap")]
    if None in tools:
        pytest.skip("newuidmap, newgidmap or setcap is not installed")
    for library in libraries(binary, *tools):
        folder = os.path.dirname(library) if "/ld-" in library else "/lib"
        os.makedirs(context + "/root" + folder, exist_ok=True)
        shutil.copy(library, context + "/root" + folder)
    for tool in tools:
        shutil.copyfile(tool, "%s/%s" % (context, os.path.basename(tool)))
    target = context + ".tar"
    run = subprocess.run(
        [binary, "--store", context + "-store", "build", "--network=none", "-t", "strake-inside:1", "-o",
         "type=docker,compression=uncompressed,dest=" + target, "--build-context",
         "busybox=oci-layout://%s:%s" % (layouts("busybox"), TAGS["busybox"]), "-f", "-", context],
        input=DOCKERFILE, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    os.chmod(target, 0o644)
    remove_tree(context + "-store")
    yield target
    os.unlink(target)


class Podman:
    """podman for one kind of user, with a storage of its own."""

    def __init__(self, user, directory):
        self.user, self.dir = user, directory
        for name in ("home", "run", "g", "r", "volume"):
            os.mkdir(os.path.join(directory, name))
        for path in (directory, *(os.path.join(directory, n) for n in os.listdir(directory))):
            os.chown(path, user.uid, user.gid)
            os.chmod(path, 0o755)
        os.chmod(directory + "/run", 0o700)
        os.chmod(directory + "/volume", 0o1777)
        self.file("storage.conf", '[storage]\ndriver = "overlay"\ngraphroot = "%s/g"\nrunroot = "%s/r"\n' % (
            directory, directory))
        self.configure("crun")
        self.env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8",
            "HOME": directory + "/home", "XDG_RUNTIME_DIR": directory + "/run",
            "CONTAINERS_STORAGE_CONF": directory + "/storage.conf",
            "CONTAINERS_CONF": directory + "/containers.conf"}

    def configure(self, runtime):
        # (podman raises limits of its own accord, which needs CAP_SYS_RESOURCE)
        limits = ["nofile=%d" % min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]), "nproc=4096"]
        self.file("containers.conf", '[engine]\nruntime = "%s"\ncgroup_manager = "cgroupfs"\n'
                  'events_logger = "none"\n[containers]\nlog_driver = "k8s-file"\ndefault_ulimits = %s\n' % (
                      runtime, json.dumps(limits)))

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o644)
        return path

    def __call__(self, *args, check=True):
        run = subprocess.run(["podman", *args], env=self.env, cwd=self.dir, capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, timeout=200, **self.user.arguments)
        if check:
            assert run.returncode == 0, "%s\n%s%s" % (run.args, run.stdout, run.stderr)
        return run

    def close(self):
        self("rm", "-f", "-t", "0", "-a", check=False)
        pause = os.path.join(self.dir, "run/libpod/tmp/pause.pid")
        if os.path.exists(pause):
            os.kill(int(open(pause).read()), signal.SIGKILL)
        for line in reversed(mounts_below(self.dir)):
            subprocess.run(["umount", "-l", line.split()[4]], check=False)
        remove_tree(self.dir)


class Inside:
    """One container, kept for all that is to be seen in it; run(...) is the program there."""

    def __init__(self, podman, layouts, binary, name, *options):
        self.podman, self.name, self.volume = podman, name, podman.dir + "/volume"
        self.images = os.path.dirname(layouts("busybox"))
        layouts("alpine")
        podman("run", "-d", "--name", name, "--hostname", "the-container", "--network=none", "-e",
               "CANARY=environment-of-the-container", "-v", "%s:/usr/local/bin/strake:ro" % binary, "-v",
               "%s:/images:ro" % self.images, "-v", "%s:/volume" % self.volume, *options,
               "strake-inside:1", "sleep", "1000000")

    def run(self, user, *args, store=None, check=True, env=()):
        """The program as a user of the container; its store on the volume, or where `store` says."""
        run = self.podman("exec", "-u", user, "-w", "/volume", "-e", "STRAKE_STORE=%s" % (
            store or "/volume/store-%s-%s" % (self.name, user)), *(w for e in env for w in ("-e", e)),
            self.name, "strake", *args, check=False)
        if check:
            assert run.returncode == 0, "%s\n%s%s" % (run.args, run.stdout, run.stderr)
        assert run.returncode <= 123, run
        return run

    def build(self, user, text, *args, **kwargs):
        context = os.path.join(self.volume, "context")
        os.makedirs(context, exist_ok=True)
        with open(context + "/Dockerfile", "w") as f:
            f.write(text)
        bases = [w for n in ("busybox", "alpine")
                 for w in ("--build-context", "%s=oci-layout:///images/%s:latest" % (n, n))]
        return self.run(user, "build", "--progress=plain", "--network=none", *bases, *args, "context", **kwargs)

    def tree(self, user, text, **kwargs):
        name = "out-%s-%s" % (self.name, user)
        remove_tree(os.path.join(self.volume, name))
        self.build(user, text, "-o", "type=oci,tar=false,dest=" + name, **kwargs)
        return contents(oci.open_layout(os.path.join(self.volume, name)).tree())


@pytest.fixture(scope="module")
def podman(who, base, archive):
    """podman with the image, as one kind of user; skips where it starts nothing."""
    user = User(who)
    directory = os.path.join(base, "p-" + who)
    os.mkdir(directory)
    podman = Podman(user, directory)
    try:
        podman("load", "-q", "-i", archive)
        for runtime in ("crun", "runc"):
            podman.configure(runtime)
            trial = podman("run", "--rm", "--network=none", "strake-inside:1", "true", check=False)
            if trial.returncode == 0:
                break
        else:
            raise AssertionError("podman starts no container here: " + trial.stderr[-300:])
        yield podman
    finally:
        podman.close()


@pytest.fixture(scope="module")
def inside(podman, layouts, binary):
    return Inside(podman, layouts, binary, "plain")


SETUID = "PATH=/opt/setuid:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_the_same_image_as_outside(inside, strake):
    """As the container's root, and as users of it with and without subordinate ids."""
    outside = contents(strake.image(dockerfile=TEXT).tree())
    assert (outside["app/f"].uid, outside["d/by-33"].uid, outside["app"].mode) == (1234, 33, 0o755)
    for user, store, env, why in (
            ("root", "root", (), "root of a container, in a user namespace with the container's ids"),
            ("app", "app", (), "an ordinary user with subordinate ids"),
            ("app", "setuid", (SETUID,), "newuidmap, being setuid root, may not map ids in this container"),
            ("plain", "plain", (), "/etc/subuid has no entry for user plain")):
        store = "/volume/store-" + store
        assert why in inside.run(user, "info", env=env).stdout
        assert inside.tree(user, TEXT, env=env, store=store) == outside, why
        inside.run(user, "fsck", env=env, store=store)


LOOK = """FROM busybox
RUN test "$(hostname)" = the-container && grep -q ' / overlay ' /proc/mounts && \\
    grep -qx sleep /proc/1/comm && ! cat /proc/1/environ 2>/dev/null && ! ls /proc/1/root/ 2>/dev/null && \\
    ! ls /proc/1/cwd/ 2>/dev/null && ! readlink /proc/1/fd/1 && ! cat /proc/1/mem 2>/dev/null
RUN for p in /proc/[0-9]*; do ! test -e $p/root/in-the-container || exit 1; done; ! env | grep CANARY
RUN test $$ -lt 10 && ! kill -0 $(readlink /proc/self) 2>/dev/null
RUN ! echo 1 >/proc/sys/kernel/hostname && ! mkdir /sys/fs/cgroup/x && test $(cat /proc/keys | wc -c) = 0 && \\
    ! mount -t proc none /tmp
"""


def test_what_a_step_sees_of_the_container(inside):
    for user in ("root", "app", "plain"):
        inside.build(user, LOOK)
        run = inside.build(user, "FROM busybox\nRUN --security=insecure true\n", "--allow", "security.insecure",
                           check=False)
        assert run.returncode == 1 and "--security=insecure needs a /proc of the step's own" in run.stderr, run
        inside.run(user, "fsck")


def test_steps_cannot_look_into_each_other(inside):
    """They share /proc, a user and their rights: none may run while another does."""
    text = """FROM busybox AS a
RUN --mount=type=secret,id=s --mount=type=cache,id=c,target=/c touch /c/a; for i in 1 2 3 4 5 6 7 8 9 10; do \\
    test -e /c/b && break; sleep 0.1; done; touch /a
FROM busybox AS b
RUN --mount=type=cache,id=c,target=/c for i in 1 2 3 4 5 6 7 8 9 10; do test -e /c/a && break; sleep 0.1; done; \\
    for p in /proc/[0-9]*; do grep -q the-secret-of-a $p/root/run/secrets/s 2>/dev/null && echo SEEN-$p; done; \\
    touch /c/b /b
FROM busybox
COPY --from=a /a /
COPY --from=b /b /
"""
    with open(os.path.join(inside.volume, "secret"), "w") as f:
        f.write("the-secret-of-a\n")
    for user in ("root", "plain"):
        run = inside.build(user, text, "--secret", "id=s,src=secret")
        assert not re.search(r"^#\d+ \S+ SEEN", run.stderr, re.M), run.stderr


def test_nothing_is_left_of_a_killed_builder(inside):
    """No pid namespace ends the steps here (they share the container's): the keeper does."""
    for user in ("root", "plain"):
        inside.podman("exec", "-d", "-u", user, "-w", "/volume", "-e", "STRAKE_STORE=/volume/store-killed-" + user,
                      inside.name, "sh", "-c", "echo 'FROM busybox\nRUN (setsid sleep 4321 &) ; sleep 1234' | "
                      "strake build --network=none --build-context "
                      "busybox=oci-layout:///images/busybox:latest -")

        def processes(wanted):
            out = inside.podman("exec", inside.name, "sh", "-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' "
                                "<$p/cmdline; echo \" ${p#/proc/}\"; done 2>/dev/null").stdout
            return [int(line.split()[-1]) for line in out.split("\n") if line.startswith(wanted)]
        assert wait_for(lambda: processes("sleep 4321") and processes("sleep 1234"), 20)
        builder = processes("strake build ")
        assert len(builder) == 1
        inside.podman("exec", inside.name, "sh", "-c", "kill -9 %d" % builder[0])
        assert wait_for(lambda: not processes("sleep 4321") and not processes("sleep 1234") and
                        not processes("strake"), 10)
        inside.run(user, "fsck", store="/volume/store-killed-" + user)


def test_a_store_on_the_containers_own_overlay(inside, strake):
    """No overlay on an overlay: every step in a copy, with the same result."""
    text = TEXT.replace("busybox", "alpine")  # whose applets are symlinks: 2 MB to copy, not 500
    outside = contents(strake.image(dockerfile=text, bases=["alpine"]).tree())
    assert inside.tree("root", text, store="/tmp/store") == outside
    run = inside.build("root", "FROM alpine\nRUN true\n", "--no-cache", store="/tmp/store")
    assert "steps run in a copy of their root file system" in run.stderr
    inside.run("root", "fsck", store="/tmp/store")


def test_user_namespaces_refused(podman, layouts, binary, strake):
    """By a seccomp profile: everything but RUN works, and RUN says what is to be done."""
    inside = Inside(podman, layouts, binary, "refusing", "--security-opt",
                    "seccomp=" + podman.file("refusing.json", json.dumps(REFUSING)))
    outside = contents(strake.image(dockerfile=COPIES).tree())
    for user in ("root", "plain"):
        info = inside.run(user, "info", check=False)
        assert info.returncode == 1 and "RUN does not" in info.stdout
        assert inside.tree(user, COPIES) == outside
        run = inside.build(user, COPIES.replace("WORKDIR", "RUN true\nWORKDIR"), check=False)
        assert run.returncode == 1 and "Dockerfile:3" in run.stderr, run
        assert "RUN needs root or a user namespace: no user namespace can be made" in run.stderr, run
        assert "hint: " in run.stderr and "seccomp profile that permits unshare" in run.stderr
        inside.run(user, "fsck")
    podman("rm", "-f", "-t", "0", "refusing")
