#!/bin/sh
# Deletes the cluster, with Yandex Cloud's yc: its machines, and all that was
# created around them. Data disks, secrets and backups stay, unless they are
# asked for; so do images, and what the cluster did not create. Safe to run again.
#
#   sh destroy.sh CLUSTER                          keeps data disks, secrets and backups
#   sh destroy.sh CLUSTER disks secrets backups    deletes them, too; or some of them
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

stop() { # stop STATUS SENTENCE
	echo "${0##*/}: $2" >&2
	exit "$1"
}

# list SERVICE KIND: what the folder has, a line for each: its name, id, state
# and cluster. Not knowing it ends the script: what only seems to be missing must
# be neither made anew, as a machine that may bootstrap a cluster, nor taken for
# deleted.
list() {
	found=$(yc "$1" "$2" list --folder-id "$FOLDER" --format json) || stop 1 "cannot list what is there: see what yc says above"
	case $found in
	'['*) ;;
	*) stop 1 "yc $1 $2 list --format json gave no list" ;;
	esac
	printf '%s\n' "$found" | jq -r '.[] | "\(.name) \(.id) \(.status) \(.labels["pgha-cluster"] // "")"'
}

# pick LIST NAME: the $id, $state and $owner of what is in the list; or no $id.
# shellcheck disable=SC2034 # replace.sh uses the state
pick() {
	id='' state='' owner=''
	case "
$1" in
	*"
$2 "*) ;;
	*) return ;;
	esac
	rest="
$1"
	rest=${rest#*"
$2 "}
	IFS=' ' read -r id state owner <<END
$rest
END
}

# there LIST KIND NAME: whether it is in the list; then its id is in $id. What
# is there and is not this cluster's ends the script.
there() {
	pick "$1" "$3"
	if [ -z "$id" ]; then return 1; fi
	if [ "$owner" != "$CLUSTER" ]; then
		stop 1 "$2 $3 is there and is not this cluster's: its label pgha-cluster is \"$owner\", not \"$CLUSTER\" (delete it, or choose another name in the spec)"
	fi
}

# all SERVICE KIND: that list in $all, which is asked for once for things of the
# same kind behind each other.
LISTED=''
# shellcheck disable=SC2034 # create.sh and destroy.sh use it
all() {
	if [ "$LISTED" != "$1 $2" ]; then
		all=$(list "$1" "$2")
		LISTED="$1 $2"
	fi
}

command -v yc >/dev/null || stop 1 "yc is not installed (https://yandex.cloud/en/docs/cli)"
command -v jq >/dev/null || stop 1 "jq is not installed (it is a package of that name)"

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

# no_bucket NAME RULES: that of the backups. One that holds something cannot be
# deleted: by RULES the cloud deletes all of it.
no_bucket() {
	found=$(yc storage bucket list --folder-id "$FOLDER" --format json) ||
		stop 1 "cannot list what is there: see what yc says above"
	owner=''
	if printf '%s\n' "$found" | jq -e --arg name "$1" 'any(.[]; .name == $name)' >/dev/null; then
		found=$(yc storage bucket get --folder-id "$FOLDER" --name "$1" --full --format json) || failed "bucket $1"
		owner=$(printf '%s\n' "$found" | jq -r '[.tags[]? | select(.key == "pgha-cluster").value] | first // ""')
	fi
	if [ "$owner" != "$CLUSTER" ]; then
		echo "bucket $1: not there, or not this cluster's"
	elif yc storage bucket delete --folder-id "$FOLDER" --name "$1" >/dev/null 2>&1; then
		echo "bucket $1: deleted"
	else
		yc storage bucket update --folder-id "$FOLDER" --name "$1" --lifecycle-rules "$2" >/dev/null || failed "bucket $1"
		echo "bucket $1: not empty; the cloud deletes all that is in it, which takes some days (then run this again; create.sh base keeps what is left)"
	fi
}

failed() {
	stop 1 "cannot delete $1: see what yc says above (then run this again: it goes on where it stopped)"
}

# shellcheck disable=SC2034 # the lines of a cluster use them
words() { # words ARGUMENT...: what was asked for
	if [ "${1-}" != "$CLUSTER" ]; then
		stop 2 "want the cluster's name, $CLUSTER, as a sign that it is meant; and any of disks, secrets and backups, to delete these, too"
	fi
	shift
	DISKS='' SECRETS='' BACKUPS=''
	for word; do
		case $word in
		disks) DISKS=yes ;;
		secrets) SECRETS=yes ;;
		backups) BACKUPS=yes ;;
		*) stop 2 "unknown word \"$word\" (want any of disks, secrets and backups)" ;;
		esac
	done
}

FOLDER=b1gexample
CLUSTER=new
words "$@"

gone compute instance new-etcd-1
gone compute instance new-etcd-2
gone compute instance new-etcd-3
gone compute instance new-pg-1
gone compute instance new-pg-2
gone compute instance new-pg-3
gone compute instance new-haproxy-1
gone compute instance new-haproxy-2
if [ -n "$DISKS" ]; then
	gone compute disk new-etcd-1-data
	gone compute disk new-etcd-2-data
	gone compute disk new-etcd-3-data
	gone compute disk new-pg-1-data
	gone compute disk new-pg-2-data
	gone compute disk new-pg-3-data
	:
fi
gone compute placement-group new-patroni-a
if [ -n "$SECRETS" ]; then
	gone lockbox secret new-etcd
	gone lockbox secret new-patroni
	gone iam service-account new-etcd
	gone iam service-account new-patroni
	:
fi
no_rules new-etcd new-patroni new-haproxy
gone vpc security-group new-etcd
gone vpc security-group new-patroni
gone vpc security-group new-haproxy
gone vpc subnet new-ru-central1-d
gone vpc subnet new-ru-central1-b
gone vpc subnet new-ru-central1-a
gone vpc route-table new
gone vpc gateway new
gone vpc network new
