#!/usr/bin/env bash
# Runs every test, machines and all, and says what became of it: a line for each package as it ends, then the whole
# output of the packages that failed. In CI a skip is a failure too.
#
#   build/test.sh TIMEOUT     e.g. 45m, for each package
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# One package at a time: machines under emulation need the processors for themselves.
go test -v -p 1 -timeout "$1" ./... 2>&1 | tee "$log" | grep --line-buffered -E '^(ok|FAIL|---? FAIL|panic:)'
status=${PIPESTATUS[0]}

passed=$(grep -cE '^ *--- PASS' "$log")
failed=$(grep -cE '^ *--- FAIL' "$log")
if [ "$status" != 0 ]; then
	# A package's output ends with its ok or FAIL line.
	awk '{ text = text $0 "\n" } /^ok /{ text = "" } /\[no test files\]/{ text = "" } /^FAIL\t/{ printf "%s", text; text = "" } END { printf "%s", text }' "$log" | tail -n 3000
	echo "$passed passed, $((failed > 0 ? failed : 1)) failed"
	exit 1
fi
if [ -n "${CI-}" ] && grep -qE '^ *--- SKIP' "$log"; then
	grep -B3 -E '^ *--- SKIP' "$log"
	echo "a skip fails in CI"
	exit 1
fi
echo "$passed passed, 0 failed"
