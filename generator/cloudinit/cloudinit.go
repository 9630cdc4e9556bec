// Package cloudinit writes the user-data of a machine: whole files, and
// nobody who could log in.
package cloudinit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"pgha-gen/generator/emit"
)

// Limit is the size of one metadata value in Yandex Cloud
// (yandex/cloud/compute/v1/instance_service.proto: "values must be 256 KB or
// less").
const Limit = 256 << 10

// File is a file that cloud-init writes, whole, at the first boot. It is
// root's, and everybody may read it: user-data holds no secrets.
type File struct {
	Path string
	Data []byte
}

// UserData returns the #cloud-config document that writes the files. There is
// no '$' in it, since the cloud's command-line tool would put the caller's
// environment there.
//
// Refused are paths that are not absolute and clean, a path given twice or
// also used as a folder, and a document that one metadata value cannot hold.
// The error lists the problems of all files.
func UserData(files []File) ([]byte, error) {
	var problems []error
	var entries []any
	for i, f := range files {
		if err := checkFile(f, files[:i]); err != nil {
			problems = append(problems, fmt.Errorf("file %q: %w", f.Path, err))
		}
		entries = append(entries, entry(f))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	doc := emit.Map{
		// An empty list, not an absent one: without the key the image's own
		// list counts, which creates the distribution's user with sudo.
		{Key: "users", Value: []any{}},
		{Key: "disable_root", Value: true},
		{Key: "ssh_pwauth", Value: false},
		// The cloud's ssh-keys would be root's otherwise.
		{Key: "allow_public_ssh_keys", Value: false},
	}
	if len(entries) > 0 {
		doc = append(doc, emit.Pair{Key: "write_files", Value: entries})
	}
	text, err := emit.YAML(doc)
	if err != nil {
		return nil, err
	}
	out := append([]byte("#cloud-config\n"), text...)
	if len(out) > Limit {
		return nil, fmt.Errorf("user-data has %d bytes: want at most %d, the cloud's limit", len(out), Limit)
	}
	return out, nil
}

// entry writes plain text as text, for people to read, and the rest in
// base64.
func entry(f File) emit.Map {
	m := emit.Map{{Key: "path", Value: f.Path}, {Key: "permissions", Value: "0644"}}
	if isPlain(f.Data) {
		return append(m, emit.Pair{Key: "content", Value: string(f.Data)})
	}
	return append(m,
		emit.Pair{Key: "encoding", Value: "b64"},
		emit.Pair{Key: "content", Value: base64.StdEncoding.EncodeToString(f.Data)})
}

func isPlain(data []byte) bool {
	return utf8.Valid(data) && bytes.IndexFunc(data, func(r rune) bool {
		return r == '$' || r != '\n' && r != '\t' && !unicode.IsPrint(r)
	}) < 0
}

func checkFile(f File, before []File) error {
	switch {
	case !strings.HasPrefix(f.Path, "/") || path.Clean(f.Path) != f.Path || f.Path == "/":
		return errors.New(`not the path of a file: want an absolute one without "..", "//" and "/" at the end`)
	case !isPlain([]byte(f.Path)) || strings.ContainsAny(f.Path, "\n\t"):
		return errors.New("cannot write a path with a '$' or a character that does not print")
	}
	for _, other := range before {
		switch {
		case other.Path == f.Path:
			return errors.New("given twice")
		case strings.HasPrefix(f.Path, other.Path+"/"), strings.HasPrefix(other.Path, f.Path+"/"):
			return fmt.Errorf("%q is given too: one of them would be file and folder at once", other.Path)
		}
	}
	return nil
}

// Digest is what user-data is known by: a machine's status has that of the
// one in force. The cloud may keep or drop line breaks at the end.
func Digest(userData []byte) string {
	sum := sha256.Sum256(bytes.TrimRight(userData, "\n"))
	return hex.EncodeToString(sum[:8])
}
