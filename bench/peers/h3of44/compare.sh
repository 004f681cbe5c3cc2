#!/usr/bin/env bash
# compare.sh: how much longer h3-go 4.4.0 takes for a cell than the version that the product pins. Both are built
# from the same program and take turns, ROUNDS times (10); the quotient is that of the medians.
set -euo pipefail
cd "$(dirname "$0")"
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
pinned=$(cd ../../.. && go list -m -f '{{.Version}}' github.com/uber/h3-go/v4)
go build -o "$tmp/old" .
mkdir "$tmp/src"; cp main.go "$tmp/src"
sed "s|h3-go/v4 v4.4.0|h3-go/v4 $pinned|" go.mod >"$tmp/src/go.mod"; cp ../../../go.sum "$tmp/src"
(cd "$tmp/src" && go build -mod=mod -o "$tmp/new" .)
for _ in $(seq "${ROUNDS:-10}"); do
	"$tmp/old" >>"$tmp/old.ns"; "$tmp/new" >>"$tmp/new.ns"
done
median() { sort -n "$1" | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
old=$(median "$tmp/old.ns") new=$(median "$tmp/new.ns")
awk -v o="$old" -v n="$new" -v p="$pinned" 'BEGIN {printf "h3-go v4.4.0 %d ns, %s %d ns: %.2f\n", o, p, n, o / n}'
