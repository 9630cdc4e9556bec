#!/bin/sh
# failed.sh UNIT: writes the last lines of a failed unit's journal to the
# console, since nobody can log in to read it. The same lines are written once
# in five minutes.
set -eu
# shellcheck source-path=SCRIPTDIR source=step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
unit=$1
if [ -r "$PGHA_RUN/identity.env" ]; then
	read_identity "$unit"
fi

# Only what the unit itself wrote: not systemd's lines about it, nor what a
# boot step has said on the console already.
set -- --boot --no-pager _SYSTEMD_UNIT="$unit"
# Only its last run.
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
# A boot step has ended for good; a service is started again by systemd.
status='wait'
case $unit in
pgha-*) status=fail ;;
esac
printf '%s\n' "$lines" | while IFS= read -r line; do
	said= # say drops a line that repeats the one before
	say "$unit" "$status" "$line"
done
