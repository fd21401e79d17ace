# lib.sh - what examples/run, examples/compare and the checks share. Sourced by bash; `bash lib.sh CHECK`
# runs one check, which ends at its first command that fails.

here=${here:?}
top=${top:?}

# bases NAME... - folders of tests/images/hub that these examples stand on ("# bases:" in their check)
bases() {
	local n
	for n; do sed -n 's/^# bases://p' "$here/$n/check"; done | tr ' ' '\n' | sed '/^$/d' | sort -u
}

# hub_serve STATE - starts the local registry; prints HOST:PORT
hub_serve() {
	"$top/tests/images/serve-hub.sh" "${STRAKE_TEST_CACHE:-$HOME/.cache/strake-tests}/hub/registry" "$1"
}

# use_registry HOST:PORT DIR STRAKE - a store in DIR, docker.io's mirror, `strake` on PATH
use_registry() {
	mkdir -p "$2/bin" "$2/tmp"
	ln -s "$3" "$2/bin/strake"
	printf '[registry "docker.io"]\nmirror = http://%s\n' "$1" >"$2/registries.conf"
	export STRAKE_CONFIG=$2/registries.conf STRAKE_STORE=${STRAKE_STORE:-$2/store} TMPDIR=$2/tmp
	export PATH=$2/bin:$PATH STRAKE_PROGRESS=plain
}

# --- for the checks ---------------------------------------------------------------------------

fail() {
	echo "$*" >&2
	return 1
}

# prints TEXT COMMAND... - the command succeeds and its output (either stream) holds TEXT
prints() {
	local text=$1 out
	shift
	out=$("$@" 2>&1) || { fail "exit code $?, and: $out"; }
	printf '%s\n' "$out" | cut -c1-200
	[[ $out == *"$text"* ]] || fail "'$text' is expected of: ${*:0:6}"
}

# refuses TEXT COMMAND... - the command fails and its output holds TEXT
refuses() {
	local text=$1 out
	shift
	if out=$("$@" 2>&1); then fail "no error from: $*"; fi
	printf '%s\n' "$out" | cut -c1-200
	[[ $out == *"$text"* ]] || fail "'$text' is expected of: ${*:0:6}"
}

# smaller IMAGE IMAGE - the first takes less than the second, say the stage it was built in
smaller() {
	local a b
	a=$(image_size "$1") b=$(image_size "$2")
	echo "$1: $a bytes; $2: $b bytes"
	[ "$a" -lt "$b" ]
}

# image_size IMAGE - bytes of its layers, unpacked
image_size() {
	strake images --format json | /usr/bin/python3 -c '
import json, sys
want = sys.argv[1] if ":" in sys.argv[1].rpartition("/")[2] else sys.argv[1] + ":latest"
rows = [r for r in map(json.loads, sys.stdin) if "%s:%s" % (r["Repository"], r["Tag"]) == want]
print(rows[0]["SizeBytes"])' "$1"
}

# config IMAGE FIELD - a field of the image's configuration as JSON, e.g. Cmd
config() {
	strake inspect "$1" | /usr/bin/python3 -c '
import json, sys
image = json.load(sys.stdin)
print(json.dumps((image[0] if isinstance(image, list) else image)["Config"].get(sys.argv[1])))' "$2"
}

# web IMAGE PORT PATH TEXT - starts the image's own command and asks it for http://localhost:PORT/PATH
# inside its own network; the answer must hold TEXT. With a fifth argument, runs that instead of asking:
# "health" is the image's HEALTHCHECK.
web() {
	local image=$1 port=$2 path=$3 text=$4 words probe
	mapfile -d '' words < <(strake inspect "$image" | /usr/bin/python3 -c '
import json, sys
image = json.load(sys.stdin)
c = (image[0] if isinstance(image, list) else image)["Config"]
for w in (c.get("Entrypoint") or []) + (c.get("Cmd") or []): print(w, end="\0")')
	probe="/busybox wget -qO- http://127.0.0.1:$port$path"
	if [ "${5:-}" = health ]; then
		probe=$(config "$image" Healthcheck | /usr/bin/python3 -c 'import json, sys
test = json.load(sys.stdin)["Test"]
assert test[0] == "CMD-SHELL", test
print(test[1])')
		probe="( $probe ) >/dev/null 2>&1 && echo healthy"
	fi
	prints "$text" strake run --rm -v "$(busybox):/busybox:ro" --entrypoint /busybox "$image" sh -c '
		"$@" & server=$!
		n=0
		until '"$probe"'; do
			n=$((n + 1))
			[ $n -lt 100 ] && kill -0 $server 2>/dev/null || { echo "no answer" >&2; exit 1; }
			/busybox sleep 0.2
		done 2>/tmp/probe.log || /busybox cat /tmp/probe.log
		kill $server' sh "${words[@]}"
}

# busybox - a static one, to look into images that hold no tools
busybox() {
	local b
	for b in /bin/busybox /usr/bin/busybox; do
		if [ -x "$b" ]; then echo "$b"; return; fi
	done
	fail "busybox-static is not installed"
}

# rebuild ARGUMENT... - strake build, its log kept for `steps` (outside of the context)
rebuild() {
	strake build "$@" >"$TMPDIR/build.log" 2>&1 || { cat "$TMPDIR/build.log"; return 1; }
}

# steps STATE WORD N - of the last rebuild, N steps with WORD in their name ended in STATE (DONE, CACHED)
steps() {
	local n
	n=$(awk -v state="$1" -v word="$2" '
		$1 ~ /^#[0-9]+$/ && $2 ~ /^\[/ && !($1 in name) { name[$1] = $0 }
		$1 ~ /^#[0-9]+$/ && $2 == state && index(name[$1], word) { n++ }
		END { print n + 0 }' "$TMPDIR/build.log")
	[ "$n" = "$3" ] || { cat "$TMPDIR/build.log"; fail "$n steps of '$2' are $1, $3 expected"; }
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	set -eEuo pipefail
	trap 'echo "examples/$EXAMPLE/check:failed: $BASH_COMMAND" >&2' ERR
	. "$1"
fi
