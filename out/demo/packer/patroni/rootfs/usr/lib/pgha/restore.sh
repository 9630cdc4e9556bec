#!/bin/sh
# restore.sh OPTION...: Patroni's way to bootstrap a cluster that is founded from
# backups; the options are pgBackRest's and say up to where.
# How it goes is in /run/postgresql/restore, which backup.py says on the console. If
# PostgreSQL does not start with what was restored, Patroni begins again here, and
# PostgreSQL's reason is said first.
set -eu
lib=${PGHA_LIB:-/usr/lib/pgha}
run=${PGHA_RUN:-/run/pgha}
said=${PGHA_POSTGRESQL_RUN:-/run/postgresql}/restore

tell() {
	printf '%s\n' "$1" >"$said.new"
	chmod 0644 "$said.new" # backup.py is root without rights
	mv "$said.new" "$said"
}

if [ -e "$said.log" ]; then
	reason=$(sed -n 's/.*FATAL:  *//p' "$said.log" | tail -n 1)
	case $reason in
	*'incompatible with server'*)
		reason=$(sed -n 's/\.$//; s/.*DETAIL:  *//p' "$said.log" | tail -n 1)
		want="restore with that version of PostgreSQL"
		;;
	*) want="is the time, position or name in the backups' archive?" ;;
	esac
	if [ -n "$reason" ]; then
		tell "fail PostgreSQL does not take what was restored: $reason ($want); it is tried again"
		sleep 5
	fi
	rm -f "$said.log"
fi
tries=60
while ! [ -e "$run/storage-key/key.json" ]; do
	tell 'wait this machine has no key of object storage yet'
	tries=$((tries - 1))
	if [ "$tries" = 0 ]; then
		exit 1
	fi
	sleep 1
done
tell 'wait the cluster is restored from the backup'
if ! output=$("$lib/pgbackrest.sh" source --log-level-console=warn "$@" restore 2>&1); then
	printf '%s\n' "$output" >&2
	reason=$(printf '%s\n' "$output" | "$lib/complaint.py")
	tell "fail the backup is not restored: $reason; it is tried again"
	sleep 5
	exit 1
fi
tell 'ok the backup is restored; PostgreSQL replays the archive'
