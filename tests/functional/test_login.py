"""login and logout, credential files and helpers, against a docker-registry with basic auth and TLS
signed by an authority of our own."""

import base64
import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile

import pytest

from conftest import free_port, start_daemon, stop_daemon

USER, PASSWORD = "alice", "s3cret+/="
HTPASSWD = "alice:$2b$05$OVIkhDl3Bp1aIj9KBk5hM.vmNQxr94Iu3FtlQKepQgN4koKFhifvm\n"


@pytest.fixture(scope="module")
def private(base):
    """(HOST:PORT, CA file) of a registry that wants a login and has a certificate of its own CA."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is not installed")
    port = free_port()
    directory = tempfile.mkdtemp(prefix="p.", dir=base)
    os.chmod(directory, 0o755)

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj",
            "/CN=strake test CA", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl("req", *ec, "-keyout", "key.pem", "-out", "req.pem", "-subj", "/CN=localhost")
    with open(directory + "/ext", "w") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "req.pem", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "cert.pem")
    with open(directory + "/htpasswd", "w") as f:
        f.write(HTPASSWD)
    config = directory + "/config.yml"
    with open(config, "w") as f:
        f.write("version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n"
                "    rootdirectory: %s/data\nauth:\n  htpasswd:\n    realm: strake\n"
                "    path: %s/htpasswd\nhttp:\n  addr: 127.0.0.1:%d\n  tls:\n"
                "    certificate: %s/cert.pem\n    key: %s/key.pem\n" % (
                    directory, directory, port, directory, directory))

    def ready():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    process = start_daemon([program, "serve", config], ready, directory + "/log")
    yield "localhost:%d" % port, directory + "/ca.pem"
    stop_daemon(process)


@pytest.fixture
def host(strake, private):
    """The registry's name; strake trusts its CA."""
    strake.env["STRAKE_CONFIG"] = strake.write(
        "registries.conf", '[registry "%s"]\nca = %s\n' % private, root=strake.mkdir("config"))
    return private[0]


def login(strake, host, password=PASSWORD, **kwargs):
    return strake.run("login", "-u", USER, "--password-stdin", host, input=password + "\n", **kwargs)


def test_login(strake, host, tool):
    """A push needs the login; it is kept as docker keeps it; logout forgets it."""
    name = "%s/%s/app:1" % (host, strake.user.kind)
    text = "FROM busybox\nRUN echo hi > /x\n"
    result = strake.build("--push", "-t", name, dockerfile=text, check=False)
    assert result.code == 1 and "strake login %s" % host in result.err
    path = os.path.join(strake.env["HOME"], ".docker/config.json")
    result = login(strake, host, "wrong", check=False)
    assert result.code == 1 and "refuses this user name and password" in result.err
    assert not os.path.exists(path)
    result = login(strake, host)
    assert result.out == "Login Succeeded\n" and path in result.err
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    auth = base64.b64encode(("%s:%s" % (USER, PASSWORD)).encode()).decode()
    assert json.load(open(path)) == {"auths": {host: {"auth": auth}}}
    again = strake.run("login", host)
    assert again.out == "Login Succeeded\n" and "existing credentials" in again.err
    strake.build("--push", "-t", name)
    strake.run("pull", name)
    skopeo = tool("skopeo")
    assert skopeo("inspect", "--tls-verify=false", "--authfile", path, "docker://" + name).stdout
    assert strake.run("logout", "https://%s/v2/" % host).out == (
        "Removing login credentials for %s\n" % host)
    assert json.load(open(path)) == {"auths": {}}
    assert strake.run("logout", host).out == "Not logged in to %s\n" % host
    assert strake.run("pull", name, check=False).code == 1


def test_file_is_kept(strake, host):
    """What others keep in the file stays, a link to it stays a link; REGISTRY_AUTH_FILE comes first."""
    other = {"auths": {"https://index.docker.io/v1/": {"auth": "YTpi"}}, "detachKeys": "ctrl-q",
             "HttpHeaders": {"X-Meta": "1"}}
    real = strake.write("real.json", json.dumps(other), mode=0o644, root=strake.mkdir("dotfiles"))
    strake.write("config.json", link=real, root=strake.mkdir("docker"))
    env = {"DOCKER_CONFIG": os.path.join(strake.dir, "docker")}
    login(strake, host, env=env)
    assert os.path.islink(os.path.join(strake.dir, "docker/config.json"))
    now = json.load(open(real))
    assert now["auths"].pop(host) and now == other
    assert stat.S_IMODE(os.stat(real).st_mode) == 0o600
    auth_file = strake.path("auth.json")
    login(strake, host, env={**env, "REGISTRY_AUTH_FILE": auth_file})
    assert list(json.load(open(auth_file))["auths"]) == [host]
    strake.run("logout", host, env=env)
    assert json.load(open(real)) == other
    strake.write("real.json", "{ this is not JSON", root=strake.mkdir("dotfiles"))
    result = login(strake, host, env=env, check=False)
    assert result.code == 1 and "config.json" in result.err
    assert open(real).read() == "{ this is not JSON"


HELPER = """#!/bin/sh
# a credential helper that keeps its secrets in files beside it
read -r input || true
case $1 in
store) printf %s "$input" > @/store; ;;
get) [ -f @/store ] && cat @/store || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm -f @/store; printf %s "$input" > @/erased ;;
esac
"""


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_helper(strake, host, key):
    folder = strake.mkdir("helper")
    strake.write("docker-credential-test", HELPER.replace("@", folder), mode=0o755, root=folder)
    value = "test" if key == "credsStore" else {host: "test"}
    config = strake.write("config.json", json.dumps({key: value}), root=strake.mkdir("docker"))
    env = {"DOCKER_CONFIG": os.path.dirname(config),
           "PATH": folder + ":" + strake.env["PATH"]}
    result = login(strake, host, env=env)
    assert "unencrypted" not in result.err
    assert PASSWORD not in open(config).read()
    assert json.load(open(folder + "/store")) == {
        "ServerURL": host, "Username": USER, "Secret": PASSWORD}
    assert strake.run("login", host, env=env).out == "Login Succeeded\n"
    strake.run("logout", host, env=env)
    assert open(folder + "/erased").read() == host
    assert not os.path.exists(folder + "/store")


def test_untrusted_certificate(strake, private):
    """Without its CA the registry is not spoken to, and the message says what to configure."""
    strake.env["STRAKE_CONFIG"] = strake.write(
        "registries.conf", '[registry "%s"]\nca = /etc/ssl/certs/ca-certificates.crt\n' % private[0],
        root=strake.mkdir("config"))
    result = login(strake, private[0], check=False)
    assert result.code == 1 and "ca = " in result.err


@pytest.mark.parametrize("args, message", [
    (["-u", "a", "host/with space"], "host"),
    (["notahost"], "notahost is no registry"),
    (["localhost:1"], "--password-stdin"),
    (["--password-stdin", "localhost:1"], "needs --username"),
    (["-u", "a", "-p", "b", "localhost:1", "more"], "one registry is expected"),
])
def test_usage(strake, args, message):
    result = strake.run("login", *args, check=False)
    assert result.code != 0 and message in result.err
