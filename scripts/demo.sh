#!/bin/bash
# make demo: from a fresh Debian machine to a running image. Installs what is missing (root or
# sudo), builds strake, makes a gcc base image from Debian's packages, builds examples/hello-c in
# two stages, runs it, and builds it again from the cache.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '\n==> %s\n' "$*"; }

say "Packages"
scripts/install-deps.sh build run demo
echo "all there"

say "Building strake"
make --no-print-directory all | tail -n 1
strake=$PWD/build-release/src/cli/strake
"$strake" version | head -n 1

say "Base image: gcc on Debian, made from packages (kept for the next time)"
tests/images/make-images.sh gcc
gcc_image="--build-context=gcc=oci-layout://${STRAKE_TEST_CACHE:-$HOME/.cache/strake-tests}/images/gcc:latest"

say "strake build -t hello examples/hello-c"
cat examples/hello-c/Dockerfile
echo
"$strake" build --progress=plain -t hello "$gcc_image" examples/hello-c
"$strake" build --quiet -t hello-build --target build "$gcc_image" examples/hello-c >/dev/null

say "Both stages: what it took to build, and what is shipped"
"$strake" images

say "strake run hello"
"$strake" run hello

say "The second build: nothing runs"
start=$(date +%s%N)
second=$("$strake" build --progress=plain -t hello "$gcc_image" examples/hello-c 2>&1)
end=$(date +%s%N)
printf '%s\n' "$second"
# every numbered step that names an instruction must be followed by its CACHED line
if ! awk '/^#[0-9]+ \[.*\] (RUN|COPY|WORKDIR) / { want[$1] = 1 } /^#[0-9]+ CACHED$/ { delete want[$1] }
	END { for (step in want) exit 1 }' <<<"$second"; then
	echo "the second build ran a step again" >&2
	exit 1
fi
printf '\nfully cached in %d ms\n' $(((end - start) / 1000000))
