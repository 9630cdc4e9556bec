package docs_test

import (
	"errors"
	"go/build"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/packer"
)

// room is a line of the table of imports in architecture.md.
type room struct {
	line           string
	names, imports []string // patterns as of path.Match
}

// Every package has a line in the table of imports, imports what that line names
// and no more, and each line names only what is below it or in itself.
func TestImports(t *testing.T) {
	rooms := drawn(t)
	used := map[string]bool{}
	for name, p := range packages(t) {
		i := find(rooms, name)
		if i < 0 {
			t.Errorf("%s: no line of the table of imports is about it", name)
			continue
		}
		for _, imported := range p.Imports {
			imported, ours := strings.CutPrefix(imported, "pgha-gen/")
			if !ours {
				continue
			}
			pattern := matching(rooms[i].imports, imported)
			switch {
			case pattern == "":
				t.Errorf("%s imports %s, against %q", name, imported, rooms[i].line)
			case find(rooms, imported) < i:
				t.Errorf("%s imports %s, which is above it in the table", name, imported)
			}
			used[rooms[i].line+pattern] = true
		}
	}
	for _, r := range rooms {
		for _, pattern := range r.imports {
			if !used[r.line+pattern] {
				t.Errorf("nothing imports %s by %q", pattern, r.line)
			}
		}
	}
}

// What makes files of a spec is pure: it has no clock, environment, disk, network
// or chance.
func TestPure(t *testing.T) {
	effects := []string{"os", "os/exec", "net/http", "syscall", "crypto/rand", "math/rand", "math/rand/v2"}
	calls := regexp.MustCompile(`\b(time\.(Now|Since|Until|Sleep|After|Tick)|net\.(Dial|Listen|Lookup|Resolve)\w*)\(`)
	looked := 0
	for name, p := range packages(t) {
		if room, _, _ := strings.Cut(name, "/"); name == "generator/tree" || room != "generator" && room != "roles" && room != "packer" {
			continue
		}
		for _, imported := range p.Imports {
			if slices.Contains(effects, imported) {
				t.Errorf("%s imports %s", name, imported)
			}
		}
		for _, file := range p.GoFiles {
			looked++
			if call := calls.FindString(testkit.Text(t, filepath.Join("..", name, file))); call != "" {
				t.Errorf("%s/%s calls %s", name, file, call)
			}
		}
	}
	if looked < 50 {
		t.Errorf("looked through %d files, want more", looked)
	}
}

// The table of units has those that images have, and no others.
func TestUnits(t *testing.T) {
	_, table, _ := strings.Cut(testkit.Text(t, "architecture.md"), "| unit | does |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var told, have []string
	for _, row := range strings.Split(table, "\n")[1:] {
		for _, name := range strings.Split(strings.Split(row, "|")[1], ",") {
			told = append(told, strings.TrimSpace(name))
		}
	}
	images := []fs.FS{packer.Common()}
	for _, r := range demo.Roles() {
		images = append(images, r.Files)
	}
	for _, image := range images {
		files, err := fs.Glob(image, "rootfs/usr/lib/systemd/system/*.service*")
		if err != nil || len(files) == 0 {
			t.Fatalf("an image has no units (%v)", err)
		}
		for _, file := range files {
			have = append(have, strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".d"), ".service"))
		}
	}
	// A drop-in for several units is none, and cloud-init is the distribution's.
	have = slices.DeleteFunc(append(have, "cloud-init"), func(name string) bool { return strings.HasSuffix(name, "-") })
	slices.Sort(told)
	slices.Sort(have)
	if diff := cmp.Diff(slices.Compact(have), told); diff != "" {
		t.Errorf("(-in images +in architecture.md):\n%s", diff)
	}
}

// drawn is the table of imports in architecture.md.
func drawn(t *testing.T) []room {
	t.Helper()
	_, table, _ := strings.Cut(testkit.Text(t, "architecture.md"), "\n```imports\n")
	table, _, _ = strings.Cut(table, "```")
	var rooms []room
	for line := range strings.Lines(table) {
		names, imports, _ := strings.Cut(line, "->")
		rooms = append(rooms, room{strings.TrimSpace(line), strings.Fields(names), strings.Fields(imports)})
	}
	if len(rooms) < 10 {
		t.Fatalf("architecture.md draws %d lines of imports", len(rooms))
	}
	return rooms
}

// packages are those of this module that are not for tests, by folder.
func packages(t *testing.T) map[string]*build.Package {
	t.Helper()
	all := map[string]*build.Package{}
	system := build.Default
	system.GOOS = "linux" // some of the lab is for it alone
	forTests := regexp.MustCompile(`(^|/)internal/(demo|testkit)$|test$|^docs$`)
	err := filepath.WalkDir("..", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); dir != ".." && err == nil || slices.Contains([]string{"out", ".git", "testdata"}, d.Name()) {
			return filepath.SkipDir
		}
		name := filepath.ToSlash(strings.TrimPrefix(dir, ".."+string(filepath.Separator)))
		p, err := system.ImportDir(dir, 0)
		if none := (*build.NoGoError)(nil); errors.As(err, &none) || forTests.MatchString(name) {
			return nil
		}
		if err != nil {
			return err
		}
		all[name] = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("%d packages were found", len(all))
	}
	return all
}

// find is the line that is about a package, or -1.
func find(rooms []room, name string) int {
	return slices.IndexFunc(rooms, func(r room) bool { return matching(r.names, name) != "" })
}

// matching is the first pattern that a name matches, or "".
func matching(patterns []string, name string) string {
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok {
			return p
		}
	}
	return ""
}
