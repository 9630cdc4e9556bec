#!/bin/sh
# What the scripts of this folder share: it stands behind the first paragraph of
# each.

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
