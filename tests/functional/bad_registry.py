#!/usr/bin/env python3
"""A registry that misbehaves on purpose, on loopback only.

The first part of a repository's name chooses how: /v2/<behaviour>/x/blobs/<digest>. On start it
prints three ports (plain, second plain, TLS) and the path of its certificate; it exits when its
standard input closes. GET /log on the first port gives one line for each request so far, of all
ports: "PORT METHOD PATH AUTHORIZATION RANGE"; GET /reset forgets them.
"""
import base64
import hashlib
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

BLOB = bytes((i * 31 + (i >> 8)) & 0xFF for i in range(1 << 20))
BLOB_DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()
MANIFEST = b'{"schemaVersion":2,"layers":[]}'
MT = "application/vnd.oci.image.manifest.v1+json"

lock = threading.Lock()
log = []
count = {}  # behaviour -> number of requests, for "fails twice, then works"
uploads = {}  # id -> bytearray
blobs = {}  # digest -> bytes
tokens = {"n": 0, "valid": None, "uses": 0}
ports = []


def bump(key):
    with lock:
        count[key] = count.get(key, 0) + 1
        return count[key]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "bad/1"

    def log_message(self, *args):
        pass

    # --- answers ---------------------------------------------------------------------------

    def answer(self, status, body=b"", headers=(), length=None):
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code="TESTING", message="the registry says no", headers=()):
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.answer(status, body, [("Content-Type", "application/json"), *headers])

    def reset(self):
        """RST instead of FIN."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def cut(self, body, n, status=200, headers=()):
        """Promise all, send n bytes, hang up."""
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:n])
        self.wfile.flush()
        self.close_connection = True

    def range_start(self):
        r = self.headers.get("Range")
        return int(r[len("bytes="):].split("-")[0]) if r else 0

    def part(self, n=None):
        """206 from where the client asks, at most n bytes of it before hanging up."""
        start = self.range_start()
        body = BLOB[start:]
        status = 206 if start else 200
        h = [("Content-Range", f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}")] if start else []
        if n is None or n >= len(body):
            self.answer(status, body, h)
        else:
            self.cut(body, n, status, h)

    def other(self, i=1):
        return f"http://127.0.0.1:{ports[i]}"

    # --- dispatch --------------------------------------------------------------------------

    def handle_any(self):
        path = urlparse(self.path).path
        port = self.server.server_address[1]
        if path == "/log":
            with lock:
                text = "".join(log)
            return self.answer(200, text.encode())
        if path == "/reset":
            with lock:
                log.clear()
                count.clear()
                tokens.update(n=0, valid=None, uses=0)
            return self.answer(200)
        with lock:
            log.append(
                f"{port} {self.command} {self.path} "
                f"{self.headers.get('Authorization', '-').replace(' ', '_')} "
                f"{self.headers.get('Range', '-')}\n"
            )
        if path == "/token":
            return self.token()
        if path.startswith("/v2/"):
            name = path.split("/")[2].replace("-", "_")
            f = getattr(self, "repo_" + name, None)
            if f:
                return f(path)
        f = getattr(self, "at_" + path.strip("/").replace("/", "_"), None)
        return f(path) if f else self.error(404, "NAME_UNKNOWN", "no such place")

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

    # --- pull ------------------------------------------------------------------------------

    def repo_good(self, path):
        if "/manifests/" in path:
            return self.answer(200, MANIFEST, [("Content-Type", MT + "; charset=utf-8")])
        if path.endswith("/blobs/" + BLOB_DIGEST):
            return self.part()
        return self.error(404, "BLOB_UNKNOWN", "blob unknown")

    def repo_liar(self, path):
        """A header that claims another digest."""
        self.answer(200, MANIFEST, [("Content-Type", MT),
                                    ("Docker-Content-Digest", "sha256:" + "0" * 64)])

    def repo_huge(self, path):
        self.send_response(200)
        self.send_header("Content-Type", MT)
        self.end_headers()
        self.close_connection = True
        try:
            for _ in range(64):
                self.wfile.write(b"[" * (1 << 20))
        except OSError:
            pass

    def repo_fail2(self, path):
        if bump(path) <= 2:
            return self.error(503, "UNAVAILABLE", "busy")
        return self.repo_good(path)

    def repo_fail(self, path):
        self.error(500, "UNKNOWN", "disk \x1b[31mon fire")

    def repo_slow_down(self, path):
        if bump(path) == 1:
            return self.error(429, "TOOMANYREQUESTS", "slow down", [("Retry-After", "1")])
        return self.repo_good(path)

    def repo_come_back_later(self, path):
        self.error(429, "TOOMANYREQUESTS", "quota used up", [("Retry-After", "86400")])

    def repo_cut4k(self, path):
        self.part(4096)

    def repo_cut_norange(self, path):
        """Never heard of Range; gets a bit further each time."""
        n = bump(path) * (300 << 10)
        if n >= len(BLOB):
            return self.answer(200, BLOB)
        self.cut(BLOB, n)

    def repo_cut_same(self, path):
        """Never heard of Range, and always stops at the same byte."""
        self.cut(BLOB, 1000)

    def repo_wrong_range(self, path):
        start = self.range_start()
        if not start:
            return self.cut(BLOB, 1000)
        self.answer(206, BLOB[start + 7:],
                    [("Content-Range", f"bytes {start + 7}-{len(BLOB) - 1}/{len(BLOB)}")])

    def repo_flipped(self, path):
        body = bytearray(BLOB)
        body[5000] ^= 1
        self.answer(200, bytes(body))

    def repo_longer(self, path):
        self.answer(200, BLOB + b"x")

    def repo_shorter(self, path):
        self.answer(200, BLOB[:-1])

    def repo_rst(self, path):
        if bump(path) <= 2:
            return self.reset()
        return self.repo_good(path)

    def repo_rst_middle(self, path):
        if bump(path) <= 3:
            self.send_response(200 if not self.range_start() else 206)
            start = self.range_start()
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}")
            self.send_header("Content-Length", str(len(BLOB) - start))
            self.end_headers()
            self.wfile.write(BLOB[start:start + 100000])
            self.wfile.flush()
            time.sleep(0.05)
            return self.reset()
        return self.part()

    def repo_stall(self, path):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BLOB)))
        self.end_headers()
        self.wfile.write(BLOB[:100])
        self.wfile.flush()
        time.sleep(30)

    def repo_drip(self, path):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BLOB)))
        self.end_headers()
        try:
            for i in range(300):
                self.wfile.write(BLOB[i:i + 1])
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            pass
        self.close_connection = True

    def repo_headers(self, path):
        self.send_response(200)
        for i in range(2000):
            self.send_header(f"X-{i}", "y" * 100)
        self.end_headers()
        self.close_connection = True

    def repo_chaos(self, path):
        """/v2/chaos/SEED/x/...: each request meets a fate that depends on the seed alone."""
        seed = path.split("/")[3]
        n = bump("chaos" + seed)
        fate = random.Random(f"{seed} {n}")
        kind = fate.choice(["fine", "fine", "fine", "cut", "500", "503", "429", "404", "rst",
                            "flip", "range", "break"])
        if kind in ("500", "503", "429", "404"):
            self.body()
            return self.error(int(kind), "CHAOS", "chaos",
                              [("Retry-After", "0")] if kind == "429" else [])
        if kind == "rst":
            return self.reset()
        if "/uploads/" in path or self.command not in ("GET", "HEAD"):
            return self.registry(path, break_after=fate.randrange(1, 1 << 20)
                                 if kind == "break" else None)
        if kind == "cut":
            return self.part(fate.randrange(len(BLOB)))
        start = self.range_start()
        if kind == "flip" and seed.endswith("7"):
            body = bytearray(BLOB[start:])
            body[fate.randrange(len(body))] ^= 1
            return self.answer(206 if start else 200, bytes(body), [
                ("Content-Range", f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}")])
        if kind == "range":
            return self.answer(200, BLOB)
        return self.part()

    # --- redirects -------------------------------------------------------------------------

    def repo_elsewhere(self, path):
        if not self.headers.get("Authorization"):
            return self.challenge()
        self.answer(307, b"", [("Location", self.other() + "/storage?sig=SECRET")])

    def at_storage(self, path):
        self.part()

    def repo_cdn401(self, path):
        self.answer(307, b"", [("Location", self.other() + "/denied")])

    def at_denied(self, path):
        self.answer(401, b"", [("WWW-Authenticate",
                                f'Bearer realm="{self.other()}/token",service="evil"')])

    def repo_loop(self, path):
        self.answer(302, b"", [("Location", path)])

    def repo_downgrade(self, path):
        self.answer(302, b"", [("Location", self.other() + "/storage")])

    def repo_to_file(self, path):
        self.answer(302, b"", [("Location", "file:///etc/passwd")])

    def repo_to_metadata(self, path):
        self.answer(302, b"", [("Location", "http://169.254.169.254/latest/meta-data")])

    def repo_no_location(self, path):
        self.answer(302, b"")

    # --- tokens ----------------------------------------------------------------------------

    def challenge(self, realm=None):
        name = self.path.split("/")[2]
        realm = realm or f"http://127.0.0.1:{ports[0]}/token"
        self.error(401, "UNAUTHORIZED", "authentication required", [
            ("WWW-Authenticate",
             f'Bearer realm="{realm}",service="bad",scope="repository:{name}/x:pull"')])

    def token(self):
        with lock:
            tokens["n"] += 1
            tokens["valid"] = f"tok{tokens['n']}"
            tokens["uses"] = 0
        body = json.dumps({"token": tokens["valid"], "expires_in": 300}).encode()
        self.answer(200, body)

    def authorized(self):
        return self.headers.get("Authorization") == f"Bearer {tokens['valid']}"

    def repo_tok(self, path):
        return self.repo_good(path) if self.authorized() else self.challenge()

    def repo_tok_expires(self, path):
        """Each token is good for two requests."""
        with lock:
            tokens["uses"] += 1
            good = tokens["uses"] <= 2
        return self.registry(path) if self.authorized() and good else self.challenge()

    def repo_never(self, path):
        self.challenge()

    def repo_realm_file(self, path):
        self.challenge("file:///etc/passwd")

    def repo_realm_metadata(self, path):
        self.challenge("http://169.254.169.254/token")

    def repo_realm_userinfo(self, path):
        self.challenge("http://user:pw@127.0.0.1/token")

    def repo_basic(self, path):
        want = "Basic " + base64.b64encode(b"user:pa:ss").decode()
        if self.headers.get("Authorization") == want:
            return self.repo_good(path)
        self.error(401, "UNAUTHORIZED", "who are you", [("WWW-Authenticate", 'Basic realm="x"')])

    # --- push ------------------------------------------------------------------------------

    def body(self, limit=None):
        n = int(self.headers.get("Content-Length", 0))
        return self.rfile.read(n if limit is None else min(n, limit))

    def registry(self, path, max_body=None, break_after=None, location=None, late_manifest=None):
        """A registry that works, with switches."""
        q = parse_qs(urlparse(self.path).query)
        if "/manifests/" in path and self.command == "PUT":
            self.body()
            if late_manifest is not None and bump("manifest" + path) <= late_manifest:
                return self.error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
            return self.answer(201, b"", [("Docker-Content-Digest", "sha256:" + "0" * 64)])
        if "/blobs/sha256:" in path:
            have = blobs.get(path.rsplit("/", 1)[1])
            if have is None:
                return self.error(404, "BLOB_UNKNOWN", "blob unknown")
            return self.answer(200, have)
        if path.endswith("/blobs/uploads/") and self.command == "POST":
            if "mount" in q and q["mount"][0] in blobs and "from" in q:
                return self.answer(201)
            uid = str(bump("upload"))
            uploads[uid] = bytearray()
            base = path + uid if location is None else location + path + uid
            return self.answer(202, b"", [("Location", base + "?state=a%2Fb")])
        uid = path.rsplit("/", 1)[1]
        up = uploads.get(uid)
        if up is None:
            return self.error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload")
        if self.command == "GET":
            return self.answer(204, b"", [("Range", f"0-{max(len(up) - 1, 0)}"),
                                          ("Location", path)])
        if self.command == "DELETE":
            del uploads[uid]
            return self.answer(204)
        n = int(self.headers.get("Content-Length", 0))
        if max_body is not None and n > max_body:
            self.close_connection = True
            self.error(413, "TOOLARGE", "request entity too large", [("Connection", "close")])
            self.wfile.flush()
            # As servers do: closing over unread bytes would let a reset overtake the answer.
            self.connection.settimeout(5)
            try:
                while self.connection.recv(65536):
                    pass
            except OSError:
                pass
            return None
        if break_after is not None and n > break_after and bump("break" + path) == 1:
            up += self.body(break_after)
            return self.reset()
        cr = self.headers.get("Content-Range")
        if cr and int(cr.split("-")[0]) != len(up):
            self.body()
            return self.error(416, "BLOB_UPLOAD_INVALID", "wrong offset")
        up += self.body()
        if self.command == "PATCH":
            return self.answer(202, b"", [("Location", path + "?state=b"),
                                          ("Range", f"0-{len(up) - 1}")])
        digest = "sha256:" + hashlib.sha256(up).hexdigest()
        if q.get("digest") != [digest]:
            return self.error(400, "DIGEST_INVALID", "provided digest did not match")
        blobs[digest] = bytes(up)
        del uploads[uid]
        return self.answer(201)

    def repo_push_late(self, path):
        """Two tries until the blobs of a manifest are seen."""
        return self.registry(path, late_manifest=2)

    def repo_push_lost(self, path):
        return self.registry(path, late_manifest=10**9)

    def repo_push(self, path):
        self.registry(path)

    def repo_push_small(self, path):
        self.registry(path, max_body=600 << 10)

    def repo_push_tiny(self, path):
        self.registry(path, max_body=10)

    def repo_push_break(self, path):
        self.registry(path, break_after=300000)

    def repo_push_elsewhere(self, path):
        if not self.authorized() and self.server.server_address[1] == ports[0]:
            return self.challenge()
        self.registry(path, location=self.other())

    def repo_push_denied(self, path):
        self.error(403, "DENIED", "requested access to the resource is denied")

    def repo_push_flaky(self, path):
        if bump("flaky") % 3 == 1:
            self.body()
            return self.error(502, "BAD_GATEWAY", "try again")
        self.registry(path)

    # --- plain files -----------------------------------------------------------------------

    def at_file(self, path):
        if self.headers.get("If-None-Match") == '"v1"':
            return self.answer(304, b"", [("ETag", '"v1"')])
        self.answer(200, b"hello\n", [
            ("ETag", '"v1"'), ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("Content-Disposition", 'attachment; filename="../../evil name.txt"')])

    def at_gone(self, path):
        self.error(404, "", "nothing here")

    def at_resumed(self, path):
        h = [("ETag", '"r"')]
        start = self.range_start() if self.headers.get("If-Range") == '"r"' else 0
        if bump(path) == 1:
            return self.cut(BLOB, 100000, 200, h)
        h.append(("Content-Range", f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"))
        self.answer(206, BLOB[start:], h)

    def at_changed(self, path):
        n = bump(path)
        if n == 1:
            return self.cut(BLOB, 100000, 200, [("ETag", '"a"')])
        self.answer(200, BLOB, [("ETag", '"b"')])

    def at_hop(self, path):
        self.answer(301, b"", [("Location", "file")])


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients hang up on us as we do on them


def main():
    tmp = tempfile.mkdtemp(prefix="bad-registry-")
    cert = os.path.join(tmp, "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", os.path.join(tmp, "key.pem"), "-out", cert, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, os.path.join(tmp, "key.pem"))
    for i in range(3):
        server = Server(("127.0.0.1", 0), Handler)
        if i == 2:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        ports.append(server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(*ports, cert, flush=True)
    sys.stdin.read()
    for f in os.listdir(tmp):
        os.unlink(os.path.join(tmp, f))
    os.rmdir(tmp)


if __name__ == "__main__":
    main()
