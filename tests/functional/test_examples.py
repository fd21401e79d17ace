"""The quick examples, as `examples/run --quick` does them: base images made by make-hub.sh and served
as docker.io's mirror; the rest is `make examples`."""

import os
import shutil
import subprocess

import pytest

from conftest import TOP

EXAMPLES = os.path.join(TOP, "examples")
CACHE = os.environ.get("STRAKE_TEST_CACHE", os.path.expanduser("~/.cache/strake-tests"))


def quick():
    for name in sorted(os.listdir(EXAMPLES)):
        check = os.path.join(EXAMPLES, name, "check")
        if os.path.exists(check):
            with open(check) as f:
                if "\n# quick\n" in f.read():
                    yield name


@pytest.fixture(scope="session")
def hub(base, binary):
    """HOST:PORT of a registry with the images that the quick examples stand on."""
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    needed = subprocess.run(
        ["bash", "-c", '. "$here/lib.sh"; bases "$@"', "bases", *quick()], check=True, text=True,
        capture_output=True, env=dict(os.environ, here=EXAMPLES, top=TOP)).stdout.split()
    made = subprocess.run([os.path.join(TOP, "tests/images/make-hub.sh"), *needed], text=True,
                          capture_output=True, env=dict(os.environ, STRAKE=binary))
    if made.returncode:
        pytest.skip("the base images cannot be made on this machine: %s" % made.stderr[-500:])
    serve = os.path.join(TOP, "tests/images/serve-hub.sh")
    state = os.path.join(base, "hub")
    address = subprocess.run([serve, os.path.join(CACHE, "hub/registry"), state], check=True,
                             text=True, stdout=subprocess.PIPE).stdout.strip()
    yield address
    subprocess.run([serve, "--stop", state], check=True)


@pytest.fixture(scope="session")
def examples(base):
    """The folder where an ordinary user can read it, with the registry's script that lib.sh names."""
    target = os.path.join(base, "top", "examples")
    shutil.copytree(EXAMPLES, target)
    subprocess.run(["chmod", "-R", "a+rX", os.path.dirname(target)], check=True)
    return target


def test_quick_examples(strake, hub, examples):
    result = subprocess.run(
        [os.path.join(examples, "run"), "--registry", hub, *quick()], text=True,
        capture_output=True, cwd=strake.dir, env=dict(strake.env, STRAKE=strake.binary),
        **strake.user.arguments)
    names = list(quick())
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr
    assert "%d of %d examples work" % (len(names), len(names)) in result.stdout
    assert {"hello-c", "nginx-static", "external-images"} <= set(names)
