// Package packer holds the files of the images and of what bakes them.
package packer

import (
	"embed"
	"io/fs"
)

//go:embed base.sh seal.sh all:rootfs
var common embed.FS

//go:embed template
var template embed.FS

//go:embed images.sh
var images []byte

// Common returns what the images of all roles share: base.sh and seal.sh,
// which a role's bake.sh sources, and rootfs/, files at their paths in the
// image.
func Common() fs.FS { return common }

// Template returns template/build.pkr.hcl, the build of every image, and a
// folder for each builder with its source, its plugin and how to bake with
// it.
func Template() fs.FS { return template }

// Images is the script that bakes the images of all roles side by side. It
// lies beside the roles' folders.
func Images() []byte { return images }
