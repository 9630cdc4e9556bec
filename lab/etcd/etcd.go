// Package etcd pins the etcd release that the lab builds for its machines: see the tool lines of go.mod.
package etcd
