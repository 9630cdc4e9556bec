#!/bin/sh
# firewall.sh close|open|follow|check: who may reach this machine.
#   close    before the network is up: admits the addresses that user-data had
#            at an earlier boot; at the first boot, nobody
#   open     admits those whom user-data names, host names by their addresses
#   follow   looks host names up every three seconds: a machine that is
#            replaced may have another address
#   check    would nft take what user-data names? Nothing changes
# user-data has only lines "admit PORT SOURCE" and "limit PORT NUMBER"; the
# rules are in firewall.nft.
set -eu
# shellcheck source-path=SCRIPTDIR source=step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
access=$PGHA_ETC/access
octet='(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])'
address="$octet\\.$octet\\.$octet\\.$octet(/(3[0-2]|[12]?[0-9]))?"
# The last part of a host name begins with a letter: 10.0.0.256 is none.
name='([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)*[a-z]([-a-z0-9]{0,61}[a-z0-9])?'
number='[1-9][0-9]{0,4}'

# wanted: the access file as lines "admit PORT ADDRESS" and "limit PORT
# NUMBER", with its addresses in place of each host name. Names that nobody
# knows yet are left out. Status 1: $line has another form.
wanted() {
	form="admit $number ($address|$name)|limit $number $number"
	if grep -qvxE "$form" "$access"; then
		line=$(grep -vxE "$form" "$access" | head -n 1)
		return 1
	fi
	while read -r kind port source || [ -n "$kind" ]; do
		case $source in
		*[a-z]*)
			names=yes
			for found in $(look_up "$source"); do
				printf '%s %s %s\n' "$kind" "$port" "$found"
			done
			;;
		*) printf '%s %s %s\n' "$kind" "$port" "$source" ;;
		esac
	done <"$access"
}

# look_up NAME: its addresses, or those that it had when a resolver last
# answered. None before the network is up.
look_up() {
	if [ "$mode" = close ]; then
		return
	fi
	mkdir -p "$PGHA_RUN/names"
	if now=$(timeout 5 getent ahostsv4 "$1" | awk '{ print $1 }' | sort -u | grep -xE "$address"); then
		printf '%s\n' "$now" >"$PGHA_RUN/names/$1"
	fi
	cat "$PGHA_RUN/names/$1" 2>/dev/null || :
}

# rules FILE: the input of nft: firewall.nft, and what FILE wants. nft refuses
# networks that overlap, so one that lies within another is left out.
rules() {
	printf 'include "%s"\n' "$PGHA_LIB/firewall.nft"
	awk '
		function network(address, bits,   o, n) {
			split(address, o, ".")
			n = ((o[1] * 256 + o[2]) * 256 + o[3]) * 256 + o[4]
			return sprintf("%.0f", n - n % 2 ^ (32 - bits))
		}
		$1 == "limit" { printf "add rule inet pgha limits tcp dport %s add @held { ip saddr . tcp dport ct count over %s } counter drop\n", $2, $3 }
		$1 == "admit" {
			split($3, source, "/")
			bits = source[2] == "" ? 32 : source[2]
			if ((($2, bits, network(source[1], bits)) in given)) next
			given[$2, bits, network(source[1], bits)]
			count++
			port[count] = $2; from[count] = $3; address[count] = source[1]; size[count] = bits
		}
		END {
			for (i = 1; i <= count; i++) {
				for (b = 0; b < size[i]; b++) if ((port[i], b, network(address[i], b)) in given) break
				if (b == size[i]) printf "add element inet pgha admitted { %s . %s }\n", port[i], from[i]
			}
		}' "$1"
}

# load FILE [-c]: makes it so; with -c, only looks.
load() {
	# shellcheck disable=SC2086 # none, or one
	if ! errors=$(rules "$1" | nft ${2-} -f - 2>&1); then
		fail firewall "nft does not take the rules: $(printf '%s' "$errors" | head -n 1)"
	fi
}

names=
mode=${1-}
case $mode in
close | open | follow | check) ;;
*) fail firewall "firewall.sh $mode: want close, open, follow or check" ;;
esac
mkdir -p "$PGHA_RUN"
new=$PGHA_RUN/access.$mode
loaded=$PGHA_RUN/access
if ! [ -r "$access" ]; then
	if [ "$mode" != close ]; then
		fail firewall "there is no $access: user-data did not reach this machine"
	fi
	: >"$new"
elif ! wanted >"$new"; then
	if [ "$mode" != close ]; then
		fail firewall "$access has the line \"$line\", which is neither admit PORT SOURCE nor limit PORT NUMBER: render user-data again"
	fi
	: >"$new"
fi
case $mode in
close)
	# A file that nft refuses admits nobody.
	if ! rules "$new" | nft -f - 2>/dev/null; then
		: >"$new"
		load "$new"
	fi
	;;
open)
	read_cluster firewall
	read_identity firewall
	load "$new"
	mv "$new" "$loaded"
	if [ -n "$names" ]; then
		: >"$PGHA_RUN/access.names"
	fi
	say firewall ok "$(grep -c '^admit' "$loaded") admitted, all others refused"
	;;
check) load "$new" -c ;;
follow)
	while sleep 3; do
		if wanted >"$new" && ! cmp -s "$new" "$loaded"; then
			load "$new"
			mv "$new" "$loaded"
		fi
	done
	;;
esac
