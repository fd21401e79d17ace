"""Real bases: apt and a compiler inside RUN, the hello-c example, npm."""

import os
import shutil
import subprocess

import pytest

from conftest import TOP, executed


@pytest.fixture(scope="session")
def online():
    """The machine reaches its own apt mirror."""
    run = subprocess.run(["apt-get", "download", "--print-uris", "hello"], capture_output=True,
                         text=True)
    uris = [line.split("'")[1] for line in run.stdout.splitlines() if line.startswith("'http")]
    if not uris or subprocess.run(["/usr/lib/apt/apt-helper", "download-file", uris[0],
                                   "/dev/null"], capture_output=True).returncode not in (0, 100):
        pytest.skip("no apt mirror in reach")
    import urllib.request
    try:
        urllib.request.urlopen(uris[0], timeout=20).close()
    except OSError as error:
        pytest.skip("no apt mirror in reach: %s" % error)


def test_apt_get_install(strake, online):
    image = strake.image(bases=["debian"], dockerfile=(
        "FROM debian:bookworm-slim\nRUN apt-get update && apt-get install -y --no-install-recommends "
        "hello && rm -rf /var/lib/apt/lists/*\nRUN hello | grep -q 'Hello, world'\n"))
    assert "usr/bin/hello" in image.tree()


def test_hello_c_example(strake):
    for name in os.listdir(os.path.join(TOP, "examples/hello-c")):
        shutil.copy(os.path.join(TOP, "examples/hello-c", name), strake.context)
        os.chmod(os.path.join(strake.context, name), 0o644)
    strake.build("-t", "hello", bases=["gcc"])
    assert "Hello" in strake.run("run", "hello").out
    assert executed(strake.build("-t", "hello", bases=["gcc"])) == []
    tree = strake.image(bases=["gcc"]).tree()
    assert len([e for e in tree.values() if e.type == "f"]) == 1


def test_supplementary_groups(strake):
    strake.build(bases=["debian"], dockerfile=(
        "FROM debian:bookworm-slim\nRUN groupadd -g 7777 extra && useradd -m -G extra,audio joe\n"
        "USER joe\nRUN id -Gn | grep -qw extra && id -Gn | grep -qw audio && test $HOME = /home/joe "
        "&& touch ~/f\n"))


def test_npm_install(strake, online):
    strake.check_clean = False  # reading all of node again takes minutes with the sanitizers
    strake.write("package.json", '{"name":"t","version":"1.0.0","dependencies":{"is-odd":"3.0.1"}}')
    result = strake.build(bases=["node"], check=False, dockerfile=(
        "FROM node\nWORKDIR /app\nCOPY package.json .\nRUN npm install --no-audit --no-fund\n"
        "RUN node -e 'if (!require(\"is-odd\")(3)) process.exit(1)'\n"))
    if result.code and ("ENOTFOUND" in result.err or "ETIMEDOUT" in result.err or
                        "ECONNREFUSED" in result.err):
        host = subprocess.run(["npm", "view", "is-odd", "version"], capture_output=True)
        if host.returncode:
            pytest.skip("no npm registry in reach")
    assert result.code == 0, result
