// Package packer holds the image recipe's parts that every role shares.
package packer

import (
	"embed"
	"io/fs"
)

//go:embed base.sh all:rootfs
var files embed.FS

//go:embed images.sh
var images []byte

// Images is the script that bakes the images of all roles side by side. It lies
// beside the roles' folders.
func Images() []byte { return images }

// Base returns base.sh, which a role's bake.sh sources, and rootfs/, the files
// of every image at their paths below it.
func Base() fs.FS { return files }
