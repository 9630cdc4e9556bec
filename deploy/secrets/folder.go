package secrets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pgha-gen/generator/role"
)

const (
	payloadSuffix = ".json"
	goneSuffix    = ".gone.json"
	stagedPrefix  = ".pgha-gen-"
)

// World is what a run takes from outside.
type World struct {
	UID    int // of who runs it, and nobody else's the secrets may be
	Now    time.Time
	Random io.Reader
}

// Written is what Generate did to a folder.
type Written struct {
	Dir      string
	Fresh    bool     // there was no authority yet
	Files    []string // written or, if there is nothing left to remove, removed
	Changes  []Change
	Warnings []string
	Push     []Push // what Lockbox does not have yet, as far as can be known here
	Stage    Stage  // of the replacement of the authority
	Finished bool   // it was the last step of one
	CA       string // whom all trust from now on
}

// Push is a file to give to yc lockbox secret add-version.
type Push struct {
	Role, File string
	Once       bool // to be removed then: it would fail the second time
}

// Generate makes dir hold the secrets of the cluster: the authority (ca.crt,
// ca.key), for each role its payload (<role>.json), what Lockbox is to forget
// since no machine reads it any more (<role>.gone.json), and what a person
// needs who administers the cluster (operator/). What is there stays, as
// Update and Operator have it.
//
// Files are written beside their places and then renamed, in an order in which
// a run that was interrupted can be run again. Refused are a folder and secret
// files that others can read or could have put there, damaged files, a rotation
// of nothing, a step of a rotation before its time, and a folder that people
// commit: of what render wrote, or of a git repository that does not ignore it.
// The folder above dir, where it is made too, tells git to ignore all that is in it.
func Generate(dir string, c *role.Cluster, rotate Rotation, w World) (*Written, error) {
	return generate(dir, c, rotate, w, place)
}

// Kept is what a folder that Generate wrote holds.
type Kept struct {
	CA       *CA
	Payloads map[string]Payload  // of the roles, by their names
	Gone     map[string][]string // entries that Lockbox is to forget, by role
	Operator Payload             // the files of operator/
}

// Forgotten notes that Lockbox has forgotten what it was to forget of a role.
func Forgotten(dir, role string) error {
	err := os.Remove(filepath.Join(dir, role+goneSuffix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %q: %w", filepath.Join(dir, role+goneSuffix), cause(err))
	}
	return nil
}

// Load reads what Generate wrote into dir. Refused is what Generate refuses, and
// a folder without an authority.
func Load(dir string, c *role.Cluster, w World) (*Kept, error) {
	was, err := read(dir, c, w.UID)
	if err != nil {
		return nil, err
	}
	if was.files[certificateFile] == nil {
		return nil, fmt.Errorf("%q has no %s (make the secrets first)", dir, certificateFile)
	}
	signing, err := was.signing(c, Rotation{}, w)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", dir, err)
	}
	return &Kept{signing.ca, was.payloads, was.gone, was.operator}, nil
}

type placer func(staged, target string, replace bool) error

func generate(dir string, c *role.Cluster, rotate Rotation, world World, place placer) (*Written, error) {
	unsure, err := examinePlace(dir)
	if err != nil {
		return nil, err
	}
	was, err := read(dir, c, world.UID)
	if err != nil {
		return nil, err
	}
	if rotate != (Rotation{}) && len(was.payloads) == 0 {
		return nil, fmt.Errorf("%q: there is nothing to rotate (make the secrets first, without --rotate)", dir)
	}
	signing, err := was.signing(c, rotate, world)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", dir, err)
	}
	copied, err := was.copyPassphrases(dir, c, world.UID)
	if err != nil {
		return nil, err
	}
	all, changes, err := signing.ca.Update(c, was.payloads, rotate, world.Now)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", dir, err)
	}
	operator, mine, err := signing.ca.Operator(c, all, was.operator, rotate, world.Now)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", dir, err)
	}
	changes = slices.Concat(copied, changes, mine)
	w := &Written{
		Dir:      dir,
		Fresh:    was.files[certificateFile] == nil,
		Changes:  changes,
		Warnings: slices.Concat(unsure, was.unknown, signing.warnings(withOperator(all, operator), world.Now)),
		Stage:    signing.stage,
		Finished: rotate.Finish,
		CA:       signing.ca.Certificate(),
	}
	files := signing.before
	for _, p := range c.WithSecrets() {
		name, goneName := p.Name+payloadSuffix, p.Name+goneSuffix
		data, err := all[p.Name].encode()
		if err != nil {
			return nil, err
		}
		gone := was.goneNow(p.Name, all[p.Name])
		var goneData []byte
		if len(gone) > 0 {
			if goneData, err = encodeGone(gone); err != nil {
				return nil, err
			}
			w.Push = append(w.Push, Push{p.Name, goneName, true})
		}
		// First what is gone: from the payload alone it would not be known any more.
		files = append(files, file{goneName, goneData}, file{name, data})
		if string(was.files[name]) != string(data) {
			w.Push = append(w.Push, Push{p.Name, name, false})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(operator)) {
		files = append(files, file{path.Join(operatorFolder, name), []byte(operator[name])})
	}
	files = append(files, signing.after...)
	files = slices.DeleteFunc(files, func(f file) bool { return string(was.files[f.name]) == string(f.data) })
	if err := write(dir, files, was.files, world.UID, place); err != nil {
		return nil, err
	}
	for _, f := range files {
		w.Files = append(w.Files, f.name)
	}
	return w, nil
}

type file struct {
	name string
	data []byte // none: not to be there
}

// content is a folder as it was.
type content struct {
	files    map[string][]byte // of those that are there
	payloads map[string]Payload
	operator Payload
	gone     map[string][]string
	unknown  []string // files that no role reads
}

func read(dir string, c *role.Cluster, uid int) (*content, error) {
	was := &content{map[string][]byte{}, map[string]Payload{}, Payload{}, map[string][]string{}, nil}
	switch there, err := examineFolder(dir, uid); {
	case err != nil:
		return nil, err
	case !there:
		return was, nil
	}
	names := []string{certificateFile, keyFile, nextKeyFile}
	for _, p := range c.WithSecrets() {
		names = append(names, p.Name+payloadSuffix, p.Name+goneSuffix)
	}
	for _, name := range names {
		data, err := readFile(filepath.Join(dir, name), uid, name != certificateFile)
		if err != nil {
			return nil, err
		}
		if data != nil {
			was.files[name] = data
		}
	}
	for _, p := range c.WithSecrets() {
		var err error
		name, goneName := p.Name+payloadSuffix, p.Name+goneSuffix
		if data := was.files[name]; data != nil {
			if was.payloads[p.Name], err = decodePayload(data); err != nil {
				return nil, fmt.Errorf("%q: %w", filepath.Join(dir, name), err)
			}
		}
		if data := was.files[goneName]; data != nil {
			if was.gone[p.Name], err = decodeGone(data); err != nil {
				return nil, fmt.Errorf("%q: %w", filepath.Join(dir, goneName), err)
			}
		}
	}
	if err := was.readOperator(dir, c, uid); err != nil {
		return nil, err
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", dir, cause(err))
	}
	for _, e := range there {
		if strings.HasSuffix(e.Name(), payloadSuffix) && !slices.Contains(names, e.Name()) {
			was.unknown = append(was.unknown, fmt.Sprintf("%q is read by no role of the spec (left alone)", filepath.Join(dir, e.Name())))
		}
	}
	return was, nil
}

// copyPassphrases takes what this folder lacks and another cluster's folder beside it
// has.
func (was *content) copyPassphrases(dir string, c *role.Cluster, uid int) ([]Change, error) {
	var changes []Change
	for _, g := range c.WithSecrets() {
		for _, s := range g.Plan.Secrets {
			if s.CopyOf == nil || was.payloads[g.Name][s.File] != "" {
				continue
			}
			name := filepath.Join(filepath.Dir(dir), s.CopyOf.Cluster, g.Name+payloadSuffix)
			data, err := readFile(name, uid, true)
			if err != nil {
				return nil, err
			}
			if data == nil {
				continue // said where it is missed
			}
			other, err := decodePayload(data)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", name, err)
			}
			if other[s.CopyOf.Entry] == "" {
				return nil, fmt.Errorf("%q has no entry %s, by which the backups of cluster %q are encrypted", name, s.CopyOf.Entry, s.CopyOf.Cluster)
			}
			if was.payloads[g.Name] == nil {
				was.payloads[g.Name] = Payload{}
			}
			was.payloads[g.Name][s.File] = other[s.CopyOf.Entry]
			changes = append(changes, Change{g.Name, s.File, "copied", "from cluster " + s.CopyOf.Cluster})
		}
	}
	return changes, nil
}

// readFile gives a file's content, not nil, or nil if there is no file.
func readFile(name string, uid int, private bool) ([]byte, error) {
	at, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot read %q: %w", name, cause(err))
	case at.Mode().Type() == fs.ModeSymlink:
		return nil, fmt.Errorf("%q is a link (move the file itself there)", name)
	case !at.Mode().IsRegular():
		return nil, fmt.Errorf("%q is not a file (move it away)", name)
	case private && at.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%q is open to others, mode %04o (chmod 600, and consider what is in it as known)", name, at.Mode().Perm())
	}
	if err := examineOwner(name, at, uid); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", name, cause(err))
	}
	return data, nil
}

// goneNow are the entries that Lockbox may still have and should not.
func (was *content) goneNow(role string, now Payload) []string {
	gone := map[string]bool{}
	for _, key := range was.gone[role] {
		gone[key] = true
	}
	for key := range was.payloads[role] {
		gone[key] = true
	}
	for key := range now {
		delete(gone, key)
	}
	return slices.Sorted(maps.Keys(gone))
}

func write(dir string, files []file, was map[string][]byte, uid int, place placer) (err error) {
	if err := clean(dir); err != nil {
		return err
	}
	if len(files) == 0 {
		return nil
	}
	if err := makeFolder(dir, uid); err != nil {
		return err
	}
	if slices.ContainsFunc(files, func(f file) bool { return path.Dir(f.name) == operatorFolder }) {
		if err := makeFolder(filepath.Join(dir, operatorFolder), uid); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, clean(dir)) }()
	staged := map[string]string{}
	for _, f := range files {
		if f.data == nil {
			continue
		}
		if staged[f.name], err = stage(dir, f.data); err != nil {
			return fmt.Errorf("cannot write into %q: %w", dir, cause(err))
		}
	}
	for _, f := range files {
		target := filepath.Join(dir, f.name)
		if f.data == nil {
			err = os.Remove(target)
		} else {
			err = place(staged[f.name], target, was[f.name] != nil)
		}
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%q was made by another run meanwhile (run this again)", target)
		}
		if err != nil {
			return fmt.Errorf("cannot write %q: %w (run this again)", target, cause(err))
		}
	}
	return nil
}

// place gives a staged file its name. What was not there when the folder was
// read must not be there now: it is another run's.
func place(staged, target string, replace bool) error {
	if replace {
		return os.Rename(staged, target)
	}
	return os.Link(staged, target)
}

// stage writes a file that others cannot read, under a name of its own.
func stage(dir string, data []byte) (string, error) {
	f, err := os.CreateTemp(dir, stagedPrefix+"*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return f.Name(), errors.Join(err, f.Close())
}

// clean removes what this run or an interrupted one staged.
func clean(dir string) error {
	there, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read %q: %w", dir, cause(err))
	}
	for _, e := range there {
		if !strings.HasPrefix(e.Name(), stagedPrefix) {
			continue
		}
		name := filepath.Join(dir, e.Name())
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove %q: %w", name, cause(err))
		}
	}
	return nil
}

// cause is what went wrong, without the operation and paths that os adds.
func cause(err error) error {
	var at *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &at):
		return at.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
