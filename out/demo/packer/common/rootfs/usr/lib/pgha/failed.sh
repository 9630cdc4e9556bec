#!/bin/sh
# failed.sh UNIT: the last lines that a failed unit wrote, on the console, since
# nobody can log in to read its journal. A unit that fails again and again with
# the same lines is told once in five minutes.
set -eu
# shellcheck source-path=SCRIPTDIR source=step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
unit=$1
if [ -r "$PGHA_RUN/identity.env" ]; then
	read_identity "$unit"
fi

# Its own words only: what a boot step says is on the console already, and what
# systemd says of it helps nobody.
set -- --boot --no-pager _SYSTEMD_UNIT="$unit"
# Of its last run alone.
run=$(journalctl "$@" --output json --lines 1 | jq -r '._SYSTEMD_INVOCATION_ID // empty' 2>/dev/null) || run=
if [ -n "$run" ]; then
	set -- "$@" _SYSTEMD_INVOCATION_ID="$run"
fi
lines=$(journalctl "$@" --output cat --lines 40 | grep -vE '^pgha: |^\[NOTICE\]' | grep . | tail -n 8) || lines=
if [ -z "$lines" ]; then
	exit 0
fi

# Numbers differ at every try: times, processes.
told=$PGHA_RUN/failed.$unit
sum=$(printf '%s' "$lines" | tr -d '0-9' | cksum)
if [ "$(cat "$told" 2>/dev/null)" = "$sum" ] && [ -n "$(find "$told" -mmin -5)" ]; then
	exit 0
fi
printf '%s\n' "$sum" >"$told"
# A boot step has ended; systemd starts a service again.
status='wait'
case $unit in
pgha-*) status=fail ;;
esac
printf '%s\n' "$lines" | while IFS= read -r line; do
	said= # every line, though the one before is young
	say "$unit" "$status" "$line"
done
