#!/bin/sh
# What the scripts of this folder share: it stands behind the first paragraph of
# each.

stop() { # stop STATUS SENTENCE
	echo "${0##*/}: $2" >&2
	exit "$1"
}

# list SERVICE KIND: what the folder has, as JSON. Not knowing it ends the
# script: what only seems to be missing must be neither made anew, as a machine
# that may bootstrap a cluster, nor taken for deleted.
list() {
	found=$(yc "$1" "$2" list --folder-id "$FOLDER" --format json) || stop 1 "cannot list what is there: see what yc says above"
	case $found in
	'['*) printf '%s\n' "$found" ;;
	*) stop 1 "yc $1 $2 list --format json gave no list" ;;
	esac
}

# there LIST KIND NAME: whether it is in the list; then its id is in $id. What
# is there and is not this cluster's ends the script.
there() {
	case $1 in
	*"\"name\": \"$3\""* | *"\"name\":\"$3\""*) ;;
	*) return 1 ;;
	esac
	id=$(printf '%s\n' "$1" | jq -r --arg name "$3" '.[] | select(.name == $name) | .id + " " + (.labels["pgha-cluster"] // "")')
	case $id in
	'') return 1 ;;
	*" $CLUSTER") id=${id%% *} ;;
	*) stop 1 "$2 $3 is there and is not this cluster's: its label pgha-cluster is \"${id#* }\", not \"$CLUSTER\" (delete it, or choose another name in the spec)" ;;
	esac
}

command -v yc >/dev/null || stop 1 "yc is not installed (https://yandex.cloud/en/docs/cli)"
command -v jq >/dev/null || stop 1 "jq is not installed (it is a package of that name)"
