#!/bin/bash
# serve-hub.sh STORAGE STATE - starts Debian's docker-registry on a free port of 127.0.0.1, serving
# STORAGE; prints HOST:PORT. STATE is a directory for its configuration, log and process id.
# serve-hub.sh --stop STATE - ends it.
set -euo pipefail

if [ "$1" = --stop ]; then
	[ ! -f "$2/pid" ] || kill "$(cat "$2/pid")" 2>/dev/null || true
	rm -rf "$2"
	exit
fi

storage=$1 state=$2
command -v docker-registry >/dev/null || {
	echo "serve-hub: docker-registry is missing: apt-get install docker-registry" >&2
	exit 1
}
rm -rf "$state"
mkdir -p "$storage" "$state"
port=$(/usr/bin/python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$state/config.yml" <<EOF
version: 0.1
log:
  level: warn
storage:
  filesystem:
    rootdirectory: $storage
http:
  addr: 127.0.0.1:$port
EOF
setsid docker-registry serve "$state/config.yml" >"$state/log" 2>&1 </dev/null 8>&- 9>&- &
echo $! >"$state/pid"
for _ in $(seq 100); do
	if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
		echo "127.0.0.1:$port"
		exit
	fi
	sleep 0.1
done
cat "$state/log" >&2
echo "serve-hub: docker-registry does not start" >&2
exit 1
