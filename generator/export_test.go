package generator

import (
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Decode is the part of Read that looks at shapes.
func Decode(doc *specfile.Document, roles []*role.Role) {
	decodeRoles(doc, decodeCommon(doc), roles)
}

// UserFiles are the files that user-data writes.
var UserFiles = userFiles

// EffectsLists are those of a role's image.
var EffectsLists = effectsLists

// Document is a spec with every default, as a value.
var Document = document

// Mix lays of a new version of a spec over an old one what is chosen.
var Mix = mix
