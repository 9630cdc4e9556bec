#!/bin/sh
# Lets a Packer before 1.7 start the plugin of the test: by no argument, and by
# a first line without the minor version of the protocol. It becomes the plugin
# itself, as that is what Packer ends.
set -eu
work=$(mktemp -d)
mkfifo "$work/line"
{
	IFS= read -r address
	rm -r "$work"
	printf '5|%s\n' "${address#5|0|}"
	cat
} <"$work/line" &
exec "$PGHA_PLUGIN" start provisioner -packer-default-plugin-name- >"$work/line"
