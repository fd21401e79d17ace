"""The cases of bench/run: what is built, how it is timed, and what it is to reach."""
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


# --- contexts ----------------------------------------------------------------------------------


def noop(d):
    write(d / "Dockerfile", """FROM busybox AS a
WORKDIR /src
COPY a.txt .
RUN true
RUN echo 1 > one
RUN echo 2 > two
FROM busybox
WORKDIR /app
COPY --from=a /src/one /src/two ./
COPY b.txt .
RUN true
CMD ["cat", "one"]
""")
    write(d / "a.txt", "a\n")
    write(d / "b.txt", "b\n")


def tree_50k(d):
    for i in range(500):
        (d / "tree" / f"d{i}").mkdir(parents=True)
        for j in range(100):
            (d / "tree" / f"d{i}" / f"f{j}").write_text(f"{i} {j}\n" * (1 + (i * 31 + j * 7) % 60))


def noop_50k(d):
    tree_50k(d)
    write(d / "Dockerfile", "FROM busybox\nCOPY tree /tree\nRUN true\n")


def copy_50k(d):
    tree_50k(d)
    write(d / "Dockerfile", "FROM busybox\nCOPY tree /tree\n")


def run20(d):
    write(d / "Dockerfile", "FROM busybox\n" + "RUN true\n" * 20)


def block_of(r):
    """1 MiB: random bytes, text, and a piece that comes again beyond gzip's 32 KiB window."""
    fresh = r.randbytes(552 * 1024)
    words = [r.randbytes(4).hex() for _ in range(400)]
    text = " ".join(r.choice(words) for _ in range(36_000)).encode()[:318 * 1024]
    rest = MIB - len(fresh) - len(text)
    return fresh + text + fresh[:rest]


def data_1g(d):
    r = random.Random(20260)
    for i in range(64):
        with open(d / "data" / f"f{i:02}", "wb") as f:
            # Four different blocks a file keep the making short; no window reaches 4 MiB back.
            blocks = [block_of(r) for _ in range(4)]
            for k in range(16):
                f.write(b"%04d" % k + blocks[k % 4][4:])


def copy_1g(d):
    (d / "data").mkdir(parents=True)
    data_1g(d)
    write(d / "Dockerfile", "FROM busybox\nCOPY data /data\n")


SPIN = "i=0; while [ $i -lt %d ]; do i=$((i+1)); done"


def parallel(d, turns):
    stages = "".join(f"FROM busybox AS s{k}\nRUN {SPIN % turns}; echo {k} > /r\n" for k in range(4))
    copies = "".join(f"COPY --from=s{k} /r /r{k}\n" for k in range(4))
    write(d / "Dockerfile", stages + "FROM busybox\n" + copies)


def c_project(d):
    """30 sources of about 300 lines, a header, a Makefile: built with gcc, shipped from scratch."""
    for i in range(30):
        body = [f'#include "all.h"\n#include <stdio.h>\n#include <string.h>\n']
        for k in range(20):
            body.append(f"""
int part{i}_{k}(int x)
{{
\tchar buf[64];
\tint sum = {i * 100 + k};
\tfor (int n = 0; n < x; n++) {{
\t\tsnprintf(buf, sizeof(buf), "%d:%d", n, sum);
\t\tsum += (int)strlen(buf) * (n ^ {k + 3});
\t}}
\treturn sum;
}}
""")
        write(d / "src" / f"part{i}.c", "".join(body))
    write(d / "src/all.h", "".join(f"int part{i}_{k}(int x);\n" for i in range(30) for k in range(20)))
    write(d / "src/main.c", '#include "all.h"\n#include <stdio.h>\nint main(void)\n{\n\tint t = 0;\n'
          + "".join(f"\tt += part{i}_{i % 20}(100);\n" for i in range(30))
          + '\tprintf("%d\\n", t);\n\treturn 0;\n}\n')
    write(d / "Makefile", "OBJ = $(patsubst src/%.c,%.o,$(wildcard src/*.c))\n"
          "app: $(OBJ)\n\t$(CC) -static -s -o $@ $(OBJ)\n"
          "%.o: src/%.c src/all.h\n\t$(CC) -O2 -c -o $@ $<\n")
    write(d / "Dockerfile", """FROM gcc AS build
WORKDIR /work
COPY Makefile .
COPY src src
RUN if command -v make >/dev/null; then make -j4 CC=gcc; else \\
    for f in src/*.c; do gcc -O2 -c $f || exit 1; done; gcc -static -s -o app *.o; fi
FROM scratch
COPY --from=build /work/app /app
ENTRYPOINT ["/app"]
""")


def edit_one(d, turn):
    """Another source each time, and other code, not only another comment."""
    with open(d / "src" / f"part{turn % 30}.c", "a") as f:
        f.write(f"int added{os.getpid()}_{turn}(void)\n{{\n\treturn {turn};\n}}\n")


def many_stages(d):
    text = "FROM scratch AS s0\nCOPY a.txt /a\n"
    text += "".join(f"FROM scratch AS s{k}\nCOPY --from=s{k - 1} /a /a\n" for k in range(1, 200))
    write(d / "Dockerfile", text)
    write(d / "a.txt", "a\n")


def stamp(d, turn):
    write(d / "data/stamp", f"{os.getpid()} {turn}\n")


# --- cases -------------------------------------------------------------------------------------


@dataclass
class Case:
    name: str
    about: str
    context: object = None      # makes the directory
    kind: str = "build"         # build | pull | push
    no_cache: bool = False
    output: str = ""            # "", gzip, zstd: into a file
    change: object = None       # before each round, not timed
    runs: bool = True           # has RUN steps
    rounds: int = 7
    limit: str = ""             # the machine's own figure that it is held against
    goal_seconds: float = 0     # of strake
    goal_rootless: float = 0
    goal_ratio: float = 0       # best peer / strake
    goal_limit: float = 0       # strake / limit
    goal_bytes: int = 0         # of the output


CASES = [
    Case("noop", "two stages, ten steps, all cached", noop, rounds=21, goal_seconds=.005, goal_ratio=10),
    Case("noop-50k", "a context of 50,000 files, all cached", noop_50k, limit="lstat", rounds=9,
         goal_seconds=.1, goal_ratio=20),
    Case("many-stages", "200 stages, all cached", many_stages, runs=False, rounds=9),
    Case("run20", "20 times RUN true, not cached", run20, no_cache=True, rounds=11, limit="steps",
         goal_seconds=.1, goal_rootless=.15),
    Case("copy-50k", "50,000 files into an OCI archive with gzip, cold", copy_50k, no_cache=True,
         output="gzip", runs=False, rounds=5, limit="copy", goal_limit=1.5, goal_ratio=5),
    Case("copy-1g-gzip", "1 GiB into an OCI archive with gzip, cold", copy_1g, no_cache=True,
         output="gzip", runs=False, rounds=3, limit="gzip", goal_limit=1.3, goal_ratio=4,
         goal_bytes=844_000_000),
    Case("copy-1g-zstd", "1 GiB into an OCI archive with zstd, cold", copy_1g, no_cache=True,
         output="zstd", runs=False, rounds=3, limit="zstd", goal_limit=1.3, goal_ratio=4,
         goal_bytes=668_000_000),
    Case("parallel", "four stages of 2 s of work each", no_cache=True, rounds=3, limit="parallel",
         goal_limit=1.05),
    Case("multistage-c", "31 C sources: gcc stage, shipped from scratch", c_project, no_cache=True,
         rounds=3),
    Case("edit", "one of the 31 sources changed", c_project, change=edit_one, rounds=3),
    Case("pull", "a gcc image from a registry on this machine, unpacked", kind="pull", rounds=3,
         goal_ratio=3),
    Case("push", "1 GiB to a registry on this machine, compressed on the way", copy_1g, kind="push",
         change=stamp, runs=False, rounds=3, goal_ratio=3),
]


def make(case, directory, turns):
    directory.mkdir(parents=True)
    if case.name == "parallel":
        parallel(directory, turns)
    elif case.kind == "pull":
        pass
    else:
        case.context(directory)
