package cloudinit

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"pgha-gen/internal/testkit"
)

// sample has every form that a file can take.
func sample() []File {
	return []File{
		{Path: "/etc/demo/demo.env", Data: []byte("NAME=demo\nPEERS=a,b\n")},
		{Path: "/etc/demo/secret refs.json", Data: []byte("{\n\t\"id\": \"e6q\"\n}\n")},
		{Path: "/etc/demo/reference.cfg", Data: []byte("server \"${NODE_NAME}\"\n")},
		{Path: "/etc/demo/binary", Data: []byte{0, 0xff, '\n'}},
		{Path: "/etc/demo/empty"},
		{Path: "/etc/demo/blank-first", Data: []byte("\n# c\n")},
		{Path: "/etc/demo/unended", Data: []byte("yes")},
	}
}

func TestUserData(t *testing.T) {
	tests := []struct {
		name, reason string
		files        []File
	}{
		{"files", "people read it: text stays text", sample()},
		{"none", "nobody logs in, even if there is nothing to write", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := UserData(test.files)
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
		Files []struct{ Path, Encoding, Content string } `yaml:"write_files"`
	}
	testkit.OK(t, yaml.Unmarshal(userData, &doc))
	var files []File
	for _, f := range doc.Files {
		file := File{Path: f.Path, Data: []byte(f.Content)}
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
	for _, file := range sample() {
		f.Add(file.Path, file.Data)
	}
	f.Add("/a$b", []byte("\n x\n"))
	f.Fuzz(func(t *testing.T, path string, data []byte) {
		want := File{Path: path, Data: data}
		got, err := UserData([]File{want})
		if err != nil {
			return
		}
		if bytes.Contains(got, []byte("$")) {
			t.Fatalf("holds a dollar: %q", got)
		}
		files := filesIn(t, got)
		if len(files) != 1 || files[0].Path != path || !bytes.Equal(files[0].Data, data) {
			t.Errorf("%q is read as %v, want %v", got, files, want)
		}
	})
}

func TestUserDataRefused(t *testing.T) {
	ok := File{Path: "/etc/a"}
	tests := []struct {
		name, reason string
		files        []File
		want         []string
	}{
		{"relative", "relative to what", []File{{Path: "etc/a"}}, []string{`file "etc/a": not the path of a file`}},
		{"empty path", "no file", []File{{}}, []string{`file "": not the path`}},
		{"root", "a folder", []File{{Path: "/"}}, []string{`file "/": not the path`}},
		{"not clean", "two names for one file", []File{{Path: "/etc/../a"}}, []string{`file "/etc/../a": not the path`}},
		{"folder", "a slash at the end", []File{{Path: "/etc/"}}, []string{`file "/etc/": not the path`}},
		{"dollar in a path", "the command-line tool would replace it", []File{{Path: "/etc/$a"}}, []string{`file "/etc/$a": cannot write a path with a '$'`}},
		{"line break in a path", "a mistake", []File{{Path: "/etc/a\n"}}, []string{`file "/etc/a\n": cannot write a path`}},
		{"path not UTF-8", "not text", []File{{Path: "/\xff"}}, []string{`file "/\xff": cannot write a path`}},
		{"twice", "the second would win unseen", []File{ok, ok}, []string{`file "/etc/a": given twice`}},
		{"file and folder", "cloud-init would stop there", []File{ok, {Path: "/etc/a/b"}}, []string{`file "/etc/a/b": "/etc/a" is given too`}},
		{"folder and file", "the same, in the other order", []File{{Path: "/etc/a/b"}, ok}, []string{`file "/etc/a": "/etc/a/b" is given too`}},
		{"too large", "one metadata value cannot hold it", []File{{Path: "/etc/a", Data: bytes.Repeat([]byte("x"), Limit)}}, []string{"user-data has 262", "want at most 262144"}},
		{"all problems", "people mend them at once", []File{{Path: "a"}, {Path: "/b/"}}, []string{`file "a": not the path`, `file "/b/": not the path`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := UserData(test.files)
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

func TestDigest(t *testing.T) {
	const want = "a1b0542e7cce032c" // printf '#cloud-config' | sha256sum; step.py has the same
	for _, text := range []string{"#cloud-config", "#cloud-config\n", "#cloud-config\n\n"} {
		if got := Digest([]byte(text)); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	if Digest([]byte("#cloud-config ")) == want {
		t.Error("another text has the same digest")
	}
}
