#!/bin/sh
# Gives the machines that are there the user-data that was rendered last, with
# Yandex Cloud's yc. They take it over while they run, and say on their consoles
# what took effect. Safe to run again: the same user-data changes nothing.
#
#   sh refresh.sh               all machines
#   sh refresh.sh ROLE|NODE     those of a role, or one
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

stop() { # stop STATUS SENTENCE
	echo "${0##*/}: $2" >&2
	exit "$1"
}

# list disk|instance: what the folder has, as JSON without blanks. Not knowing
# it ends the script: a machine that only seems to be lost must not be told
# that it may bootstrap a cluster.
list() {
	found=$(yc compute "$1" list --folder-id "$FOLDER" --format json) || stop 1 "cannot list what is there: see what yc says above"
	case $found in
	'['*) printf '%s' "$found" | tr -d ' \n' ;;
	*) stop 1 "yc compute $1 list --format json gave no list" ;;
	esac
}

has() { # has LIST NAME
	case $1 in
	*"\"name\":\"$2\""*) ;;
	*) return 1 ;;
	esac
}

command -v yc >/dev/null || stop 1 "yc is not installed (https://yandex.cloud/en/docs/cli)"

if [ $# -gt 1 ] || [ "${1-all}" = '' ]; then
	stop 2 "want no argument, for all machines, or a role or a machine"
fi
WANTED=${1-} KNOWN='' THERE=''

# refresh ROLE NODE...: those of a role that are wanted.
refresh() {
	role=$1
	shift
	for node; do
		case $WANTED in
		'' | "$role" | "$node") ;;
		*) continue ;;
		esac
		KNOWN=yes
		if ! has "$INSTANCES" "$node"; then
			echo "machine $node: not there"
			continue
		fi
		THERE=yes
		yc compute instance add-metadata --folder-id "$FOLDER" --name "$node" \
			--metadata-from-file "user-data=../user-data/$role.yaml" >/dev/null
		echo "machine $node: has the user-data of $role"
	done
}

finish() {
	if [ -z "$KNOWN" ]; then
		stop 2 "the cluster has no role and no machine $WANTED"
	fi
	if [ -z "$THERE" ]; then
		stop 1 "folder $FOLDER has none of these machines (create them: sh create.sh)"
	fi
}

FOLDER=b1gexample
INSTANCES=$(list instance)
refresh etcd demo-etcd-1 demo-etcd-2 demo-etcd-3
refresh patroni demo-pg-1 demo-pg-2 demo-pg-3
refresh haproxy demo-haproxy-1
finish
