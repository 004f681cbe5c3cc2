#!/bin/sh
# Measures a gateway beside the servers that are installed, on the same fences and points:
#
#   TILE38_SERVER=/usr/local/bin/tile38-server POSTGIS_DSN='host=/run/postgresql dbname=bench' \
#     bench/peers/servers/servers.sh [-fences 10000] [-devices 10000] [-rounds 20] [-repeat 5]
#
# Either may be left out. Tile38 is started here, without append-only file, and stopped; the
# database must exist and have the extension postgis; its table bench_fences is dropped and
# made. The gateway is built from this checkout and is durable. Nothing is left behind but
# what Go has built.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
pids=''
stop() {
	for p in $pids; do kill "$p" 2>/dev/null || true; done
	for p in $pids; do wait "$p" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM
port=${FIRST_PORT:-24222}
fences=10000
for a in "$@"; do
	case ${previous:-} in -fences) fences=$a ;; esac
	previous=$a
done
go build -C ../.. -o "$dir/footfall" ./cmd/footfall
go build -o "$dir/servers" ./servers
"$dir/servers" -fences "$fences" -write "$dir"
(cd "$dir" && exec ./footfall serve -c footfall.yaml --listen "127.0.0.1:$port") >"$dir/gateway.log" 2>&1 &
pids=$!
tries=0
until grep -q 'footfall is listening' "$dir/gateway.log"; do
	tries=$((tries + 1))
	[ "$tries" -lt 300 ] || { cat "$dir/gateway.log"; exit 1; }
	sleep 0.2
done
set -- -footfall "nats://127.0.0.1:$port" -footfall-pid "$pids" "$@"
if [ -n "${TILE38_SERVER:-}" ]; then
	mkdir "$dir/tile38"
	"$TILE38_SERVER" -h 127.0.0.1 -p $((port + 1)) -d "$dir/tile38" --appendonly no >"$dir/tile38.log" 2>&1 &
	pids="$pids $!"
	tries=0
	until grep -q 'Ready to accept' "$dir/tile38.log"; do
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || { cat "$dir/tile38.log"; exit 1; }
		sleep 0.2
	done
	set -- -tile38 "127.0.0.1:$((port + 1))" -tile38-pid "${pids#* }" "$@"
fi
[ -z "${POSTGIS_DSN:-}" ] || set -- -postgis "$POSTGIS_DSN" "$@"
"$dir/servers" "$@"
