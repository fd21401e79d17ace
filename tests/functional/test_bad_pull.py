"""A registry that has a real image and tampers with it on the way: pull, build and push through the
program, rows T11-T16, F8 and F9 of the catalogue. The protocol's own rows are in
tests/unit/registry/test_http.c."""

import hashlib
import json
import os
import re
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from test_security import B

pytestmark = pytest.mark.single

MT = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CUT = 16 << 10
SECRET = "Basic dXNlcjpzZWNyZXQ="  # user:secret
# T11: what is no digest
DIGESTS = {"climb": "sha256:../../../etc/passwd", "upper": "sha256:" + "A" * 64, "few": "sha256:abc",
           "empty": "", "algorithm": "sha999:" + "1" * 64, "slash": "sha256:/" + "1" * 63}
# T13: where a token is to be fetched
REALMS = {"realm-file": "file:///etc/passwd", "realm-metadata": "http://169.254.169.254/token",
          "realm-user": "http://user:pw@127.0.0.1/token", "realm-gopher": "gopher://127.0.0.1/x",
          "realm-none": ""}
# T14: where a blob is
MOVES = {"elsewhere": "http://127.0.0.1:%(other)d%(path)s", "loop": "%(path)s",
         "to-file": "file:///etc/passwd", "to-metadata": "http://169.254.169.254/latest/meta-data",
         "denied": "http://127.0.0.1:%(other)d/denied", "to-nowhere": "",
         "downgrade": "http://127.0.0.1:%(other)d%(path)s"}
PROTECTED = ("basic", "elsewhere", "denied", "push")


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/v2/<behaviour>/img/...; server.image is the layout's content. One Handler serves three ports:
    the registry's, another one, and one with TLS."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", send=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if send is None else body[:send])
        if send is not None and send < len(body):
            self.close_connection = True

    def do_GET(self):
        state, port = self.server.state, self.server.server_address[1]
        state.seen.append("%d %s %s %s" % (port, self.command, self.path,
                                           self.headers.get("Authorization")))
        if self.path == "/denied":
            return self.challenge('Bearer realm="http://127.0.0.1:%d/token",service="evil"' % state.other)
        match = re.match(r"/v2/([^/]+)/img/(manifests|blobs)/(.*)", self.path)
        if not match:
            return self.answer(404, b"{}")
        how, kind, name = match.groups()
        if how in REALMS:
            return self.challenge('Bearer realm="%s",service="x"' % REALMS[how])
        if how in PROTECTED and port == state.port and self.headers.get("Authorization") != SECRET:
            return self.challenge('Basic realm="x"')
        if self.command == "POST":
            return self.answer(202, Location="http://127.0.0.1:%d/v2/upload/img/blobs/uploads/1" % state.other)
        if self.command in ("PUT", "PATCH"):
            self.drain()
            return self.answer(201 if self.command == "PUT" else 202, Location=self.path)
        if kind == "manifests":
            return self.manifest(how, name)
        if how in MOVES and port != state.other:
            return self.answer(307, Location=MOVES[how] % {"other": state.other, "path": self.path})
        body = None if how == "push" else state.image.get(name)
        if body is None:
            return self.answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')
        layer = name in state.layers
        return getattr(self, "blob_" + how, self.whole)(body, layer)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET

    def drain(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while self.rfile.read(int(self.rfile.readline(), 16)):
                self.rfile.readline()
            self.rfile.readline()

    def challenge(self, text):
        self.drain()
        self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', WWW_Authenticate=text)

    # --- manifests -------------------------------------------------------------------------

    def manifest(self, how, name):
        m = dict(self.server.state.manifest)
        kind = MT
        if name.startswith("sha256:") and name in self.server.state.image:
            return self.answer(200, self.server.state.image[name], Content_Type=MT)
        if how == "both":
            m["manifests"] = []
        elif how == "type":
            kind = INDEX
        elif how == "more":
            m["layers"] = m["layers"] * 2
        elif how == "urls":
            m["layers"] = [dict(m["layers"][0], urls=["http://127.0.0.1:%d/elsewhere" %
                                                      self.server.state.port])]
            m["layers"][0]["digest"] = "sha256:" + "1" * 64
        elif how in DIGESTS:
            m["layers"] = [dict(m["layers"][0], digest=DIGESTS[how])]
        elif how == "config":
            m["config"] = dict(m["config"], digest=DIGESTS["climb"])
        elif how == "negative":
            m["layers"] = [dict(m["layers"][0], size=-1)]
        body = json.dumps(m).encode()
        if how == "twice":
            body = body[:-1] + b',"layers":[]}'
        elif how == "deep":
            body = b"[" * 10000 + b"]" * 10000
        elif how == "huge":
            body = b'{"x":"' + b"x" * (64 << 20) + b'"}'
        elif how == "changes" and self.command == "HEAD":
            body = json.dumps(dict(m, annotations={"old": "one"})).encode()
            return self.answer(200, body, Content_Type=MT, Docker_Content_Digest=digest(body))
        elif how == "otherconfig":
            body = json.dumps(dict(m, config=self.server.state.otherconfig)).encode()
        self.answer(200, body, Content_Type=kind, Docker_Content_Digest="sha256:" + "0" * 64)

    # --- blobs -----------------------------------------------------------------------------

    def whole(self, body, layer):
        self.answer(200, body)

    def blob_flip(self, body, layer):
        self.answer(200, body[:-1] + bytes([body[-1] ^ 1]) if layer else body)

    def blob_front(self, body, layer):
        """Damaged where the unpacking begins, long before the digest is known."""
        self.answer(200, body[:40] + b"\0" * 40 + body[80:] if layer else body)

    def blob_short(self, body, layer):
        self.answer(200, body[:-1000] if layer else body)

    def blob_long(self, body, layer):
        self.answer(200, body + b"x" if layer else body)

    def blob_cut(self, body, layer):
        """CUT bytes at a time, going on where the client asks."""
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not layer or not asked:
            return self.answer(200, body, CUT if layer else None)
        start = int(asked.group(1))
        self.answer(206, body[start:], CUT, Content_Range="bytes %d-%d/%d" % (
            start, len(body) - 1, len(body)))

    def blob_norange(self, body, layer):
        """A little more each time, always from the begin."""
        if layer:
            self.server.state.tries += 1
        self.answer(200, body, self.server.state.tries * (len(body) // 3) + 1 if layer else None)

    def blob_wrongrange(self, body, layer):
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not layer or not asked:
            return self.answer(200, body, CUT if layer else None)
        self.answer(206, body[100:], CUT, Content_Range="bytes 100-%d/%d" % (
            len(body) - 1, len(body)))

    def blob_refuse(self, body, layer):
        if layer:
            return self.answer(403, b'{"errors":[{"code":"DENIED","message":"not \\u001b[31myours"}]}')
        self.answer(200, body)


class State:
    """What the three ports share."""


@pytest.fixture(scope="module")
def server(layouts, base):
    layout = layouts("busybox")
    state = State()
    state.image, state.seen = {}, []
    for name in os.listdir(layout + "/blobs/sha256"):
        with open(layout + "/blobs/sha256/" + name, "rb") as f:
            state.image["sha256:" + name] = f.read()
    index = json.load(open(layout + "/index.json"))
    state.manifest = json.loads(state.image[index["manifests"][0]["digest"]])
    state.layers = [d["digest"] for d in state.manifest["layers"]]
    config = json.loads(state.image[state.manifest["config"]["digest"]])
    config["rootfs"]["diff_ids"] = ["sha256:" + "2" * 64]
    other = json.dumps(config).encode()
    state.image[digest(other)] = other
    state.otherconfig = dict(state.manifest["config"], digest=digest(other), size=len(other))
    certificate = os.path.join(base, "bad-pull.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", certificate + ".key", "-out", certificate, "-days", "2",
                    "-subj", "/CN=localhost"], check=True, capture_output=True)
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(3)]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate + ".key")
    servers[2].socket = context.wrap_socket(servers[2].socket, server_side=True,
                                            do_handshake_on_connect=False)
    state.port, state.other, state.tls = (s.server_address[1] for s in servers)
    for httpd in servers:
        httpd.daemon_threads, httpd.state = True, state
        httpd.handle_error = lambda *args: None
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield state
    for httpd in servers:
        httpd.shutdown()
        httpd.server_close()


@pytest.fixture
def pull(strake, server):
    """pull(behaviour) → result; few tries, and no waiting between them."""
    strake.env["STRAKE_CONFIG"] = strake.write(
        "registries.conf", "[http]\nretries = 2\nretry-pause = 1\n", root=strake.mkdir("config"))
    server.seen.clear()
    server.tries = 0

    def run(how, tag=":1", port=None):
        return strake.run("pull", "127.0.0.1:%d/%s/img%s" % (port or server.port, how, tag), check=False)
    return run


def login(strake, **hosts):
    """~/.docker/config.json with one user's password for each name."""
    strake.write("config.json", json.dumps({"auths": {
        name: {"auth": SECRET.split(" ")[1]} for name in hosts["names"]}}),
        root=strake.mkdir("home/.docker"))


def test_survives(strake, server, pull):
    """F8: cut every 16 KiB and resumed; Range ignored, begun anew. T15: a header that lies."""
    for how in ("cut", "norange", "plain"):
        result = pull(how)
        assert result.code == 0, result
        assert re.fullmatch(r"Digest: sha256:[1-9a-f][0-9a-f]*\n", result.out)
        out = strake.run("run", "--rm", "127.0.0.1:%d/%s/img:1" % (server.port, how),
                         "echo", "alive").out
        assert out == "alive\n"
        strake.run("rmi", "127.0.0.1:%d/%s/img:1" % (server.port, how))
        strake.run("prune", "--all", "--force", check=False)
    assert sum("Range" not in s and "blobs" in s for s in server.seen) > 2


@pytest.mark.parametrize("how, message", [
    ("flip", "digest"),  # T11
    ("front", ""),
    ("short", "ended after"),
    ("long", "longer than"),
    ("otherconfig", "diff id"),
    ("climb", "digest"),
    ("upper", "digest"),
    ("few", "digest"),
    ("empty", "digest"),
    ("algorithm", "digest"),
    ("slash", "digest"),
    ("config", "digest"),
    ("negative", "size"),
    ("both", "a manifest and an index at once"),  # T12
    ("type", ""),
    ("twice", "duplicate"),
    ("deep", ""),
    ("huge", ""),
    ("more", "layers"),
    ("wrongrange", "100-"),  # F8
    ("refuse", "not \\x1b[31myours"),  # F9, B12: the registry's own words, harmless
])
def test_refused(strake, server, pull, how, message, canary):
    result = pull(how)
    assert result.code == 1 and message in result.err and "\x1b" not in result.err, result
    assert "img" not in strake.run("images").out
    if how in DIGESTS or how == "config":  # before any path or request is made of it
        assert not any("/blobs/" in s and how != "config" for s in server.seen), server.seen
        assert not any("etc" in s or ".." in s for s in server.seen), server.seen
    # the same as a base: the line is named, and nothing of it is taken for the image later
    text = "FROM 127.0.0.1:%d/%s/img:1\nRUN true\n" % (server.port, how)
    for _ in range(2):
        result = strake.build(check=False, dockerfile=text)
        assert result.code == 1 and message in result.err and "Dockerfile:1" in result.err, result


@pytest.mark.parametrize("name", ["@" + d for d in DIGESTS.values() if d] + [
    "@sha256:", ":../x", "/../../x:1", ":" + "x" * 200])
def test_names_that_are_none(server, pull, name):
    """T11: refused before any request."""
    result = pull("plain", name)
    assert 1 <= result.code <= 123 and not server.seen, result


def test_tags_and_digests(strake, server, pull):
    """T15: by digest other bytes come: E. A tag moves between HEAD and GET: what came counts."""
    result = pull("plain", "@sha256:" + "1" * 64)
    assert result.code == 1 and "other content" in result.err, result
    result = pull("changes")
    assert result.code == 0 and result.out == "Digest: %s\n" % digest(json.dumps(server.manifest).encode())


def test_urls(strake, server, pull):
    """T13: no request goes where a descriptor's urls point."""
    assert pull("urls").code == 1
    assert not any("elsewhere" in s for s in server.seen)


@pytest.mark.parametrize("how", REALMS)
def test_realms(strake, server, pull, how):
    """T13: no token is fetched from a place that no registry has its token server at."""
    login(strake, names=["127.0.0.1:%d" % server.port])
    result = pull(how)
    assert result.code == 1, result
    assert all(s.endswith(" None") for s in server.seen), server.seen


def test_redirects(strake, server, pull):
    """T14, T13: the password is for the registry alone, wherever it sends us."""
    login(strake, names=["127.0.0.1:%d" % p for p in (server.port, server.tls)])
    assert pull("elsewhere").code == 0
    own = [s for s in server.seen if s.startswith("%d " % server.port)]
    hops = [s for s in server.seen if s.startswith("%d " % server.other)]
    assert any(s.endswith(SECRET) for s in own) and hops
    assert all(s.endswith(" None") for s in hops), hops
    for how, port, word in (("loop", server.port, "redirect"), ("to-file", server.port, ""),
                            ("to-metadata", server.port, "link-local"), ("to-nowhere", server.port, ""),
                            ("denied", server.port, ""), ("downgrade", server.tls, "from https to http")):
        server.seen.clear()
        result = pull(how, port=port)
        assert result.code == 1 and word in result.err, (how, result)
        hops = [s for s in server.seen if s.startswith("%d " % server.other)]
        assert not any("/token" in s or not s.endswith(" None") for s in hops), hops
        if how == "downgrade":
            assert server.seen and not hops, server.seen
        if how == "loop":  # one follower for the configuration, one for the layer, each tried thrice
            assert len(server.seen) < 11 * 6 + 4, len(server.seen)


def test_upload_elsewhere(strake, server, pull):
    """T14: nor is it sent to where an upload is to go."""
    login(strake, names=["127.0.0.1:%d" % server.port])
    strake.build("-t", "127.0.0.1:%d/push/img:1" % server.port, dockerfile=B + "RUN echo >/f\n")
    strake.run("push", "127.0.0.1:%d/push/img:1" % server.port)
    uploads = [s for s in server.seen if s.startswith("%d " % server.other)]
    assert any(" PUT " in s for s in uploads) and all(s.endswith(" None") for s in uploads), uploads
    assert any(" PUT /v2/push/img/manifests/1 " + SECRET in s for s in server.seen), server.seen


def test_no_credentials_for_others(strake, server, pull):
    """T16: the password goes to whom it is for; no other name, port or prefix, and .netrc is not read."""
    port = server.port
    login(strake, names=["127.0.0.1:%d" % port])
    assert pull("basic").code == 0 and any(s.endswith(SECRET) for s in server.seen)
    strake.run("rmi", "127.0.0.1:%d/basic/img:1" % port)
    server.seen.clear()
    login(strake, names=["127.0.0.1", "127.0.0.1:%d" % (port + 1), "127.0.0.1:%d.evil" % port,
                         "localhost:%d" % port, "docker.io", "https://index.docker.io/v1/", "1:%d" % port,
                         "127.0.0.1:%d/basic/im" % port, "127.0.0.1:%d/other" % port, "",
                         "127.0.0.1.evil.example:%d" % port, "*"])
    strake.write(".netrc", "machine 127.0.0.1 login user password secret\ndefault login user password "
                 "secret\n", mode=0o600, root=strake.env["HOME"])
    result = pull("basic")
    assert result.code == 1, result
    assert server.seen and all(s.endswith(" None") for s in server.seen), server.seen
    assert pull("plain").code == 0
    assert all(s.endswith(" None") for s in server.seen), server.seen
