#!/bin/sh
# Deletes the cluster, with Yandex Cloud's yc: its machines, and all that was
# created around them. Data disks, secrets and images stay, unless they are
# asked for; so does what the cluster did not create. Safe to run again.
#
#   sh destroy.sh CLUSTER                   keeps data disks and secrets
#   sh destroy.sh CLUSTER disks secrets     deletes them, too; or one of both words
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

# mine LIST NAME: the id of what the cluster created, in $id; else it is empty.
mine() {
	pick "$1" "$2"
	# shellcheck disable=SC2154 # common.sh sets it
	if [ "$owner" != "$CLUSTER" ]; then id=''; fi
}

gone() { # gone SERVICE KIND NAME
	all "$1" "$2"
	# shellcheck disable=SC2154 # common.sh sets it
	mine "$all" "$3"
	if [ -z "$id" ]; then
		echo "$2 $3: not there, or not this cluster's"
		return
	fi
	yc "$1" "$2" delete --id "$id" >/dev/null || failed "$2 $3"
	echo "$2 $3: deleted"
}

# no_rules NAME...: these security groups have no rules any more. One that the
# rules of another name cannot be deleted.
no_rules() {
	all vpc security-group
	for name; do
		mine "$all" "$name"
		if [ -n "$id" ]; then
			yc vpc security-group update --id "$id" --clear-rules >/dev/null || failed "security-group $name"
		fi
	done
}

# no_record BALANCER NAME TTL ZONE...: the record of the cluster's load balancer.
no_record() {
	all load-balancer network-load-balancer
	mine "$all" "$1"
	if [ -z "$id" ]; then return; fi
	found=$(yc load-balancer network-load-balancer get --id "$id" --format json) || failed "record $2"
	address=$(printf '%s\n' "$found" | jq -r '.listeners[0].address')
	record="$2 $3 A $address"
	shift 3
	yc dns zone delete-records "$@" --record "$record" >/dev/null || failed "record $record"
}

failed() {
	stop 1 "cannot delete $1: see what yc says above (then run this again: it goes on where it stopped)"
}

# shellcheck disable=SC2034 # the lines of a cluster use them
words() { # words ARGUMENT...: what was asked for
	if [ "${1-}" != "$CLUSTER" ]; then
		stop 2 "want the cluster's name, $CLUSTER, as a sign that it is meant; and disks, secrets or both, to delete these, too"
	fi
	shift
	DISKS='' SECRETS=''
	for word; do
		case $word in
		disks) DISKS=yes ;;
		secrets) SECRETS=yes ;;
		*) stop 2 "unknown word \"$word\" (want disks, secrets or both)" ;;
		esac
	done
}
