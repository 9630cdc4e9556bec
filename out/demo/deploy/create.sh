#!/bin/sh
# Creates what is missing of the cluster, with Yandex Cloud's yc. Safe to run
# again: a disk or machine that is there is left as it is, so a lost machine is
# replaced by deleting what is left of it and running this once more.
#
#   sh create.sh            create disks and machines
#   sh create.sh finish     once all machines are ready: take back the permission
#                           to bootstrap, so that no machine ever starts a second cluster
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

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

case "$# ${1-}" in
'0 ' | '1 finish') ;;
*) stop 2 "want no argument, to create the machines, or finish, once all machines are ready" ;;
esac

look() {
	DISKS=$(list disk)
	INSTANCES=$(list instance)
}

# bootstrap_members NODE...: the machines of a role that bootstraps its part of
# the cluster. They may do so only if none of them is there yet: beside an
# existing one, the others join.
BOOTSTRAP_MEMBERS='' PERMITTED=''
bootstrap_members() {
	BOOTSTRAP_MEMBERS="$BOOTSTRAP_MEMBERS $*"
	for node; do
		if has "$INSTANCES" "$node"; then return; fi
	done
	PERMITTED="$PERMITTED $*"
}

disk() { # disk NAME ARGUMENT...
	name=$1
	shift
	if has "$DISKS" "$name"; then
		echo "disk $name: there already"
		return
	fi
	echo "disk $name: creating"
	yc compute disk create --folder-id "$FOLDER" --name "$name" "$@" >/dev/null
}

machine() { # machine NAME ARGUMENT...
	name=$1
	shift
	if has "$INSTANCES" "$name"; then
		echo "machine $name: there already"
		return
	fi
	case "$PERMITTED " in
	*" $name "*) set -- "$@" --metadata "pgha-bootstrap=$TOKEN" ;;
	esac
	echo "machine $name: creating"
	yc compute instance create --folder-id "$FOLDER" --name "$name" --hostname "$name" "$@" >/dev/null
}

finish() {
	there=''
	for node in $BOOTSTRAP_MEMBERS; do
		if ! has "$INSTANCES" "$node"; then
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

FOLDER=b1gexample
TOKEN=demo-a6125ab9
look
bootstrap_members demo-etcd-1 demo-etcd-2 demo-etcd-3
bootstrap_members demo-pg-1 demo-pg-2 demo-pg-3
if [ "${1-}" = finish ]; then finish; fi

disk demo-etcd-1-data \
	--zone ru-central1-a \
	--type network-ssd \
	--size 10GB \
	--labels 'pgha-cluster=demo,pgha-role=etcd'
machine demo-etcd-1 \
	--zone ru-central1-a \
	--platform standard-v3 \
	--cores 2 \
	--core-fraction 100 \
	--memory 4GB \
	--create-boot-disk 'image-folder-id=b1gexample,image-family=demo-etcd,type=network-ssd,size=10GB,auto-delete=true' \
	--attach-disk 'disk-name=demo-etcd-1-data,device-name=data,mode=rw,auto-delete=false' \
	--network-interface 'subnet-id=e9bexample,ipv4-address=10.128.0.26' \
	--metadata-from-file 'user-data=../user-data/etcd.yaml' \
	--service-account-id ajeexampleetcd \
	--metadata-options 'gce-http-endpoint=enabled,gce-http-token=enabled,aws-v1-http-endpoint=enabled,aws-v1-http-token=disabled' \
	--labels 'pgha-cluster=demo,pgha-role=etcd' \
	--maintenance-policy migrate \
	--maintenance-grace-period 60s

disk demo-etcd-2-data \
	--zone ru-central1-a \
	--type network-ssd \
	--size 10GB \
	--labels 'pgha-cluster=demo,pgha-role=etcd'
machine demo-etcd-2 \
	--zone ru-central1-a \
	--platform standard-v3 \
	--cores 2 \
	--core-fraction 100 \
	--memory 4GB \
	--create-boot-disk 'image-folder-id=b1gexample,image-family=demo-etcd,type=network-ssd,size=10GB,auto-delete=true' \
	--attach-disk 'disk-name=demo-etcd-2-data,device-name=data,mode=rw,auto-delete=false' \
	--network-interface 'subnet-id=e9bexample,ipv4-address=10.128.0.11' \
	--metadata-from-file 'user-data=../user-data/etcd.yaml' \
	--service-account-id ajeexampleetcd \
	--metadata-options 'gce-http-endpoint=enabled,gce-http-token=enabled,aws-v1-http-endpoint=enabled,aws-v1-http-token=disabled' \
	--labels 'pgha-cluster=demo,pgha-role=etcd' \
	--maintenance-policy migrate \
	--maintenance-grace-period 60s

disk demo-etcd-3-data \
	--zone ru-central1-a \
	--type network-ssd \
	--size 10GB \
	--labels 'pgha-cluster=demo,pgha-role=etcd'
machine demo-etcd-3 \
	--zone ru-central1-a \
	--platform standard-v3 \
	--cores 2 \
	--core-fraction 100 \
	--memory 4GB \
	--create-boot-disk 'image-folder-id=b1gexample,image-family=demo-etcd,type=network-ssd,size=10GB,auto-delete=true' \
	--attach-disk 'disk-name=demo-etcd-3-data,device-name=data,mode=rw,auto-delete=false' \
	--network-interface 'subnet-id=e9bexample,ipv4-address=10.128.0.31' \
	--metadata-from-file 'user-data=../user-data/etcd.yaml' \
	--service-account-id ajeexampleetcd \
	--metadata-options 'gce-http-endpoint=enabled,gce-http-token=enabled,aws-v1-http-endpoint=enabled,aws-v1-http-token=disabled' \
	--labels 'pgha-cluster=demo,pgha-role=etcd' \
	--maintenance-policy migrate \
	--maintenance-grace-period 60s

disk demo-pg-1-data \
	--zone ru-central1-a \
	--type network-ssd \
	--size 100GB \
	--labels 'pgha-cluster=demo,pgha-role=patroni'
machine demo-pg-1 \
	--zone ru-central1-a \
	--platform standard-v3 \
	--cores 4 \
	--core-fraction 100 \
	--memory 16GB \
	--create-boot-disk 'image-folder-id=b1gexample,image-family=demo-patroni,type=network-ssd,size=15GB,auto-delete=true' \
	--attach-disk 'disk-name=demo-pg-1-data,device-name=data,mode=rw,auto-delete=false' \
	--network-interface 'subnet-id=e9bexample,ipv4-address=10.128.0.21' \
	--metadata-from-file 'user-data=../user-data/patroni.yaml' \
	--service-account-id ajeexamplepatroni \
	--metadata-options 'gce-http-endpoint=enabled,gce-http-token=enabled,aws-v1-http-endpoint=enabled,aws-v1-http-token=disabled' \
	--labels 'pgha-cluster=demo,pgha-role=patroni' \
	--maintenance-policy migrate \
	--maintenance-grace-period 60s

disk demo-pg-2-data \
	--zone ru-central1-a \
	--type network-ssd \
	--size 100GB \
	--labels 'pgha-cluster=demo,pgha-role=patroni'
machine demo-pg-2 \
	--zone ru-central1-a \
	--platform standard-v3 \
	--cores 4 \
	--core-fraction 100 \
	--memory 16GB \
	--create-boot-disk 'image-folder-id=b1gexample,image-family=demo-patroni,type=network-ssd,size=15GB,auto-delete=true' \
	--attach-disk 'disk-name=demo-pg-2-data,device-name=data,mode=rw,auto-delete=false' \
	--network-interface 'subnet-id=e9bexample,ipv4-address=10.128.0.22' \
	--metadata-from-file 'user-data=../user-data/patroni.yaml' \
	--service-account-id ajeexamplepatroni \
	--metadata-options 'gce-http-endpoint=enabled,gce-http-token=enabled,aws-v1-http-endpoint=enabled,aws-v1-http-token=disabled' \
	--labels 'pgha-cluster=demo,pgha-role=patroni' \
	--maintenance-policy migrate \
	--maintenance-grace-period 60s

disk demo-pg-3-data \
	--zone ru-central1-a \
	--type network-ssd \
	--size 100GB \
	--labels 'pgha-cluster=demo,pgha-role=patroni'
machine demo-pg-3 \
	--zone ru-central1-a \
	--platform standard-v3 \
	--cores 4 \
	--core-fraction 100 \
	--memory 16GB \
	--create-boot-disk 'image-folder-id=b1gexample,image-family=demo-patroni,type=network-ssd,size=15GB,auto-delete=true' \
	--attach-disk 'disk-name=demo-pg-3-data,device-name=data,mode=rw,auto-delete=false' \
	--network-interface 'subnet-id=e9bexample,ipv4-address=10.128.0.23' \
	--metadata-from-file 'user-data=../user-data/patroni.yaml' \
	--service-account-id ajeexamplepatroni \
	--metadata-options 'gce-http-endpoint=enabled,gce-http-token=enabled,aws-v1-http-endpoint=enabled,aws-v1-http-token=disabled' \
	--labels 'pgha-cluster=demo,pgha-role=patroni' \
	--maintenance-policy migrate \
	--maintenance-grace-period 60s

machine demo-haproxy-1 \
	--zone ru-central1-a \
	--platform standard-v3 \
	--cores 2 \
	--core-fraction 100 \
	--memory 2GB \
	--create-boot-disk 'image-folder-id=b1gexample,image-family=demo-haproxy,type=network-ssd,size=10GB,auto-delete=true' \
	--network-interface 'subnet-id=e9bexample,ipv4-address=10.128.0.40' \
	--metadata-from-file 'user-data=../user-data/haproxy.yaml' \
	--metadata-options 'gce-http-endpoint=enabled,gce-http-token=disabled,aws-v1-http-endpoint=enabled,aws-v1-http-token=disabled' \
	--labels 'pgha-cluster=demo,pgha-role=haproxy' \
	--maintenance-policy migrate \
	--maintenance-grace-period 60s
