"""The peer: BuildKit in a docker daemon of our own. Its results are kept, so that a second run needs
no daemon:

    ${STRAKE_TEST_CACHE:-~/.cache/strake-tests}/differential/<peer version>/<hash of the case>.json

A result is {"result": "built" | "failed", "message": text, "config": .., "history": .., "tree": ..},
plain JSON as `describe` makes it of an image of either builder.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

import casefile
import oci

CONFIG_KEYS = ("Env", "Cmd", "Entrypoint", "User", "WorkingDir", "ExposedPorts", "Volumes", "Labels",
               "StopSignal", "Healthcheck", "Shell", "OnBuild")
SBIN = ":/usr/sbin:/sbin"
FORMAT = "3"  # of the kept results
WORKERS = 4


def describe(image):
    """An image as plain JSON, for comparison."""
    config = image.config.get("config") or {}
    tree = image.tree()
    names = {}
    for path in sorted(tree):
        names.setdefault(id(tree[path]), []).append(path)
    described = {}
    for path, entry in tree.items():
        group = names[id(entry)]
        described["/" + path] = {
            "type": entry.type, "mode": "%04o" % entry.mode if entry.type != "l" else "",
            "owner": "%d:%d" % (entry.uid, entry.gid), "size": entry.size,
            "digest": (entry.digest or "")[:16], "link": entry.link or "",
            "hard links": "%d as %s" % (len(group), group[0]), "xattrs": [list(x) for x in entry.xattrs],
        }
    return {
        "result": "built", "message": "",
        "config": {key: config[key] for key in CONFIG_KEYS if config.get(key)},
        "history": [[h.get("created_by", ""), bool(h.get("empty_layer"))] for h in image.history],
        "tree": described,
    }


def failed(message):
    return {"result": "failed", "message": message, "config": {}, "history": [], "tree": {}}


def docker_client():
    """A docker client that can drive BuildKit: before 23 by itself, since then with its plugin."""
    for folder in os.environ.get("PATH", "").split(":") + ["/usr/bin"]:
        client = os.path.join(folder, "docker")
        if not os.access(client, os.X_OK):
            continue
        version = subprocess.run([client, "--version"], capture_output=True, text=True).stdout
        match = re.search(r"version (\d+)", version)
        if match and int(match.group(1)) < 23:
            return client
        if not subprocess.run([client, "buildx", "version"], capture_output=True).returncode:
            return client
    return None


class Peer:
    """Starts the daemon when the first case is not in the cache, and builds all such `cases` then,
    some at a time: most of the time goes to waiting."""

    def __init__(self, base, layout, cases, harness):
        self.base, self.layout, self.cases, self.harness = base, layout, cases, harness
        self.process = self.host = self.directory = self.version = None
        self.client = docker_client()
        self.daemon = shutil.which("dockerd", path=os.environ.get("PATH", "") + SBIN)
        if self.daemon:
            text = subprocess.run([self.daemon, "--version"], capture_output=True, text=True).stdout
            self.version = "docker-" + re.search(r"version ([^ ,]+)", text).group(1)
        cache = os.environ.get("STRAKE_TEST_CACHE", os.path.expanduser("~/.cache/strake-tests"))
        self.cache = os.path.join(cache, "differential", self.version or "")
        with open(os.path.join(layout, "index.json"), "rb") as f:
            self.image_digest = hashlib.sha256(f.read()).hexdigest()

    def key(self, case):
        """Of all that the peer sees: not of the reasons we give for differences."""
        text = re.sub(r"(?m)^# (differs|fails): .*\n", "", case.text)
        return hashlib.sha256("\0".join((FORMAT, self.image_digest, text)).encode()).hexdigest()[:32]

    def start(self):
        if self.process:
            return
        if not self.daemon or not self.client:
            pytest.skip("no result of the peer is kept, and no docker with BuildKit is installed")
        if os.geteuid():
            pytest.skip("no result of the peer is kept, and a docker daemon of our own needs root")
        self.directory = tempfile.mkdtemp(prefix="peer.", dir=self.base)
        self.host = "unix://%s/s" % self.directory
        for driver in ("overlay2", "vfs"):
            try:
                self.launch(driver)
                break
            except pytest.skip.Exception:
                if driver == "vfs":
                    raise
        archive = os.path.join(self.directory, "base.tar")
        subprocess.run(["skopeo", "copy", "-q", "oci:%s:latest" % self.layout,
                        "docker-archive:%s:busybox:latest" % archive], check=True)
        self.docker("load", "-q", "-i", archive)

    def launch(self, driver):
        d = self.directory
        self.process = self.harness.start_daemon(
            [self.daemon, "--host", self.host, "--data-root", d + "/data-" + driver, "--exec-root",
             d + "/exec", "--pidfile", d + "/pid", "--bridge=none", "--iptables=false",
             "--ip6tables=false", "--storage-driver", driver],
            lambda: self.docker("info", check=False).returncode == 0, d + "/log",
            env=dict(os.environ, PATH=os.environ["PATH"] + SBIN))

    def stop(self):
        if self.process:
            self.harness.stop_daemon(self.process)
            for line in reversed(self.harness.mounts_below(self.directory)):
                subprocess.run(["umount", "-l", line.split()[4]], check=False)

    def docker(self, *args, check=True):
        env = dict(os.environ, DOCKER_BUILDKIT="1", HOME=self.directory)
        result = subprocess.run([self.client, "-H", self.host, *args], capture_output=True,
                                text=True, errors="replace", env=env, timeout=120,
                                stdin=subprocess.DEVNULL)
        assert not check or result.returncode == 0, "docker %s\n%s" % (args, result.stderr)
        return result

    def build(self, case):
        """--no-cache: what another case has built must not decide this one."""
        with tempfile.TemporaryDirectory(dir=self.directory) as work:
            context, archive = os.path.join(work, "context"), os.path.join(work, "image.tar")
            os.mkdir(context)
            os.chmod(context, 0o755)
            casefile.write_context(case, context, 0, 0)
            tag = "case-" + self.key(case)
            build = self.docker("build", "--progress=plain", "--network=host", "--no-cache", "-t",
                                tag, *case.args, context, check=False)
            if build.returncode:
                assert self.process.poll() is None, "the peer's daemon died: %s" % build.stderr
                return failed(build.stderr.replace(work, ""))
            self.docker("save", "-o", archive, tag)
            return describe(oci.open_docker_archive(archive))

    def path(self, case):
        return os.path.join(self.cache, self.key(case) + ".json")

    def keep(self, case):
        result = self.build(case)
        temporary = "%s.%d" % (self.path(case), os.getpid())
        with open(temporary, "w") as f:
            json.dump(result, f)
        os.rename(temporary, self.path(case))

    def result(self, case):
        if not self.version:
            pytest.skip("dockerd is not installed")
        if not os.path.exists(self.path(case)):
            self.start()
            os.makedirs(self.cache, exist_ok=True)
            missing = [c for c in self.cases if not os.path.exists(self.path(c))]
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(self.keep, missing))
        with open(self.path(case)) as f:
            return json.load(f)
