"""The builders that are compared. Each has its own store in the bench's directory, is started by the
bench where it needs a daemon, and goes away with it.

A peer offers build(ctx, ...) and push(name), which return what measure.Watch.run does; and, not
timed, forget_results(), drop_results(), prepare_pull() and load_bases(). What it cannot do raises Failed."""
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from measure import Failed, descendants

SBIN = ":/usr/sbin:/sbin"
IMAGES = ("busybox", "gcc")


def sh(cmd, **kw):
    r = subprocess.run([str(c) for c in cmd], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       stdin=subprocess.DEVNULL, text=True, errors="replace", **kw)
    if r.returncode:
        raise Failed((r.stderr or r.stdout).strip()[-600:])
    return r.stdout


def wait_for(check, process, log, seconds=40):
    until = time.monotonic() + seconds
    while not check():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise Failed("does not start: " + Path(log).read_text(errors="replace")[-300:])
        time.sleep(.1)


def answers(cmd, env=None):
    return subprocess.run(cmd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          stdin=subprocess.DEVNULL).returncode == 0


class Daemon:
    def __init__(self, cmd, log, check, env=None):
        with open(log, "w") as f:
            self.process = subprocess.Popen([str(c) for c in cmd], stdout=f, stderr=f, env=env,
                                            stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_for(check, self.process, log)
        except Failed:
            self.stop()
            raise

    def pids(self):
        return descendants(self.process.pid)

    def stop(self):
        pids = self.pids()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in pids[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Registry:
    """A registry on this machine, its storage thrown away between rounds."""

    def __init__(self, work):
        program = shutil.which("docker-registry")
        if not program:
            raise Failed("docker-registry is not installed")
        self.root = work / "registry"
        self.root.mkdir()
        self.port = 5400 + os.getpid() % 500
        config = work / "registry.yml"
        config.write_text("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
                          f"storage: {{filesystem: {{rootdirectory: {self.root}}}}}\n"
                          f"http: {{addr: '127.0.0.1:{self.port}'}}\n")
        self.daemon = Daemon([program, "serve", config], work / "registry.log", self.listens)

    def listens(self):
        import socket
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def clear(self, name):
        shutil.rmtree(self.root / "docker/registry/v2/repositories" / name, ignore_errors=True)
        if name != "gcc":  # the blobs of gcc are those that are pulled
            keep = self.gcc_blobs()
            for d in (self.root / "docker/registry/v2/blobs/sha256").glob("*/*"):
                if d.name not in keep:
                    shutil.rmtree(d)

    def gcc_blobs(self):
        repo = self.root / "docker/registry/v2/repositories/gcc"
        return {p.parent.name for p in repo.rglob("link")} if repo.exists() else set()

    def stop(self):
        self.daemon.stop()


# --- strake ------------------------------------------------------------------------------------


class Strake:
    def __init__(self, watch, work, binary, rootless=False):
        self.watch = watch
        self.user = None
        self.name = "strake"
        home = work / ("home-rootless" if rootless else "home")
        home.mkdir()
        self.home = home
        if rootless:
            self.name = "strake rootless"
            account = pwd.getpwnam("strake-ci")
            self.user = (account.pw_uid, account.pw_gid)
            os.chown(home, *self.user)
        self.env = {"HOME": str(home), "PATH": os.environ["PATH"] + SBIN, "TMPDIR": str(home),
                    "STRAKE_STORE": str(home / "store")}
        self.binary, self.layouts, self.stores = binary, work / "images", 0
        self.version = sh([binary, "--version"]).strip()

    def contexts(self):
        return [f"--build-context={n}=oci-layout://{self.layouts}/{n}:latest" for n in IMAGES]

    def run(self, *args, stdout=None):
        return self.watch.run([self.binary, *args], env=self.env, user=self.user, stdout=stdout)

    def build(self, ctx, *, tag="bench", no_cache=False, out=None, compression=""):
        cmd = ["build", "-q", "-t", tag, *self.contexts()] + ["--no-cache"] * no_cache
        if out:
            cmd += ["-o", f"type=oci,dest={out},compression={compression}"]
        return self.run(*cmd, ctx)

    def forget_results(self):
        """A step whose result is in the store already would be dropped: not cold."""
        self.stores += 1
        self.env["STRAKE_STORE"] = str(self.home / f"store{self.stores}")

    def drop_results(self):
        subprocess.run(["rm", "-rf", self.env["STRAKE_STORE"]], check=True)

    def prepare_pull(self):
        self.forget_results()

    def load_bases(self):
        pass

    def push(self, name):
        return self.run("push", "-q", name)

    def stop(self):
        pass


# --- buildah -----------------------------------------------------------------------------------


class Buildah:
    name = "buildah"

    def __init__(self, watch, work):
        if not shutil.which("buildah"):
            raise Failed("not installed")
        self.watch, self.work = watch, work
        self.args = ["--root", str(work / "buildah"), "--runroot", str(work / "buildah-run")]
        self.store = f"[overlay@{work}/buildah+{work}/buildah-run]"
        self.load_bases()
        self.isolation = self.find_isolation(work)
        self.version = sh(["buildah", "--version"]).strip() + f" ({' '.join(self.isolation) or 'oci'})"

    def load_bases(self):
        for n in IMAGES:
            sh(["skopeo", "copy", "-q", f"oci:{self.work}/images/{n}:latest",
                f"containers-storage:{self.store}localhost/{n}:latest"])

    def find_isolation(self, work):
        """What runs here: newest crun refuses machines with hybrid cgroups."""
        probe = work / "probe"
        probe.mkdir()
        (probe / "Dockerfile").write_text("FROM busybox\nRUN true\n")
        why = ""
        for how in ([], ["--runtime", "runc"], ["--isolation=chroot"]):
            self.isolation = how
            try:
                self.build(probe, no_cache=True)
                return how
            except Failed as e:
                why = str(e)
        raise Failed(why)

    def build(self, ctx, *, tag="bench", no_cache=False, out=None, compression=""):
        cmd = ["buildah", *self.args, "build", "-q", "-t", tag, "--network=host", "--tls-verify=false",
               *self.isolation] + (["--no-cache"] if no_cache else ["--layers"])
        r = self.watch.run([*cmd, ctx])
        if out:
            args = ["--compression-format", compression] if compression else []
            r = add(r, self.watch.run(["buildah", *self.args, "push", "-q", *args, tag,
                                       f"oci-archive:{out}"]))
        return r

    def forget_results(self):
        pass

    def drop_results(self):
        pass

    def prepare_pull(self):
        sh(["buildah", *self.args, "rmi", "-a", "-f"])

    def push(self, name):
        return self.watch.run(["buildah", *self.args, "push", "-q", "--tls-verify=false", name])

    def stop(self):
        unmount_below(self.work)


# --- Docker's BuildKit ---------------------------------------------------------------------------


def docker_client():
    """A docker that drives BuildKit: before 23 by itself, since then with its buildx."""
    for folder in os.environ.get("PATH", "").split(":") + ["/usr/bin"]:
        client = os.path.join(folder, "docker")
        if not os.access(client, os.X_OK):
            continue
        match = re.search(r"version (\d+)", sh([client, "--version"]))
        if (match and int(match.group(1)) < 23) or answers([client, "buildx", "version"]):
            return client
    return None


class Docker:
    name = "docker"

    def __init__(self, watch, work):
        client = docker_client()
        daemon = shutil.which("dockerd", path=os.environ["PATH"] + SBIN)
        if not client or not daemon:
            raise Failed("no dockerd, or no docker that drives BuildKit")
        self.watch, self.work = watch, work
        d = work / "docker"
        d.mkdir()
        host = f"unix://{d}/s"
        self.env = dict(os.environ, PATH=os.environ["PATH"] + SBIN, DOCKER_BUILDKIT="1",
                        DOCKER_HOST=host, HOME=str(d))
        self.client = client
        self.daemon = Daemon(
            [daemon, "--host", host, "--data-root", d / "data", "--exec-root", d / "exec",
             "--pidfile", d / "pid", "--bridge=none", "--iptables=false", "--ip6tables=false",
             "--storage-driver=overlay2"],
            d / "log", lambda: answers([client, "info"], env=self.env), env=self.env)
        self.version = sh([daemon, "--version"]).strip()
        self.load_bases()

    def load_bases(self):
        for n in IMAGES:
            tar = self.work / f"{n}.tar"
            if not tar.exists():
                sh(["skopeo", "copy", "-q", f"oci:{self.work}/images/{n}:latest",
                    f"docker-archive:{tar}:{n}:latest"])
            sh([self.client, "load", "-q", "-i", tar], env=self.env)

    def run(self, *args):
        return self.watch.run([self.client, *args], env=self.env, daemons=self.daemon.pids())

    def build(self, ctx, *, tag="bench", no_cache=False, out=None, compression=""):
        if compression == "zstd":
            raise Failed("docker save writes no zstd")
        r = self.run("build", "-q", "-t", tag, "--network=host", *["--no-cache"] * no_cache, ctx)
        return add(r, self.run("save", "-o", out, tag)) if out else r

    def forget_results(self):
        pass

    def drop_results(self):
        pass

    def prepare_pull(self):
        sh([self.client, "system", "prune", "-a", "-f"], env=self.env)

    def push(self, name):
        return self.run("push", "-q", name)

    def stop(self):
        self.daemon.stop()
        unmount_below(self.work)


# --- BuildKit by itself ---------------------------------------------------------------------------


class Buildkit:
    name = "buildkitd"

    def __init__(self, watch, work):
        daemon = shutil.which("buildkitd", path=os.environ["PATH"] + SBIN)
        self.client = shutil.which("buildctl")
        if not daemon or not self.client:
            raise Failed("not installed")
        self.watch, self.work = watch, work
        d = work / "buildkit"
        d.mkdir()
        self.addr = f"unix://{d}/s"
        (d / "buildkitd.toml").write_text('insecure-entitlements = ["network.host"]\n')
        self.daemon = Daemon([daemon, "--config", d / "buildkitd.toml", "--root", d / "data", "--addr",
                              self.addr, "--oci-worker-net=host"], d / "log",
                             lambda: answers([self.client, "--addr", self.addr, "debug", "workers"]))
        self.version = sh([daemon, "--version"]).strip()

    def build(self, ctx, *, tag="bench", no_cache=False, out=None, compression=""):
        cmd = ["--addr", self.addr, "build", "--progress=quiet", "--frontend=dockerfile.v0", "--local",
               f"context={ctx}", "--local", f"dockerfile={ctx}", "--allow", "network.host", "--opt",
               "force-network-mode=host"] + ["--no-cache"] * no_cache
        for n in IMAGES:
            layout = self.work / "images" / n
            digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
            cmd += ["--oci-layout", f"{n}={layout}", "--opt", f"context:{n}=oci-layout://{n}@{digest}"]
        self.last = (ctx, cmd)
        if out:
            cmd += ["--output", f"type=oci,dest={out},compression={compression},force-compression=true"]
        return self.watch.run([self.client, *cmd], daemons=self.daemon.pids())

    def forget_results(self):
        pass

    def drop_results(self):
        pass

    def load_bases(self):
        pass

    def prepare_pull(self):
        sh([self.client, "--addr", self.addr, "prune", "--all"])

    def push(self, name):
        """It has no images: the cached build is pushed."""
        cmd = [*self.last[1], "--output", f"type=image,name={name},push=true,registry.insecure=true"]
        return self.watch.run([self.client, *cmd], daemons=self.daemon.pids())

    def stop(self):
        self.daemon.stop()
        unmount_below(self.work)


# --- kaniko ---------------------------------------------------------------------------------------


class Kaniko:
    """KANIKO=/path/to/executor: run in a chroot of its own, as it rewrites the root it lives in."""
    name = "kaniko"

    def __init__(self, watch, work, registry):
        program = os.environ.get("KANIKO", "")
        if not program:
            raise Failed("not given (KANIKO=/path/to/executor)")
        if not registry:
            raise Failed("needs a registry for its base images")
        self.watch, self.program, self.root, self.registry = watch, program, work / "kaniko", registry
        self.version = "kaniko"
        for n in IMAGES:
            sh(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{work}/images/{n}:latest",
                f"docker://127.0.0.1:{registry.port}/{n}:latest"])
        self.fresh_root()

    def fresh_root(self):
        shutil.rmtree(self.root, ignore_errors=True)
        for d in ("kaniko", "workspace", "out", "etc", "tmp"):
            (self.root / d).mkdir(parents=True)
        shutil.copy2(self.program, self.root / "kaniko/executor")

    def build(self, ctx, *, tag="bench", no_cache=False, out=None, compression=""):
        if not no_cache:
            raise Failed("keeps no cache without a registry")
        self.fresh_root()
        shutil.copytree(ctx, self.root / "workspace", dirs_exist_ok=True)
        text = (Path(ctx) / "Dockerfile").read_text()
        for n in IMAGES:
            text = text.replace(f"FROM {n}", f"FROM 127.0.0.1:{self.registry.port}/{n}")
        (self.root / "workspace/Dockerfile").write_text(text)
        cmd = ["chroot", self.root, "/kaniko/executor", "--force", "--context", "dir:///workspace",
               "--no-push", "--insecure-pull", "--destination", tag]
        if out:
            cmd += ["--tar-path", "/out/image.tar", "--compression", compression]
        r = self.watch.run(cmd, env={"PATH": "/kaniko", "HOME": "/"})
        if out:
            os.rename(self.root / "out/image.tar", out)
        return r

    def forget_results(self):
        pass

    def drop_results(self):
        pass

    def load_bases(self):
        pass

    def prepare_pull(self):
        pass

    def push(self, name):
        raise Failed("builds and pushes in one")

    def stop(self):
        unmount_below(self.root)


# --------------------------------------------------------------------------------------------------


def add(a, b):
    """Two commands one after the other are one measure."""
    r = {k: a[k] + b[k] for k in ("seconds", "user", "system")}
    return {**r, "peak_kib": max(a["peak_kib"], b["peak_kib"]), "status": 0,
            "daemon_kib": max(a["daemon_kib"], b["daemon_kib"])}


def unmount_below(directory):
    """What a builder leaves mounted: failed steps of buildah do."""
    for _ in range(8):  # mounts on top of mounts
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        left = [line.split()[4] for line in lines if line.split()[4].startswith(f"{directory}/")]
        if not left:
            return
        for where in reversed(left):
            subprocess.run(["umount", "-l", where], stderr=subprocess.DEVNULL)
