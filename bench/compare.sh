#!/bin/sh
# Compares the benchmarks of a base commit with those of the working tree:
#
#   bench/compare.sh BASE [BENCHMARKS] [PACKAGES]
#   make bench-compare BASE=main
#
# Builds the test binaries of both, runs them in turn RUNS times (10), so that a change
# of the machine's speed meets both, and lets benchstat judge. Each run does every benchmark
# BEST times (5) and keeps the fastest: what else the machine does only ever adds. Where it
# may, it runs them before all else (chrt, as root), so keep BENCHTIME short. Exits 1
# when benchstat finds any more allocations, or a time that grew by more than LIMIT percent
# (5) with a significance below 0.05. Environment: RUNS, BEST, LIMIT, BENCHTIME (0.05s).
set -eu
cd "$(git -C "$(dirname "$0")" rev-parse --show-toplevel)"
base=${1:?usage: bench/compare.sh BASE [BENCHMARKS] [PACKAGES]}
pattern=${2:-'Match|CellAt|Apply'}
packages=${3:-'./geo ./track'}
runs=${RUNS:-10} best=${BEST:-5} limit=${LIMIT:-5} benchtime=${BENCHTIME:-0.05s}
benchstat='go tool -modfile=tools.mod benchstat'
if ! $benchstat -h >/dev/null 2>&1 && ! $benchstat -h 2>&1 | grep -q Usage; then
	echo "compare.sh: tools.mod has no benchstat: go get -tool -modfile=tools.mod golang.org/x/perf/cmd/benchstat" >&2
	exit 2
fi
dir=$(mktemp -d)
trap 'git worktree remove --force "$dir/base" >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT INT TERM
git worktree add --quiet --detach "$dir/base" "$base"
for p in $packages; do
	name=$(echo "$p" | tr -c 'a-z0-9\n' _)
	(cd "$dir/base" && go test -c -o "$dir/$name.base" "$p")
	go test -c -o "$dir/$name.head" "$p"
done
# fastest keeps of each benchmark the line with the least time.
fastest() {
	awk '!/^Benchmark/ { print; next }
		!($1 in least) { order[++n] = $1 }
		!($1 in least) || $3 + 0 < least[$1] { least[$1] = $3 + 0; line[$1] = $0 }
		END { for (i = 1; i <= n; i++) print line[order[i]] }'
}
first=''
if chrt -f 1 true 2>/dev/null; then first='chrt -f 1'; fi
i=0
while [ "$i" -lt "$runs" ]; do
	i=$((i + 1))
	# The order changes from run to run: neither always follows the other.
	if [ $((i % 2)) -eq 0 ]; then order='base head'; else order='head base'; fi
	for p in $packages; do
		name=$(echo "$p" | tr -c 'a-z0-9\n' _)
		for side in $order; do
			(cd "$p" && $first "$dir/$name.$side" -test.run '^$' -test.bench "$pattern" -test.benchmem -test.benchtime "$benchtime" -test.count "$best") | fastest >>"$dir/$side.txt"
		done
	done
	echo "run $i of $runs" >&2
done
grep -q '^Benchmark' "$dir/head.txt" || { echo "compare.sh: no benchmark matches $pattern" >&2; exit 2; }
$benchstat "$dir/base.txt" "$dir/head.txt"
# In the csv form a line is: name, base, its spread, head, its spread, change, p. A change
# that is not significant is ~, one from nothing is ?.
$benchstat -format csv "$dir/base.txt" "$dir/head.txt" 2>/dev/null | awk -F, -v limit="$limit" '
	$1 == "" && $3 == "CI" { unit = $2 }
	$1 == "" || $1 == "geomean" || $6 == "~" { next }
	unit == "sec/op" && $6 ~ /^[+]/ && $6 + 0 > limit { print "worse: " $1 ": " $6 " time, " $7; bad = 1 }
	unit == "allocs/op" && $4 + 0 > $2 + 0 { print "worse: " $1 ": " $2 " to " $4 " allocations"; bad = 1 }
	END { exit bad }'
