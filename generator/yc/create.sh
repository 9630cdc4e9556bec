#!/bin/sh
# Creates what is missing of the cluster, with Yandex Cloud's yc. Safe to run
# again: what is there is left as it is, but for the rules of the cluster's own
# security groups, which become the spec's. So a lost machine is replaced by
# deleting what is left of it and running this once more, and what was
# interrupted goes on.
#
#   sh create.sh base       all but disks and machines
#   sh create.sh            that, disks and machines
#   sh create.sh finish     once all machines are ready: take back the permission
#                           to bootstrap, so that no machine ever starts a second cluster
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

case "$# ${1-}" in
'0 ' | '1 base' | '1 finish') ;;
*) stop 2 "want no argument, to create the machines; base, for all else alone; or finish, once all machines are ready" ;;
esac

look() {
	DISKS=$(list compute disk)
	INSTANCES=$(list compute instance)
}

# created STATUS WHAT: ends the script if it could not be created.
created() {
	[ "$1" = 0 ] || stop 1 "cannot create $2: see what yc says above (then run this again: it goes on where it stopped)"
}

# given KEY SERVICE KIND ID [ZONE]: what the spec has the id of. It is there,
# and what has a network is in the same.
NETWORK=''
given() {
	case $3 in bucket) by=--name ;; *) by=--id ;; esac
	found=$(yc "$2" "$3" get --folder-id "$FOLDER" "$by" "$4" --format json) ||
		stop 1 "$1: cannot find $3 $4: see what yc says above (this shows those that are there: yc $2 $3 list --folder-id $FOLDER)"
	zone='' network=''
	case $3 in
	network) network=$4 ;;
	subnet | security-group)
		place=$(printf '%s\n' "$found" | jq -r '(.zone_id // "") + " " + (.network_id // "")')
		zone=${place%% *} network=${place#* }
		;;
	esac
	if [ "$zone" != "${5-}" ]; then
		stop 1 "$1: $3 $4 is in zone $zone, not in ${5-}"
	fi
	if [ -n "$network" ] && [ "$network" != "${NETWORK:=$network}" ]; then
		stop 1 "$1: $3 $4 is in network $network, and others of the spec are in $NETWORK (want one network)"
	fi
}

# resource SERVICE KIND NAME ARGUMENT...: one that is created; its id is in $id.
resource() {
	service=$1 kind=$2 name=$3
	shift 3
	all "$service" "$kind"
	# shellcheck disable=SC2154 # common.sh sets it
	if there "$all" "$kind" "$name"; then
		echo "$kind $name: there already"
		return
	fi
	echo "$kind $name: creating"
	status=0
	made=$(yc "$service" "$kind" create --folder-id "$FOLDER" --name "$name" --labels "pgha-cluster=$CLUSTER" "$@" --format json) || status=$?
	created "$status" "$kind $name"
	id=$(printf '%s\n' "$made" | jq -r .id)
}

# rules NAME ARGUMENT...: those of a security group of the cluster's own, and no
# others.
rules() {
	name=$1
	shift
	yc vpc security-group update --folder-id "$FOLDER" --name "$name" "$@" >/dev/null ||
		stop 1 "cannot change security group $name: see what yc says above"
	echo "security-group $name: has the rules of the spec"
}

# reader SECRET ACCOUNT: the account, by its id, may read the secret.
reader() {
	bindings=$(yc lockbox secret list-access-bindings --folder-id "$FOLDER" --name "$1" --format json) ||
		stop 1 "cannot see who may read secret $1: see what yc says above"
	if printf '%s\n' "$bindings" | jq -e --arg id "$2" 'any(.[]?; .role_id == "lockbox.payloadViewer" and .subject.id == $id)' >/dev/null; then
		return
	fi
	yc lockbox secret add-access-binding --folder-id "$FOLDER" --name "$1" --role lockbox.payloadViewer --service-account-id "$2" >/dev/null ||
		stop 1 "cannot permit account $2 to read secret $1: see what yc says above"
	echo "secret $1: account $2 may read it"
}

# bucket NAME ACCOUNT RULES: that of the backups. The account, by its id, may read
# and write in it, and set nothing of it; yc has no command that gives it a role
# there. Of what is deleted or overwritten the cloud keeps versions, as RULES say.
bucket() {
	name=$1 account=$2 rules=$3
	may=grant-type=grant-type-account,grantee-id=$account,permission=permission
	set -- --grants "$may-read" --grants "$may-write"
	found=$(yc storage bucket list --folder-id "$FOLDER" --format json) ||
		stop 1 "cannot list what is there: see what yc says above"
	if ! printf '%s\n' "$found" | jq -e --arg name "$name" 'any(.[]; .name == $name)' >/dev/null; then
		echo "bucket $name: creating"
		status=0
		yc storage bucket create --folder-id "$FOLDER" --name "$name" "$@" >/dev/null || status=$?
		created "$status" "bucket $name"
	fi
	found=$(yc storage bucket get --folder-id "$FOLDER" --name "$name" --full --format json) ||
		stop 1 "cannot look at bucket $name: see what yc says above (then run this again)"
	owner=$(printf '%s\n' "$found" | jq -r '[.tags[]? | select(.key == "pgha-cluster").value] | first // ""')
	granted=$(printf '%s\n' "$found" | jq -r --arg id "$account" '[.acl.grants[]? | select(.grantee_id == $id).permission] | sort | join(" ")')
	# Nothing but an update marks it. One that has these grants and no mark was
	# created just before this was interrupted.
	if [ "$owner" != "$CLUSTER" ] && { [ -n "$owner" ] || [ "$granted" != 'PERMISSION_READ PERMISSION_WRITE' ]; }; then
		stop 1 "bucket $name is there and is not this cluster's: its tag pgha-cluster is \"$owner\", not \"$CLUSTER\" (give backup.create_bucket: false if it is yours, or choose another name in the spec)"
	fi
	if [ "$owner" = "$CLUSTER" ] && [ "$granted" = 'PERMISSION_READ PERMISSION_WRITE' ] &&
		printf '%s\n' "$found" | jq -e '.versioning == "VERSIONING_ENABLED" and any(.lifecycle_rules[]?; .id == "pgha-versions")' >/dev/null; then
		echo "bucket $name: there already"
		return
	fi
	# The new list replaces the old one.
	others=$(printf '%s\n' "$found" | jq -r --arg id "$account" '.acl.grants[]? | select(.grantee_id != $id) |
		"grant-type=\(.grant_type)" + (if .grantee_id then ",grantee-id=\(.grantee_id)" else "" end) + ",permission=\(.permission)" |
		gsub("(?<word>GRANT_TYPE[A-Z_]*|PERMISSION[A-Z_]*)"; .word | ascii_downcase | gsub("_"; "-"))')
	for grant in $others; do set -- "$@" --grants "$grant"; done
	if ! printf '%s\n' "$found" | jq -e 'any(.lifecycle_rules[]?; .id == "pgha-versions")' >/dev/null; then
		set -- "$@" --lifecycle-rules "$rules"
	fi
	yc storage bucket update --folder-id "$FOLDER" --name "$name" --tags "pgha-cluster=$CLUSTER" --versioning versioning-enabled "$@" >/dev/null ||
		stop 1 "cannot set up bucket $name: see what yc says above (then run this again: it goes on where it stopped)"
	echo "bucket $name: account $account may read and write; versions are kept"
}

# bootstrap_members NODE...: the machines of a role that bootstraps its part of
# the cluster. They may do so only if none of them is there yet: beside an
# existing one, the others join.
BOOTSTRAP_MEMBERS='' PERMITTED=''
bootstrap_members() {
	BOOTSTRAP_MEMBERS="$BOOTSTRAP_MEMBERS $*"
	for node; do
		if there "$INSTANCES" machine "$node"; then return; fi
	done
	PERMITTED="$PERMITTED $*"
}

# image FAMILY NODE...: there is one for those machines that are to be created.
image() {
	family=$1
	shift
	for node; do
		if there "$INSTANCES" machine "$node"; then continue; fi
		yc compute image get-latest-from-family "$family" --folder-id "$FOLDER" >/dev/null ||
			stop 1 "no image in family $family for machine $node: see what yc says above (bake one: sh packer/images.sh)"
		return
	done
}

# way_out KEY SUBNET NODE...: those machines that are to be created reach Lockbox
# from this subnet.
way_out() {
	key=$1 subnet=$2
	shift 2
	for node; do
		if there "$INSTANCES" machine "$node"; then continue; fi
		found=$(yc vpc subnet get --folder-id "$FOLDER" --id "$subnet" --format json) ||
			stop 1 "$key: cannot look at subnet $subnet: see what yc says above"
		table=$(printf '%s\n' "$found" | jq -r '.route_table_id // ""')
		if [ -n "$table" ]; then
			found=$(yc vpc route-table get --folder-id "$FOLDER" --id "$table" --format json) ||
				stop 1 "$key: cannot see the routes of subnet $subnet: see what yc says above"
			if printf '%s\n' "$found" | jq -e 'any(.static_routes[]?; .destination_prefix == "0.0.0.0/0")' >/dev/null; then return; fi
		fi
		stop 1 "$key: subnet $subnet has no way out, and machines reach Lockbox by it (give it a route table with a route for 0.0.0.0/0 to a NAT gateway)"
	done
}

disk() { # disk NAME ARGUMENT...
	name=$1
	shift
	if there "$DISKS" disk "$name"; then
		echo "disk $name: there already"
		return
	fi
	echo "disk $name: creating"
	status=0
	yc compute disk create --folder-id "$FOLDER" --name "$name" "$@" >/dev/null || status=$?
	created "$status" "disk $name"
}

SECRET='' # of the machines that follow, if their metadata must have it
machine() { # machine NAME ARGUMENT...
	name=$1
	shift
	if there "$INSTANCES" machine "$name"; then
		echo "machine $name: there already"
		return
	fi
	metadata=${SECRET:+pgha-secret=$SECRET}
	case "$PERMITTED " in
	*" $name "*) metadata=${metadata:+$metadata,}pgha-bootstrap=$TOKEN ;;
	esac
	if [ -n "$metadata" ]; then
		set -- "$@" --metadata "$metadata"
	fi
	echo "machine $name: creating"
	status=0
	yc compute instance create --folder-id "$FOLDER" --name "$name" --hostname "$name" "$@" >/dev/null || status=$?
	created "$status" "machine $name"
}

# targets NAME REGION NODE...: a target group of these machines, and of no
# others; its id is in $id.
targets() {
	group=$1 region=$2 machines=''
	shift 2
	for node; do
		found=$(yc compute instance get --folder-id "$FOLDER" --name "$node" --format json) ||
			stop 1 "cannot see the address of machine $node: see what yc says above (then run this again)"
		machines="$machines$found"
	done
	wanted=$(printf '%s\n' "$machines" | jq -rs '[.[].network_interfaces[0] | "subnet-id=" + .subnet_id + ",address=" + .primary_v4_address.address] | join(" ")')
	set --
	all load-balancer target-group
	if ! there "$all" target-group "$group"; then
		for target in $wanted; do set -- "$@" --target "$target"; done
		resource load-balancer target-group "$group" --region-id "$region" "$@"
		return
	fi
	found=$(yc load-balancer target-group get --id "$id" --format json) ||
		stop 1 "cannot see the targets of target-group $group: see what yc says above (then run this again)"
	have=$(printf '%s\n' "$found" | jq -r '[.targets[]? | "subnet-id=" + .subnet_id + ",address=" + .address] | join(" ")')
	group_id=$id
	for target in $wanted; do
		case " $have " in *" $target "*) ;; *) change_targets add "$target" ;; esac
	done
	for target in $have; do
		case " $wanted " in *" $target "*) ;; *) change_targets remove "$target" ;; esac
	done
	id=$group_id
	echo "target-group $group: has the machines of the spec"
}

change_targets() { # change_targets add|remove TARGET
	yc load-balancer target-group "$1-targets" --id "$group_id" --target "$2" >/dev/null ||
		stop 1 "cannot $1 target $2: see what yc says above (then run this again)"
}

# entry NAME [TTL ZONE...]: the record of the load balancer whose id is in $id;
# ZONE is how yc finds the zone. Without one, somebody else makes the record.
entry() {
	name=$1 ttl=${2-}
	found=$(yc load-balancer network-load-balancer get --id "$id" --format json) ||
		stop 1 "cannot see the address of the load balancer: see what yc says above (then run this again)"
	address=$(printf '%s\n' "$found" | jq -r '.listeners[0].address')
	if [ $# -gt 2 ]; then
		shift 2
		yc dns zone replace-records "$@" --record "$name $ttl A $address" >/dev/null ||
			stop 1 "cannot set the record of $name: see what yc says above (then run this again)"
	fi
	echo "entry point $name: $address"
}

finish() {
	there=''
	for node in $BOOTSTRAP_MEMBERS; do
		if ! there "$INSTANCES" machine "$node"; then
			echo "machine $node: not there"
			continue
		fi
		there=yes
		yc compute instance remove-metadata --folder-id "$FOLDER" --name "$node" --keys pgha-bootstrap >/dev/null
		echo "machine $node: may no longer bootstrap a cluster"
	done
	if [ -n "$BOOTSTRAP_MEMBERS" ] && [ -z "$there" ]; then
		stop 1 "folder $FOLDER has none of these machines (create them first, without an argument)"
	fi
	exit 0
}
