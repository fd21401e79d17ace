"""RELIABILITY's catalogue, as far as a build can show it: E (a named error) or C (contained).

Each test plants a canary outside every root; whatever happens, it stays as it was. The ids (S1, T2,
B8, ...) are the catalogue's.
"""

import gzip
import hashlib
import io
import json
import os
import re
import socket
import subprocess
import tarfile

import pytest

from conftest import steps

pytestmark = pytest.mark.single

B = "FROM busybox\n"


def contained(strake, text, **kwargs):
    """E or C: it may fail with an error, not crash."""
    result = strake.build(check=False, dockerfile=text, **kwargs)
    assert 0 <= result.code <= 123, result
    assert result.code or steps(result), result
    return result


# --- the sandbox -----------------------------------------------------------------------------

def test_s1_no_leaked_descriptors(strake, canary):
    result = strake.build(dockerfile=B + "RUN ls /proc/self/fd | tr '\\n' ' '; echo end\n")
    assert re.search(r"^#\d+ \S+ 0 1 2 3 end$", result.err, re.M)
    for n in (3, 5, 9):
        result = strake.build(check=False, dockerfile=B + "WORKDIR /proc/self/fd/%d\nRUN ls ..\n" % n)
        assert 1 <= result.code <= 123


@pytest.mark.parametrize("path", ["/dev", "/proc", "/sys", "/etc/resolv.conf", "/etc/hosts",
                                  "/dev/null", "/dev/pts", "/run/secrets", "/tmp"])
def test_s3_mount_targets_that_are_links(strake, canary, path):
    text = (B + "RUN rm -rf %s; mkdir -p $(dirname %s); ln -s %s %s\n" % (path, path, canary, path) +
            "RUN --mount=type=tmpfs,target=/run/secrets/x echo hi >/dev/null; touch %s/x || true\n"
            % path)
    contained(strake, text)


def test_s5_stub_removal_does_not_follow(strake, canary):
    contained(strake, B + "RUN --mount=type=tmpfs,target=/a/b mv /a /old; ln -s %s /a\n" % canary)


def test_s6_bind_source_link(strake, canary):
    contained(strake, "FROM busybox AS base\nRUN ln -s %s /r && ln -s / /slash\n" % canary + B +
              "RUN --mount=type=bind,from=base,source=/r,target=/m,rw touch /m/x\n")
    strake.build(dockerfile="FROM busybox AS base\nRUN ln -s / /slash && touch /in-base\n" + B +
                 "RUN --mount=type=bind,from=base,source=/slash,target=/m test -e /m/in-base && "
                 "test ! -e /m%s\n" % canary)


def test_s6_cache_id_is_no_path(strake, canary):
    strake.build(dockerfile=B + "RUN --mount=type=cache,id=../../../x,target=/c touch /c/f\n")
    outside = [os.path.join(strake.dir, "x"), os.path.join(strake.store, "..", "..", "x")]
    assert not any(os.path.exists(p) for p in outside)


def test_s7_seccomp_and_insecure(strake):
    result = strake.build(dockerfile=B + "RUN grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status\n")
    assert re.search(r"Seccomp:\s+2", result.err)
    for flag in ("insecure", "unconfined"):
        result = strake.build(check=False,
                              dockerfile=B + "RUN --security=%s true\n" % flag)
        assert 1 <= result.code <= 123 and flag in result.err


@pytest.mark.parametrize("number", ["4294967296", "2147483648", "-1", "0x0", "99999999999999999999"])
def test_s10_user_numbers(strake, number):
    """A number out of range is no name, even where passwd has a line for it."""
    line = "echo '%s:x:0:0::/:/bin/sh' >>/etc/passwd" % number if number.isdigit() else "true"
    result = strake.build(check=False,
                          dockerfile=B + "RUN %s\nUSER %s\nRUN id -u\n" % (line, number))
    assert 1 <= result.code <= 123 and number in result.err, result


@pytest.mark.parametrize("how", ["mkfifo /etc/passwd", "ln -s /dev/zero /etc/passwd",
                                 "truncate -s 64M /etc/passwd", "mkdir /etc/passwd"])
def test_s11_odd_passwd(strake, canary, how):
    result = strake.build(check=False, timeout=60, dockerfile=(
        B + "RUN rm /etc/passwd && %s\nUSER daemon\nRUN id\n" % how))
    assert 1 <= result.code <= 123 and ("/etc/passwd" in result.err or "daemon" in result.err)


def test_s12_capabilities(strake):
    result = strake.build(dockerfile=B + "RUN grep ^Cap /proc/self/status\n")
    caps = dict(re.findall(r"(Cap\w+):\s+([0-9a-f]{16})", result.err))
    docker = 0xa80425fb  # CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP
    #                      SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE
    assert int(caps["CapInh"], 16) == 0 and int(caps["CapAmb"], 16) == 0
    assert int(caps["CapBnd"], 16) == docker
    assert int(caps["CapPrm"], 16) == int(caps["CapEff"], 16) == docker


def test_s13_host_environment(strake):
    result = strake.build(env={"CANARY": "secret-of-the-host", "LD_PRELOAD": ""},
                          dockerfile=B + "RUN env; cat /proc/*/environ | tr '\\0' '\\n'\n")
    assert "secret-of-the-host" not in result.err


def test_s14_workdir_through_a_link(strake, canary):
    contained(strake, B + "RUN ln -s %s /w\nWORKDIR /w/n\nRUN touch f\n" % canary)
    contained(strake, B + "VOLUME /../../x\nRUN true\n")


SYSCALLS = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void say(const char *name, long r)
{
	printf("%s=%s\n", name, r < 0 ? errno == EPERM ? "EPERM" : errno == ENOSYS ? "ENOSYS" :
		errno == EAFNOSUPPORT ? "EAFNOSUPPORT" : errno == EACCES ? "EACCES" : "other" : "ALLOWED");
}

int main(void)
{
	char buf[64] = { 0 };
	say("AF_ALG", socket(38, SOCK_SEQPACKET, 0));
	say("AF_VSOCK", socket(40, SOCK_STREAM, 0));
	say("unshare_user", unshare(CLONE_NEWUSER));
	say("unshare_mount", unshare(CLONE_NEWNS));
	say("setns", syscall(SYS_setns, 0, 0));
	say("mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0));
	say("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	say("bpf", syscall(SYS_bpf, 0, buf, sizeof(buf)));
	say("io_uring", syscall(SYS_io_uring_setup, 4, buf));
	say("userfaultfd", syscall(SYS_userfaultfd, 0));
	say("keyctl", syscall(SYS_keyctl, 0, 0, 0, 0, 0));
	say("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -2));
	say("open_by_handle", syscall(SYS_open_by_handle_at, 0, buf, 0));
	say("clone3", syscall(SYS_clone3, buf, 0));
	say("perf_event_open", syscall(SYS_perf_event_open, buf, 0, -1, -1, 0));
	say("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
	say("tiocsti", ioctl(0, TIOCSTI, "x"));
	say("tty", open("/dev/tty", O_RDWR));
	return 0;
}
"""


def test_s17_s18_s19_kernel_surface(strake):
    source = strake.write("s.c", SYSCALLS)
    subprocess.run(["cc", "-static", "-o", os.path.join(strake.context, "s"), source], check=True)
    result = strake.build(dockerfile=B + "COPY s /\nRUN /s\n")
    answers = dict(re.findall(r"^#\d+ \S+ (\w+)=(\w+)$", result.err, re.M))
    assert len(answers) == 18, result.err
    assert answers.pop("clone3") == "ENOSYS"
    allowed = {name: answer for name, answer in answers.items() if answer == "ALLOWED"}
    assert allowed == {}


def test_s20_host_listeners_are_out_of_reach(strake, tool):
    tcp = socket.socket()
    tcp.bind(("127.0.0.1", 0))
    tcp.listen()
    tcp.settimeout(0.1)
    strake.build(dockerfile=B + "RUN ! nc -w 2 127.0.0.1 %d </dev/null\n" % tcp.getsockname()[1])
    with pytest.raises(OSError):
        tcp.accept()
    tcp.close()


def test_masked_and_read_only_kernel_files(strake):
    strake.build(dockerfile=B + (
        "RUN ! echo 1 >/proc/sys/kernel/hostname\n"
        "RUN ! echo b >/proc/sysrq-trigger\n"
        "RUN test \"$(cat /proc/keys | wc -c)\" = 0\n"
        "RUN test -z \"$(head -c1 /proc/kcore)\"\n"
        "RUN ! mkdir /sys/fs/cgroup/x\n"
        "RUN test -z \"$(ls /sys/firmware)\"\n"))


LOOK = """\
RUN <<EOF
d=/look/$N
mkdir -p $d
awk '{ n = 7; while ($n != "-") n++; print $4 == "/" ? "/" : "sub", $5, $6, $(n + 1) }' \
    /proc/self/mountinfo | sort >$d/mounts
ls -lan /dev | awk '{ print $1, $3, $4, $9, $10, $11 }' >$d/dev
ls -A /dev/shm /dev/mqueue /tmp >$d/empty
(cd /proc; ls -d acpi asound bus fs irq kcore keys scsi sys timer_list 2>&1; ls -A acpi 2>&1) >$d/proc
grep -E 'Cap|Seccomp|NoNewPrivs|NSpid|Groups|SigBlk|SigIgn' /proc/self/status >$d/status
for n in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$n; done >$d/ns
hostname >$d/hostname
cat /etc/hosts /etc/resolv.conf >$d/files
ls -l /proc/self/fd | wc -l >$d/fds
ulimit -a >$d/limits
umask >$d/umask
touch /dev/left /dev/shm/left /tmp/left-$N
rm /tmp/left-$N
EOF
"""


def test_a_step_prepared_ahead_is_like_any_other(strake, who):
    """The first step starts with nothing prepared, the others with a spare process."""
    text = B + "".join("ENV N=%d\n%s" % (i, LOOK) for i in range(3))
    out = strake.path("out")
    for network in ("default", "none", "host"):
        strake.build("-o", "type=local,dest=" + out, "--network=" + network, "--no-cache",
                     dockerfile=text)
        looks = []
        for i in range(3):
            d = os.path.join(out, "look", str(i))
            looks.append({f: open(os.path.join(d, f)).read() for f in os.listdir(d)})
        namespaces = [look.pop("ns").split() for look in looks]
        assert looks[0] == looks[1] == looks[2]
        assert "proc/sys" in looks[0]["mounts"] and "/dev/shm" in looks[0]["mounts"]
        for kind, *ids in zip(("cgroup", "ipc", "mnt", "net", "pid", "uts"), *namespaces):
            if kind in ("ipc", "mnt", "pid", "uts") or (kind, network) == ("net", "none"):
                assert len(ids) == 3  # numbers may come again once a namespace is gone
            elif kind == "net":
                assert len(set(ids)) == 1
        subprocess.run(["rm", "-rf", out], check=True)


def test_steps_that_differ_from_the_one_before(strake):
    """What a spare was not made for."""
    result = strake.build("--allow=security.insecure", "--allow=network.host", dockerfile="# syntax=docker/dockerfile:1-labs\n" + B + """\
RUN hostname; df /dev/shm | tail -n 1
RUN --network=none ls /sys/class/net | tr '\\n' ' '; echo only
RUN --security=insecure grep CapEff /proc/self/status; grep -q ' /proc/sys ' /proc/self/mountinfo || echo open
RUN grep -q ' /proc/sys ro' /proc/self/mountinfo && echo shut; grep CapEff /proc/self/status
RUN --mount=type=tmpfs,target=/t,size=1m df /t | tail -n 1; df /dev/shm | tail -n 1
RUN --network=host readlink /proc/self/ns/net
""")
    lines = re.findall(r"^#\d+ \S+ (.*)$", result.err, re.M)
    assert "buildkitsandbox" in lines and "lo only" in lines and "open" in lines and "shut" in lines
    caps = [line.split()[1] for line in lines if line.startswith("CapEff")]
    assert len(caps) == 2 and caps[0] != caps[1]
    assert [line.split()[1] for line in lines if line.endswith("/dev/shm")] == ["65536", "65536"]
    assert os.readlink("/proc/self/ns/net") in lines


def test_only_its_own_processes_and_devices(strake):
    result = strake.build(dockerfile=B + (
        "RUN test $(ls -d /proc/[0-9]* | wc -l) -lt 6\n"
        "RUN for d in null zero full random urandom tty; do test -c /dev/$d || exit 1; done\n"
        "RUN ls /dev | tr '\\n' ' '\n"))
    assert not re.search(r"\b(sda|vda|kmsg|mem|loop0)\b", result.err.split("RUN ls /dev")[-1])


# --- hostile layers --------------------------------------------------------------------------

def member(name, kind=tarfile.REGTYPE, data=b"", link="", mode=0o644, uid=0, **kwargs):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.uid, info.size = kind, link, mode, uid, len(data)
    for key, value in kwargs.items():
        setattr(info, key, value)
    return info, data


def tar_of(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def hostile_layout(strake, *layers, config=None, busybox=True, damage=None):
    """An OCI layout whose layers are the given tars, above busybox's."""
    path = strake.path("hostile")
    blobs = os.path.join(path, "blobs/sha256")
    os.makedirs(blobs)
    diff_ids, descriptors = [], []

    def blob(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(blobs, digest), "wb") as f:
            f.write(damage(data) if damage and "layer" in media_type else data)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}

    tars = list(layers)
    if busybox:
        import oci
        tars.insert(0, oci.open_layout(strake.layouts("busybox")).layer_tar(0))
    for data in tars:
        diff_ids.append("sha256:" + hashlib.sha256(data).hexdigest())
        descriptors.append(blob(gzip.compress(data, 1), "application/vnd.oci.image.layer.v1.tar+gzip"))
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    image = {"architecture": architecture, "os": "linux", "config": config or {},
             "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    manifest = blob(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(image).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": descriptors}).encode(), "application/vnd.oci.image.manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                        ("index.json", {"schemaVersion": 2, "manifests": [manifest]})):
        with open(os.path.join(path, name), "w") as f:
            json.dump(value, f)
    subprocess.run(["chmod", "-R", "a+rX", path], check=True)
    return ["--build-context", "evil=oci-layout://%s:x" % path]


def hostile(strake, *layers, run="RUN true\n", **kwargs):
    arguments = hostile_layout(strake, *layers, **kwargs)
    strake.dockerfile("FROM evil\n" + run)
    result = strake.build(*arguments, check=False)
    assert 0 <= result.code <= 123, result
    assert result.code or steps(result), result
    return result


@pytest.mark.parametrize("name", ["../../../../../../tmp/strake-escape", "a/../../../x", "a/../b",
                                  "x/../../../../../../../../tmp/strake-escape"])
def test_t1_names_that_climb(strake, canary, name):
    hostile(strake, tar_of([member("a", tarfile.DIRTYPE, mode=0o755), member(name, data=b"evil")]))
    assert not os.path.exists("/tmp/strake-escape")


def test_t1_absolute_name(strake, canary):
    hostile(strake, tar_of([member(canary + "/file", data=b"evil")]))


@pytest.mark.parametrize("last", [
    member("link/file", data=b"evil"), member("link/new", tarfile.DIRTYPE, mode=0o755),
    member("link/file", tarfile.SYMTYPE, link="/etc/passwd"), member("link", tarfile.DIRTYPE, mode=0o777),
    member("link/.wh.file"), member("link/.wh..wh..opq"),
    member("hard", tarfile.LNKTYPE, link="link/file")],
    ids=["file", "directory", "symlink", "chmod", "whiteout", "opaque", "hardlink"])
def test_t2_t3_t4_through_a_link(strake, canary, last):
    link = member("link", tarfile.SYMTYPE, link=canary)
    hostile(strake, tar_of([link, last]))
    # and when the link comes in a layer of its own
    subprocess.run(["rm", "-rf", strake.path("hostile")], check=True)
    hostile(strake, tar_of([link]), tar_of([last]))


@pytest.mark.parametrize("name", [".wh.", ".wh...", "d/.wh...", ".wh./x"])
def test_t4_whiteout_of_odd_names(strake, canary, name):
    hostile(strake, tar_of([member(name)]))


def test_t4_delete_and_recreate_over_layers(strake):
    result = hostile(
        strake, tar_of([member("d", tarfile.DIRTYPE, mode=0o755), member("d/a", data=b"1"),
                        member("d/b", data=b"1")]),
        tar_of([member("d/.wh.a")]), tar_of([member("d/a", data=b"3")]),
        tar_of([member("d/.wh..wh..opq"), member("d/c", data=b"4")]),
        run="RUN test \"$(ls /d)\" = c && test $(cat /d/c) = 4\n")
    assert result.code == 0, result


def test_t9_overlay_attributes_and_devices(strake, canary):
    entries = [member("d", tarfile.DIRTYPE, mode=0o755,
                      pax_headers={"SCHILY.xattr.user.overlay.opaque": "y",
                                   "SCHILY.xattr.user.overlay.redirect": canary,
                                   "SCHILY.xattr.trusted.overlay.redirect": canary}),
               member("setuid", data=b"x", mode=0o4755)]
    result = hostile(strake, tar_of([member("d", tarfile.DIRTYPE, mode=0o755),
                                     member("d/below", data=b"1")]), tar_of(entries),
                     run="RUN test -f /d/below && test $(stat -c %a /setuid) = 4755\n")
    assert result.code == 0, result


def test_t10_last_entry_wins(strake):
    result = hostile(strake, tar_of([
        member("x", data=b"file"), member("x", tarfile.DIRTYPE, mode=0o755),
        member("x/inside", data=b"1"), member("x", tarfile.SYMTYPE, link="/etc/passwd"),
        member("x", data=b"last")]), run="RUN test \"$(cat /x)\" = last && test ! -L /x\n")
    assert result.code == 0, result


def test_t11_flipped_byte(strake):
    result = hostile(strake, tar_of([member("f", data=b"x" * 5000)]), busybox=False,
                     damage=lambda d: d[:50] + bytes([d[50] ^ 1]) + d[51:])
    assert 1 <= result.code


def test_t8_a_blob_longer_than_its_descriptor(strake):
    """What follows the announced size is not read into the image."""
    result = hostile(strake, tar_of([member("f", data=b"x")]), busybox=False,
                     damage=lambda d: d + gzip.compress(bytes(1 << 20)))
    assert 1 <= result.code


# --- the context and COPY --------------------------------------------------------------------

def test_b7_ignored_file_is_never_copied(strake):
    strake.write(".dockerignore", "\ufeffsecret\r\n")
    strake.write("secret", "s3cr3t")
    strake.write("sub/x", "1")
    result = strake.build(check=False, dockerfile="FROM scratch\nCOPY sub/../secret /\n")
    assert 1 <= result.code <= 123
    assert "secret" not in strake.image(dockerfile="FROM scratch\nCOPY . /\n").tree()


def test_b8_links_in_the_context_stay_inside(strake, canary):
    strake.write("up", link="../canary/file")
    strake.write("abs", link=canary + "/file")
    strake.write("dir", link=canary)
    for source in ("up", "abs", "dir/file"):
        result = strake.build(check=False, dockerfile="FROM scratch\nCOPY %s /x\n" % source)
        assert 1 <= result.code <= 123, "copied a file from outside the context"


def test_b8_links_in_a_stage_stay_inside(strake, canary):
    result = strake.build(check=False, dockerfile="FROM busybox AS a\nRUN ln -s %s /l\nFROM scratch\n"
                          "COPY --from=a /l/file /x\n" % canary)
    assert 1 <= result.code <= 123


def test_copy_destination_link_to_outside(strake, canary):
    strake.write("file", "evil")
    contained(strake, B + "RUN ln -s %s /l\nCOPY file /l/\nCOPY file /l/file\n" % canary)


def test_f17_odd_names(strake):
    names = ["a b", "-rf", "new\nline", "tab\there", "quote'\"", "caf\u00e9", "x" * 255, "back\\slash"]
    for name in names:
        strake.write("d/" + name, name)
    with open(os.path.join(strake.context.encode(), b"d/\xff\xfe"), "wb") as f:
        f.write(b"bytes")
    target = strake.path("rootfs.tar")
    strake.build("-o", "type=tar,dest=" + target, dockerfile="FROM scratch\nCOPY d /d\n")
    with tarfile.open(target, encoding="utf-8", errors="surrogateescape") as tar:
        found = {m.name[2:] for m in tar if m.name.startswith("d/")}
    assert found == set(names) | {"\udcff\udcfe"}


def test_f17_store_path_with_odd_characters(strake):
    strake.store = strake.env["STRAKE_STORE"] = os.path.join(strake.dir, "st:o,r\\e x")
    strake.build(dockerfile=B + "RUN echo 1 >/f\nRUN test -f /f\n")


def test_f16_many_layers(strake):
    text = B + "".join("RUN echo %d >/f%d\n" % (i, i) for i in range(130))
    strake.build(dockerfile=text + "RUN test $(ls / | grep -c ^f[0-9]) = 130\n")


def test_f18_few_descriptors(strake):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    strake.dockerfile(B + "RUN true\nCOPY Dockerfile /d\n")
    process = strake.popen("build", "--progress=plain", *strake.bases(["busybox"]), strake.context,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limit)
    _, err = process.communicate(timeout=120)
    assert (process.returncode == 0 and b" DONE " in err) or b"open files" in err, err


# --- the rest of the catalogue ---------------------------------------------------------------

def test_s15_nothing_of_the_image_serves_the_builder(strake, canary):
    """Programs and libraries of the image under the names that a careless builder would use."""
    trojan = "#!/bin/sh\necho owned >>%s/file\nexit 0\n" % canary
    for name in ("unpigz", "xz", "git", "tar", "gzip", "zstd", "newuidmap", "pasta", "getent"):
        strake.write("bin/" + name, trojan, mode=0o755)
    for name in ("libnss_files.so.2", "libnss_compat.so.2", "ld.so.preload"):
        strake.write("lib/" + name, "not a library", mode=0o755)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        member = tarfile.TarInfo("unpacked")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"ok"))
    strake.write("a.tar.xz", data.getvalue())
    contained(strake, B + "COPY bin /usr/bin/\nCOPY bin /usr/local/bin/\nCOPY lib /lib/\n"
              "COPY lib/ld.so.preload /etc/\nADD a.tar.xz /x/\nCOPY --chown=root:wheel a.tar.xz /y\n"
              "USER nobody\nRUN test -f /x/unpacked\n")


def test_b6_removal_stays_inside(strake, canary):
    """A directory that is removed through names that climb, and a link that is removed as a link."""
    contained(strake, B + "RUN ln -s %s /l && rm -rf /l/../l && rm -rf /../../tmp/nothing && mkdir /v\n"
              "RUN rm -rf /v/../l\nRUN test ! -e /l\n" % canary)


def test_b10_arguments_that_are_not_used_leave_no_trace(strake):
    image = strake.image("--build-arg", "TOKEN=b10-canary-value", dockerfile=(
        B.replace("FROM busybox", "FROM busybox AS a") + "ARG TOKEN\nRUN test -n \"$TOKEN\" && echo 1 >/f\n"
        "FROM busybox\nCOPY --from=a /f /f\n"))
    blobs = [image.layer_tar(i) for i in range(len(image.layers))]
    text = json.dumps(image.config) + json.dumps(image.manifest)
    assert "b10-canary" not in text and not [b for b in blobs if b"b10-canary" in b]


def test_b11_no_names_of_the_hosts_users(strake):
    strake.write("f", "x")
    image = strake.image(dockerfile=B + "COPY f /f\nRUN echo 1 >/g\n")
    for i in range(1, len(image.layers)):
        with tarfile.open(fileobj=io.BytesIO(image.layer_tar(i))) as tar:
            assert {(m.uname, m.gname) for m in tar} == {("", "")}
