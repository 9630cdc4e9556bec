#!/bin/sh
# identity.sh: asks metadata who this machine is, refuses what is not in the
# spec, and writes identity.env for this boot.
set -eu
# shellcheck source-path=SCRIPTDIR source=step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
read_cluster identity

# look PATH: a value of metadata, in $value.
look() {
	status=0
	value=$(metadata "$1") || status=$?
	case $status in
	0) ;;
	4) reason="metadata has no $1" ;;
	5) reason="metadata refuses $1" ;;
	*) reason="metadata at $PGHA_METADATA does not answer" ;;
	esac
	if [ "$status" = 0 ] && [ -z "$value" ]; then
		reason="metadata has an empty $1"
		status=4
	fi
	return "$status"
}

ask() {
	look instance/hostname || return 1
	fqdn=$value
	look instance/network-interfaces/0/ip || return 1
	address=$value
	look instance/zone || return 1
	zone=${value##*/}
}

# demand WHAT VALUE PATTERN: refuses a value of another form, since shells and
# systemd read it later.
demand() {
	if [ "$(printf '%s\n' "$2" | grep -cE "^$3\$")" != 1 ] || [ "${2#*"$newline"}" != "$2" ]; then
		fail identity "metadata gives \"$2\" as the $1 of this machine, which cannot be one"
	fi
}

until_done identity ask
octet='(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])'
label='[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?'
demand 'host name' "$fqdn" "$label(\\.$label)*"
demand address "$address" "$octet\\.$octet\\.$octet\\.$octet"
demand zone "$zone" "$label"
name=${fqdn%%.*}

expected=none
for node in $PGHA_NODES; do
	if [ "${node%%=*}" = "$name" ]; then
		expected=${node#"$name"}
		expected=${expected#=}
	fi
done
if [ "$expected" = none ]; then
	fail identity "this machine is called $name, but the nodes of role $PGHA_ROLE are $(printf '%s' "$PGHA_NODES" | sed 's/=[^ ]*//g'): give the machine one of these host names, or add it to the spec"
fi
# Certificates, and the firewalls and pg_hba.conf of the others, name that
# address.
if [ -n "$expected" ] && [ "$expected" != "$address" ]; then
	fail identity "this machine has the address $address, but the spec says $expected for $name: create it with that address, or change the spec"
fi

mkdir -p "$PGHA_RUN"
cat >"$PGHA_RUN/identity.env.new" <<END
NODE_NAME=$name
NODE_FQDN=$fqdn
NODE_ADDRESS=$address
NODE_ZONE=$zone
END
mv "$PGHA_RUN/identity.env.new" "$PGHA_RUN/identity.env"
read_identity identity
say identity ok "$fqdn $address $zone"
