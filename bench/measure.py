"""One measured run of a program: wall time, CPU time and peak memory through bench/limits, and the
peak memory of the daemons behind it."""
import json
import os
import subprocess
from pathlib import Path


class Failed(Exception):
    pass


class Watch:
    """The stop watch: `limits` is small, so its fork costs nothing and hides no peak."""

    def __init__(self, limits):
        self.limits = str(limits)

    def limit(self, *args):
        """A figure of the machine itself, as a dict."""
        r = subprocess.run([self.limits, *map(str, args)], capture_output=True, text=True)
        if r.returncode:
            raise Failed(r.stderr.strip() or "limits %s failed" % args[0])
        return json.loads(r.stdout)

    def run(self, cmd, *, env=None, user=None, cwd=None, daemons=(), stdout=None):
        """Runs `cmd`; raises Failed with its last words. `user` is (uid, gid)."""
        for pid in daemons:
            reset_peak(pid)
        head = [self.limits, "run"]
        if user:
            head += ["-u", "%d:%d" % user]
        if stdout:
            head += ["-o", str(stdout)]
        r = subprocess.run([*head, *map(str, cmd)], env=env, cwd=cwd, capture_output=True,
                           stdin=subprocess.DEVNULL)
        result = json.loads(r.stdout) if r.returncode == 0 else {"status": r.returncode}
        if result["status"]:
            raise Failed(r.stderr.decode(errors="replace").strip()[-600:])
        result["daemon_kib"] = sum(peak(pid) for pid in daemons)
        return result


def reset_peak(pid):
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        pass


def peak(pid):
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def descendants(pid):
    """pid and all below it: a daemon and the helpers it keeps."""
    found, todo = [], [pid]
    while todo:
        p = todo.pop()
        found.append(p)
        try:
            for task in os.listdir(f"/proc/{p}/task"):
                todo += map(int, Path(f"/proc/{p}/task/{task}/children").read_text().split())
        except OSError:
            pass
    return found
