#!/bin/sh
# secrets.sh: fetches the role's secrets from Lockbox into a tmpfs, and checks
# that they fit together. The service's group may read them, and only root
# write them, since root reads them later. *.env is for systemd: only root may
# read it. A secret is never printed, and never an argument of a program.
set -eu
umask 077
# shellcheck source-path=SCRIPTDIR source=step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
read_cluster secrets
read_identity secrets

secrets=$PGHA_RUN/secrets
fresh=$PGHA_RUN/secrets.new
payload=$fresh/.payload

get_token() {
	status=0
	answer=$(metadata instance/service-accounts/default/token) || status=$?
	case $status in
	0) ;;
	4)
		reason='no service account is attached to this machine: attach the one that may read the secret'
		return 1
		;;
	5)
		reason='metadata refuses a token: enable the GCE token in the metadata options of this machine'
		return 1
		;;
	*)
		reason="metadata at $PGHA_METADATA does not answer"
		return 1
		;;
	esac
	token=$(printf '%s' "$answer" | jq -r '.access_token // empty' 2>/dev/null) || token=
	if [ -z "$token" ]; then
		reason='metadata gives no access_token'
		return 1
	fi
}

get_payload() {
	get_token || return 1
	status=0
	code=$(printf 'Authorization: Bearer %s\n' "$token" |
		curl -q -sS --connect-timeout 5 --max-time 20 -H @- -o "$payload" -w '%{http_code}' \
			"$PGHA_LOCKBOX/lockbox/v1/secrets/$PGHA_SECRET_ID/payload" 2>"$fresh/.error") || status=$?
	case $status in
	0) ;;
	35 | 51 | 58 | 60 | 77 | 83)
		reason="TLS to Lockbox at $PGHA_LOCKBOX fails: $(complaint "$fresh/.error")"
		return 1
		;;
	6 | 7 | 28)
		reason="Lockbox at $PGHA_LOCKBOX cannot be reached (a node without a public address needs a NAT gateway): $(complaint "$fresh/.error")"
		return 1
		;;
	*)
		reason="Lockbox at $PGHA_LOCKBOX does not answer: $(complaint "$fresh/.error")"
		return 1
		;;
	esac
	case $code in
	200) ;;
	401 | 403)
		reason="Lockbox answers $code: the service account of this machine may not read secret $PGHA_SECRET_ID; give it lockbox.payloadViewer on that secret"
		return 1
		;;
	404)
		reason="Lockbox answers 404: there is no secret $PGHA_SECRET_ID, or it has no version yet"
		return 1
		;;
	*)
		reason="Lockbox answers $code for secret $PGHA_SECRET_ID"
		return 1
		;;
	esac
	if ! jq -e '.entries | type == "array"' "$payload" >/dev/null 2>&1; then
		reason="Lockbox answers for secret $PGHA_SECRET_ID with something that is not a payload"
		return 1
	fi
}

# write FILE: writes it, from the node's own entry or from that for all nodes.
write() {
	entry=$(jq -r --arg own "$NODE_NAME.$1" --arg all "$1" \
		'[.entries[].key] | if index($own) then $own elif index($all) then $all else "" end' "$payload")
	if [ -z "$entry" ]; then
		reason="secret $PGHA_SECRET_ID has neither an entry $NODE_NAME.$1 nor an entry $1: run pgha-gen secrets generate, and what it says next"
		return 1
	fi
	if jq -e --arg key "$entry" 'any(.entries[]; .key == $key and has("binaryValue"))' "$payload" >/dev/null; then
		jq -r --arg key "$entry" '.entries[] | select(.key == $key) | .binaryValue' "$payload" | base64 -d >"$fresh/$1"
	else
		jq -j --arg key "$entry" '.entries[] | select(.key == $key) | .textValue // empty' "$payload" >"$fresh/$1"
	fi
	if ! [ -s "$fresh/$1" ]; then
		reason="entry $entry of secret $PGHA_SECRET_ID is empty: run pgha-gen secrets generate, and what it says next"
		return 1
	fi
}

# check CERTIFICATE: it is valid today, signed by this cluster's CA, and has
# its key beside it.
check() {
	if ! [ -e "$fresh/ca.crt" ]; then
		reason="$1 cannot be verified without ca.crt: render user-data again"
		return 1
	fi
	if ! errors=$(openssl verify -no-CApath -no-CAstore -CAfile "$fresh/ca.crt" "$fresh/$1" 2>&1); then
		reason="$1 is not valid under ca.crt: $(printf '%s\n' "$errors" | sed -n 's/^error [0-9]* at [0-9]* depth lookup: *//p' | head -n 1); run pgha-gen secrets generate, and what it says next"
		return 1
	fi
	key=${1%.crt}.key
	if [ -e "$fresh/$key" ]; then
		of_certificate=$(openssl x509 -noout -pubkey -in "$fresh/$1")
		of_key=$(openssl pkey -pubout -in "$fresh/$key" 2>/dev/null) || of_key=
		if [ "$of_certificate" != "$of_key" ]; then
			reason="$key is not the key of $1: run pgha-gen secrets generate, and what it says next"
			return 1
		fi
	fi
}

# take: writes and checks all files, from one answer of Lockbox. What is wrong
# may be mended there, so Lockbox is asked again.
take() {
	get_payload || return 1
	for file in $PGHA_SECRET_FILES; do
		write "$file" || return 1
	done
	for file in $PGHA_SECRET_FILES; do
		case $file in
		ca.crt) ;;
		*.crt) check "$file" || return 1 ;;
		esac
	done
}

if [ -z "${PGHA_SECRET_FILES:-}" ]; then
	say secrets ok "role $PGHA_ROLE reads no secret"
	exit 0
fi
for file in $PGHA_SECRET_FILES; do
	case $file in
	*[!A-Za-z0-9._-]* | .*) fail secrets "user-data asks for a secret file \"$file\", which cannot be a file's name" ;;
	esac
done
mkdir -p "$PGHA_RUN"
if [ "$(stat -f -c %T "$PGHA_RUN")" != tmpfs ]; then
	fail secrets "$PGHA_RUN is not on a tmpfs: secrets would reach a disk"
fi
if ! id "$PGHA_SERVICE_USER" >/dev/null 2>&1; then
	fail secrets "this image has no user $PGHA_SERVICE_USER: create the machine from an image of role $PGHA_ROLE"
fi
leave() {
	rm -rf "$fresh"
	ended "$1"
}
trap 'leave $?' EXIT
rm -rf "$fresh"
mkdir "$fresh"

until_done secrets take
rm -f "$payload" "$fresh/.error"

group=$(id -g "$PGHA_SERVICE_USER")
chgrp -R "$group" "$fresh"
chmod 0750 "$fresh"
for file in $PGHA_SECRET_FILES; do
	case $file in
	*.env) chmod 0600 "$fresh/$file" ;;
	*) chmod 0640 "$fresh/$file" ;;
	esac
done
rm -rf "$secrets.old"
if [ -e "$secrets" ] || [ -L "$secrets" ]; then
	mv "$secrets" "$secrets.old"
fi
mv "$fresh" "$secrets"
rm -rf "$secrets.old"
say secrets ok "$PGHA_SECRET_FILES"
