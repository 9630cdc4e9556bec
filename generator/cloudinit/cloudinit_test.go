package cloudinit

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"pgha-gen/internal/testkit"
)

// sample has every form that a file can take.
func sample() *Config {
	return &Config{Files: []File{
		{Path: "/etc/demo/demo.env", Mode: 0o644, Data: []byte("NAME=demo\nPEERS=a,b\n")},
		{Path: "/etc/demo/secret refs.json", Mode: 0o640, Owner: "root:demo", Data: []byte("{\n\t\"id\": \"e6q\"\n}\n")},
		{Path: "/etc/demo/reference.cfg", Mode: 0o600, Owner: "demo", Data: []byte("server \"${NODE_NAME}\"\n")},
		{Path: "/etc/demo/binary", Mode: 0o400, Data: []byte{0, 0xff, '\n'}},
		{Path: "/etc/demo/empty", Mode: 0o755},
		{Path: "/etc/demo/blank-first", Mode: 0o644, Data: []byte("\n# c\n")},
		{Path: "/etc/demo/unended", Mode: 0o644, Data: []byte("yes")},
	}}
}

func TestUserData(t *testing.T) {
	tests := []struct {
		name, reason string
		config       *Config
	}{
		{"files", "people read it: text stays text", sample()},
		{"none", "nobody logs in, even if there is nothing to write", &Config{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.config.UserData()
			if err != nil {
				t.Fatal(err)
			}
			t.Log(test.reason)
			testkit.Golden(t, test.name+".yaml", got)
		})
	}
}

// filesIn reads user-data as cloud-init does.
func filesIn(t *testing.T, userData []byte) []File {
	t.Helper()
	var doc struct {
		Files []struct{ Path, Owner, Permissions, Encoding, Content string } `yaml:"write_files"`
	}
	testkit.OK(t, yaml.Unmarshal(userData, &doc))
	var files []File
	for _, f := range doc.Files {
		file := File{Path: f.Path, Owner: f.Owner, Data: []byte(f.Content)}
		if _, err := fmt.Sscanf(f.Permissions, "%o", &file.Mode); err != nil {
			t.Fatal(err)
		}
		if f.Encoding == "b64" {
			var err error
			if file.Data, err = base64.StdEncoding.DecodeString(f.Content); err != nil {
				t.Fatal(err)
			}
		}
		files = append(files, file)
	}
	return files
}

func FuzzUserData(f *testing.F) {
	for _, file := range sample().Files {
		f.Add(file.Path, file.Owner, file.Data)
	}
	f.Add("/a$b", "$root", []byte("\n x\n"))
	f.Fuzz(func(t *testing.T, path, owner string, data []byte) {
		want := File{Path: path, Mode: 0o640, Owner: owner, Data: data}
		got, err := (&Config{Files: []File{want}}).UserData()
		if err != nil {
			return
		}
		if bytes.Contains(got, []byte("$")) {
			t.Fatalf("holds a dollar: %q", got)
		}
		files := filesIn(t, got)
		if len(files) != 1 || files[0].Path != path || files[0].Mode != 0o640 || files[0].Owner != owner || !bytes.Equal(files[0].Data, data) {
			t.Errorf("%q is read as %v, want %v", got, files, want)
		}
	})
}

func TestUserDataRefused(t *testing.T) {
	ok := File{Path: "/etc/a", Mode: 0o644}
	tests := []struct {
		name, reason string
		files        []File
		want         []string
	}{
		{"relative", "relative to what", []File{{Path: "etc/a", Mode: 0o644}}, []string{`file "etc/a": not the path of a file`}},
		{"empty path", "no file", []File{{Mode: 0o644}}, []string{`file "": not the path`}},
		{"root", "a folder", []File{{Path: "/", Mode: 0o644}}, []string{`file "/": not the path`}},
		{"not clean", "two names for one file", []File{{Path: "/etc/../a", Mode: 0o644}}, []string{`file "/etc/../a": not the path`}},
		{"folder", "a slash at the end", []File{{Path: "/etc/", Mode: 0o644}}, []string{`file "/etc/": not the path`}},
		{"dollar in a path", "the command-line tool would replace it", []File{{Path: "/etc/$a", Mode: 0o644}}, []string{`file "/etc/$a": cannot write a path with a '$'`}},
		{"line break in a path", "a mistake", []File{{Path: "/etc/a\n", Mode: 0o644}}, []string{`file "/etc/a\n": cannot write a path`}},
		{"path not UTF-8", "not text", []File{{Path: "/\xff", Mode: 0o644}}, []string{`file "/\xff": cannot write a path`}},
		{"twice", "the second would win unseen", []File{ok, ok}, []string{`file "/etc/a": given twice`}},
		{"file and folder", "cloud-init would stop there", []File{ok, {Path: "/etc/a/b", Mode: 0o644}}, []string{`file "/etc/a/b": "/etc/a" is given too`}},
		{"folder and file", "the same, in the other order", []File{{Path: "/etc/a/b", Mode: 0o644}, ok}, []string{`file "/etc/a": "/etc/a/b" is given too`}},
		{"no mode", "forgotten", []File{{Path: "/etc/a"}}, []string{`file "/etc/a": mode 0000: its owner could not read it`}},
		{"setuid", "more than permissions", []File{{Path: "/etc/a", Mode: os.ModeSetuid | 0o755}}, []string{`file "/etc/a": mode urwxr-xr-x is more than permissions`}},
		{"owner", "not a name", []File{{Path: "/etc/a", Mode: 0o644, Owner: "a b"}}, []string{`file "/etc/a": owner "a b": want user:group`}},
		{"owner with a dollar", "the command-line tool would replace it", []File{{Path: "/etc/a", Mode: 0o644, Owner: "$a"}}, []string{`owner "$a": want user:group`}},
		{"too large", "one metadata value cannot hold it", []File{{Path: "/etc/a", Mode: 0o644, Data: bytes.Repeat([]byte("x"), Limit)}}, []string{"user-data has 262", "want at most 262144"}},
		{"all problems", "people mend them at once", []File{{Path: "a", Mode: 0o644}, {Path: "/b"}}, []string{`file "a": not the path`, `file "/b": mode 0000`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := (&Config{Files: test.files}).UserData()
			if err == nil {
				t.Fatalf("got %q, want an error: %s", got, test.reason)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got error %q, want %q in it: %s", err, want, test.reason)
				}
			}
		})
	}
}
