#!/bin/sh
# refresh-apply.sh PATH...: makes HAProxy use the files that changed. The last line
# says what took effect.
set -eu
for path; do
	case $path in
	/etc/haproxy/*)
		if ! errors=$(systemctl reload haproxy.service 2>&1); then
			printf 'HAProxy does not reload: %s\n' "$errors" | tr '\n' ' '
			exit 1
		fi
		echo 'HAProxy reloaded'
		exit 0
		;;
	esac
done
echo 'nothing to do'
