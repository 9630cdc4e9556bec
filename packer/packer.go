// Package packer holds the image recipe's parts that every role shares.
package packer

import (
	"embed"
	"io/fs"
)

//go:embed base.sh all:rootfs
var files embed.FS

// Base returns base.sh, which a role's bake.sh sources, and rootfs/, the files
// of every image at their paths below it.
func Base() fs.FS { return files }
