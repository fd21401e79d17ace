"""Drives the strake binary as its users do and reads the results with other tools.

Every test that takes the `strake` fixture runs as each kind of user this machine offers: as root it
runs as "root" and, through an ordinary account with subordinate ids, as "rootless"; as an ordinary
user it runs as "self". Each test has its own store, home and temp directory; after each, `strake
fsck` must be clean and no mount or process may be left.

A test marked `single` (or in a module so marked) runs once more in single-id mode: as the ordinary
user, told to use no subordinate ids.

    STRAKE        the binary (default build-asan, else build-release)
    MUST_WORK=1   a skip is a failure
"""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import oci  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CI_USER = "strake-ci"
IS_ROOT = os.geteuid() == 0
TIMEOUT = 300


def find_binary():
    candidates = [os.environ.get("STRAKE")] + [
        os.path.join(TOP, b, "src/cli/strake") for b in ("build-asan", "build-release", "build")]
    for path in candidates:
        if path and os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise pytest.UsageError("no strake binary: build it, or set STRAKE")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("MUST_WORK") == "1" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", "MUST_WORK=1, but: %s" % reason


def pytest_generate_tests(metafunc):
    if "who" in metafunc.fixturenames:
        kinds = ["root", "rootless"] if IS_ROOT else ["self"]
        if metafunc.definition.get_closest_marker("single"):
            kinds.append("single")
        metafunc.parametrize("who", kinds, scope="session")


def pytest_configure(config):
    config.addinivalue_line("markers", "single: also run in single-id mode")


def remove_tree(path):
    """Also trees that hold subordinate ids or unreadable directories."""
    if IS_ROOT:
        subprocess.run(["rm", "-rf", "--one-file-system", path], check=False)
        return
    subprocess.run("chmod -R u+rwX -- '%s' 2>/dev/null; rm -rf -- '%s' 2>/dev/null" % (path, path),
                   shell=True, check=False)
    if os.path.lexists(path):
        subprocess.run(["unshare", "--map-root-user", "--map-auto", "rm", "-rf", path], check=False)


@pytest.fixture(scope="session")
def base():
    """A directory every user of the tests can enter; short, for unix sockets."""
    path = tempfile.mkdtemp(prefix="strake-t.")
    os.chmod(path, 0o755)
    yield path
    remove_tree(path)


@pytest.fixture(scope="session")
def binary(base):
    """A copy where an ordinary user can execute it."""
    target = os.path.join(base, "strake")
    shutil.copy2(find_binary(), target)
    os.chmod(target, 0o755)
    return target


def have_subids(name):
    for path in ("/etc/subuid", "/etc/subgid"):
        try:
            with open(path) as f:
                if not any(line.split(":")[0] == name for line in f):
                    return False
        except OSError:
            return False
    return True


def next_subid():
    end = 100000
    for path in ("/etc/subuid", "/etc/subgid"):
        if os.path.exists(path):
            with open(path) as f:
                for line in f:
                    fields = line.strip().split(":")
                    if len(fields) == 3:
                        end = max(end, int(fields[1]) + int(fields[2]))
    return end


def ensure_ci_user():
    """The account of the rootless runs; made when missing (root only)."""
    try:
        pwd.getpwnam(CI_USER)
    except KeyError:
        subprocess.run(["useradd", "-m", "-s", "/bin/bash", CI_USER], check=True)
    if not have_subids(CI_USER):
        first = next_subid()
        span = "%d-%d" % (first, first + 65535)
        subprocess.run(["usermod", "--add-subuids", span, "--add-subgids", span, CI_USER],
                       check=True)
    return pwd.getpwnam(CI_USER)


class User:
    """Who runs the program; `arguments` are for subprocess."""

    def __init__(self, kind):
        self.kind = kind
        self.is_root = kind == "root"
        # told to use less than there is: STRAKE_PRIVILEGE
        self.forced = kind if kind in ("single", "none") else None
        if kind == "rootless" or (self.forced and IS_ROOT):
            account = ensure_ci_user()
            self.uid, self.gid, self.name = account.pw_uid, account.pw_gid, account.pw_name
            self.arguments = {"user": self.uid, "group": self.gid, "extra_groups": []}
        else:
            self.uid, self.gid = os.geteuid(), os.getegid()
            self.name = pwd.getpwuid(self.uid).pw_name
            self.arguments = {}
            if kind == "self" and not have_subids(self.name):
                pytest.skip("no /etc/subuid entry for %s" % self.name)


@pytest.fixture(scope="session")
def user(who):
    return User(who)


@pytest.fixture(scope="session")
def layouts(base):
    """layouts(name) → directory of a base image's OCI layout; made once, readable by all."""
    images = os.path.join(TOP, "tests/images")
    done = {}

    def get(name):
        if name not in done:
            script = [images + "/multi/make.sh"] if name == "multi" else [
                images + "/make-images.sh", name]
            run = subprocess.run(script, capture_output=True, text=True)
            if run.returncode:
                done[name] = None
            else:
                cache = os.environ.get("STRAKE_TEST_CACHE",
                                       os.path.expanduser("~/.cache/strake-tests"))
                target = os.path.join(base, "images", name)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                subprocess.run(["cp", "-r", "--reflink=auto", os.path.join(cache, "images", name),
                                target], check=True)
                subprocess.run(["chmod", "-R", "a+rX", os.path.dirname(target)], check=True)
                done[name] = target
        if not done[name]:
            pytest.skip("base image %s cannot be made on this machine" % name)
        return done[name]
    return get


TAGS = {"busybox": "latest", "alpine": "latest", "multi": "latest", "debian": "bookworm-slim", "gcc": "latest",
        "node": "latest"}
NAMES = {"debian": ["debian", "debian:bookworm-slim"]}


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return "exit code %d\n--- stdout\n%s\n--- stderr\n%s" % (self.code, self.out, self.err)


class Strake:
    """The program with a store, home and context of its own."""

    def __init__(self, binary, user, directory, layouts):
        self.binary, self.user, self.dir, self.layouts = binary, user, directory, layouts
        self.check_clean = True
        self.context = self.mkdir("context")
        self.store = os.path.join(directory, "store")
        runtime = self.mkdir("run")
        os.chmod(runtime, 0o700)
        self.env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin",
            "HOME": self.mkdir("home"), "TMPDIR": self.mkdir("tmp"), "STRAKE_STORE": self.store,
            "XDG_RUNTIME_DIR": runtime, "LC_ALL": "C.UTF-8",
            "ASAN_OPTIONS": "exitcode=99",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
        }
        if user.forced:
            self.env["STRAKE_PRIVILEGE"] = user.forced
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "TSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]

    def mkdir(self, name):
        path = os.path.join(self.dir, name)
        os.makedirs(path, exist_ok=True)
        os.chown(path, self.user.uid, self.user.gid)
        return path

    def path(self, name):
        """A path for output; its parent belongs to the user."""
        return os.path.join(self.mkdir("out"), name)

    def write(self, name, content="", mode=0o644, link=None, root=None):
        """A file of the context ("d/" makes a directory, link= a symlink)."""
        path = os.path.join(root or self.context, name)
        parent = os.path.dirname(path.rstrip("/"))
        missing = []
        while not os.path.isdir(parent):
            missing.append(parent)
            parent = os.path.dirname(parent)
        for directory in reversed(missing):
            os.mkdir(directory)
            os.chown(directory, self.user.uid, self.user.gid)
        if link is not None:
            os.symlink(link, path)
        elif name.endswith("/"):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755 if mode == 0o644 else mode)
        else:
            with open(path, "wb") as f:
                f.write(content if isinstance(content, bytes) else content.encode())
        os.chown(path, self.user.uid, self.user.gid, follow_symlinks=False)
        if link is None and not name.endswith("/"):
            os.chmod(path, mode)  # after chown, which clears set-id bits
        return path

    def dockerfile(self, text, name="Dockerfile"):
        return self.write(name, text)

    def popen(self, *args, env=None, cwd=None, **kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([self.binary, *args], env={**self.env, **(env or {})},
                                cwd=cwd or self.dir, start_new_session=True,
                                **self.user.arguments, **kwargs)

    def run(self, *args, check=True, input=None, env=None, cwd=None, timeout=TIMEOUT):
        process = self.popen(*args, env=env, cwd=cwd, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE,
                             stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL)
        if isinstance(input, str):
            input = input.encode()
        try:
            out, err = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError("timed out: strake %s\n%s\n%s" % (
                " ".join(args), out.decode(errors="replace"), err.decode(errors="replace")))
        result = Result(process.returncode, out.decode(errors="replace"),
                        err.decode(errors="replace"))
        assert process.returncode != 99 and "runtime error:" not in result.err, result
        if check:
            assert result.code == 0, "strake %s: %r" % (" ".join(args), result)
        return result

    def bases(self, names):
        for name in names:
            layout = "oci-layout://%s:%s" % (self.layouts(name), TAGS[name])
            for reference in NAMES.get(name, [name]):
                yield from ("--build-context", "%s=%s" % (reference, layout))

    def build(self, *args, dockerfile=None, bases=("busybox",), context=None, **kwargs):
        """strake build --progress=plain ARGS CONTEXT, with `FROM busybox` meaning ours."""
        if dockerfile is not None:
            self.dockerfile(dockerfile)
        result = self.run("build", "--progress=plain", *self.bases(bases), *args,
                          context or self.context, **kwargs)
        if result.code == 0 and dockerfile and re.search(r"(?im)^(run|copy|add) ", dockerfile):
            assert steps(result), "no step was shown: %r" % result
        return result

    def image(self, *args, dockerfile=None, name="image", **kwargs):
        """Builds and reads the result back from an OCI layout directory."""
        target = self.path(name)
        remove_tree(target)
        self.build("-o", "type=oci,dest=%s,tar=false" % target, *args, dockerfile=dockerfile,
                   **kwargs)
        return oci.open_layout(target)

    def fsck(self):
        return self.run("fsck")


def steps(result):
    """Plain progress → {step name: "CACHED" | "DONE" | "ERROR" | "CANCELED"}."""
    names, states = {}, {}
    for line in result.err.split("\n"):
        match = re.match(r"#(\d+) (.*)$", line)
        if not match:
            continue
        number, rest = match.groups()
        if number not in names:
            names[number] = rest
        state = re.match(r"(CACHED|DONE|ERROR|CANCELED)\b", rest)
        if state:
            states[names[number]] = state.group(1)
    return states


def executed(result, word="RUN"):
    """Names of the steps of one instruction that were run, not found in the cache."""
    return [n for n, s in steps(result).items() if s == "DONE" and re.search(r"\] %s\b" % word, n)]


def mounts_below(path):
    with open("/proc/self/mountinfo") as f:
        return [line for line in f if path in line]


def processes_with(path):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f:
                if path.encode() in f.read() and int(pid) != os.getpid():
                    with open("/proc/%s/cmdline" % pid, "rb") as c:
                        found.append((pid, c.read()))
        except OSError:
            pass
    return found


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def strake(base, binary, user, layouts):
    directory = tempfile.mkdtemp(prefix="s.", dir=base)
    os.chown(directory, user.uid, user.gid)
    os.chmod(directory, 0o755)
    program = Strake(binary, user, directory, layouts)
    yield program
    try:
        if program.check_clean and os.path.exists(program.store):
            program.fsck()
        assert not mounts_below(directory), "mounts are left"
        assert wait_for(lambda: not processes_with(directory), 3), (
            "processes are left: %r" % processes_with(directory))
        assert not os.listdir(program.env["TMPDIR"]), "temporary files are left: %r" % (
            os.listdir(program.env["TMPDIR"]))
    finally:
        remove_tree(directory)


@pytest.fixture
def canary(strake):
    """A directory outside of every root; whatever the test does, it stays as it was."""
    directory = strake.mkdir("canary")
    path = strake.write("file", "canary\n", mode=0o640, root=directory)
    os.utime(path, (1000000000, 1000000000))
    os.utime(directory, (1000000000, 1000000000))

    def look():
        found = []
        for name in (directory, path):
            st = os.lstat(name)
            found.append((st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns))
        with open(path) as f:
            found.append((f.read(), sorted(os.listdir(directory))))
        return found
    before = look()
    yield directory
    assert look() == before, "the canary was touched"


@pytest.fixture(scope="session")
def tool():
    """tool("skopeo")(args...) runs it; skips where it is not installed."""
    def get(name):
        path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if not path:
            pytest.skip("%s is not installed" % name)

        def run(*args, check=True, **kwargs):
            result = subprocess.run([path, *args], capture_output=True, text=True,
                                    timeout=TIMEOUT, **kwargs)
            if check:
                assert result.returncode == 0, "%s %s\n%s%s" % (
                    name, " ".join(args), result.stdout, result.stderr)
            return result
        return run
    return get


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_daemon(command, ready, log, **kwargs):
    with open(log, "wb") as f:
        process = subprocess.Popen(command, stdout=f, stderr=f, stdin=subprocess.DEVNULL,
                                   start_new_session=True, **kwargs)
    if not wait_for(lambda: process.poll() is not None or ready(), 60) or process.poll() is not None:
        stop_daemon(process)
        with open(log, errors="replace") as f:
            pytest.skip("%s does not start: %s" % (command[0], f.read()[-500:]))
    return process


def stop_daemon(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="session")
def registry(base):
    """HOST:PORT of a docker-registry of our own."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is not installed")
    port = free_port()
    directory = tempfile.mkdtemp(prefix="r.", dir=base)
    config = os.path.join(directory, "config.yml")
    with open(config, "w") as f:
        f.write("version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n"
                "    rootdirectory: %s/data\n  delete:\n    enabled: true\n"
                "http:\n  addr: 127.0.0.1:%d\n" % (directory, port))

    def ready():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    process = start_daemon([program, "serve", config], ready, os.path.join(directory, "log"))
    yield "127.0.0.1:%d" % port
    stop_daemon(process)


@pytest.fixture(scope="session")
def docker(base):
    """docker(args...) against a daemon of our own, without network; root only."""
    client, daemon = shutil.which("docker"), shutil.which("dockerd", path="/usr/sbin:/usr/bin")
    if not client or not daemon:
        pytest.skip("docker is not installed")
    if not IS_ROOT:
        pytest.skip("a docker daemon of our own needs root")
    directory = tempfile.mkdtemp(prefix="d.", dir=base)
    host = "unix://%s/s" % directory
    env = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    process = start_daemon(
        [daemon, "--host", host, "--data-root", directory + "/data", "--exec-root",
         directory + "/exec", "--pidfile", directory + "/pid", "--bridge=none", "--iptables=false",
         "--ip6tables=false", "--storage-driver=vfs"],
        lambda: subprocess.run([client, "-H", host, "info"], capture_output=True).returncode == 0,
        os.path.join(directory, "log"), env=env)

    def run(*args, check=True):
        result = subprocess.run([client, "-H", host, *args], capture_output=True, text=True,
                                timeout=TIMEOUT)
        if check:
            assert result.returncode == 0, "docker %s\n%s%s" % (
                " ".join(args), result.stdout, result.stderr)
        return result
    yield run
    stop_daemon(process)
    for line in mounts_below(directory):
        subprocess.run(["umount", "-l", line.split()[4]], check=False)
