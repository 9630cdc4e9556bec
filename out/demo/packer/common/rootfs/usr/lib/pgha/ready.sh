#!/bin/sh
# ready.sh: waits until the role's own check says that the service answers.
set -eu
# shellcheck source-path=SCRIPTDIR source=step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
read_cluster ready
read_identity ready

check() {
	status=0
	answer=$(timeout 20 "$PGHA_LIB/ready-check.sh" 2>/dev/null) || status=$?
	reason=${answer##*"$newline"}
	if [ -z "$reason" ] && [ "$status" != 0 ]; then
		reason="$PGHA_SERVICE does not answer"
	fi
	return "$status"
}

rm -f "$PGHA_RUN/ready"
# The check asks only this machine, and somebody waits for the answer.
longest=1
until_done ready check
: >"$PGHA_RUN/ready"
remember_service
say ready ok "${reason:-$PGHA_SERVICE answers}"
