#!/bin/sh
# Builds the etcd that go.mod pins, and packs it into the folder $1 as its
# authors' release is packed. The same module and Go give the same bytes.
set -eu
export CGO_ENABLED=0 GOOS=linux GOARCH=amd64 GOAMD64=v1 GOEXPERIMENT='' GOWORK=off GOFLAGS=-mod=readonly
name=etcd-$(go list -m -f '{{.Version}}' go.etcd.io/etcd/server/v3)-linux-amd64

build() { # file, package
	go build -trimpath -buildvcs=false -ldflags='-s -w' -o "$1" "$2"
}

work=$(mktemp -d "$1/work.XXXXXX")
build "$work/$name/etcd" go.etcd.io/etcd/server/v3
build "$work/$name/etcdctl" go.etcd.io/etcd/etcdctl/v3
build "$work/$name/etcdutl" go.etcd.io/etcd/etcdutl/v3
tar -C "$work" --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=755 \
	--use-compress-program='gzip -n' -cf "$1/$name.tar.gz" "$name"
rm -r "$work"
