package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// bill is as much of CycloneDX as we write.
type bill struct {
	Format     string `json:"bomFormat"`
	Components []struct {
		Type    string `json:"type"`
		Name    string `json:"name"`
		Version string `json:"version"`
		Hashes  []struct {
			Algorithm string `json:"alg"`
			Content   string `json:"content"`
		} `json:"hashes"`
		Evidence struct {
			Occurrences []struct {
				Location string `json:"location"`
			} `json:"occurrences"`
		} `json:"evidence"`
	} `json:"components"`
}

func parseBill(data []byte) (*bill, error) {
	var b bill
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, err
	}
	if b.Format != "CycloneDX" {
		return nil, fmt.Errorf("its bomFormat is %q (want %q)", b.Format, "CycloneDX")
	}
	return &b, nil
}

// checkBill holds the files of the image against its bill of materials, and
// that against the manifest.
func checkBill(f *findings, root *os.Root, m *Manifest) {
	data, err := readFile(root, billPath)
	if err != nil {
		f.wrong("its bill of materials cannot be read: %v (bake it again)", cause(err))
		return
	}
	b, err := parseBill(data)
	if err != nil {
		f.wrong("its bill of materials, /%s, cannot be read: %v (bake it again)", billPath, err)
		return
	}
	files := map[string]string{}
	packages := map[Component]bool{}
	for _, c := range b.Components {
		if c.Type == "library" {
			packages[Component{Name: c.Name, Version: c.Version}] = true
		}
		for _, o := range c.Evidence.Occurrences {
			sum := ""
			for _, h := range c.Hashes {
				if h.Algorithm == "SHA-256" {
					sum = h.Content
				}
			}
			name := strings.TrimPrefix(o.Location, "/")
			files[name] = sum
			found, err := hash(root, name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				f.wrong("it has no %q, which its bill of materials lists (bake it again)", o.Location)
			case err != nil:
				f.wrong("its %q cannot be read: %v", o.Location, cause(err))
			case found != sum:
				f.wrong("its %q has sha256 %s, and its bill of materials says %q (somebody has changed it: bake it again)", o.Location, found, sum)
			}
		}
	}
	if _, ok := files[readyPath]; !ok {
		f.wrong("its bill of materials does not list /%s (bake it again)", readyPath)
	}
	for _, c := range m.Packages {
		if !packages[Component{Name: c.Name, Version: c.Version}] {
			f.wrong("its bill of materials does not list package %q %q, which its manifest has (bake it again)", c.Name, c.Version)
		}
	}
	// What was put there since: dpkg's own list.
	status, err := readFile(root, "var/lib/dpkg/status")
	if err != nil {
		f.wrong("its list of packages cannot be read: %v", cause(err))
		return
	}
	listed := map[Component]bool{}
	for _, c := range m.Packages {
		listed[c] = true
	}
	for _, c := range installed(status) {
		if !listed[c] {
			f.wrong("it has package %q %q, which its manifest does not list (somebody has changed it: bake it again)", c.Name, c.Version)
		}
	}
}

// installed are the packages of dpkg's status file that are there.
func installed(status []byte) []Component {
	var all []Component
	for paragraph := range bytes.SplitSeq(status, []byte("\n\n")) {
		var c Component
		there := false
		for line := range strings.Lines(string(paragraph)) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch key {
			case "Package":
				c.Name = value
			case "Version":
				c.Version = value
			case "Status":
				there = strings.HasSuffix(value, " installed")
			}
		}
		if there && c.Name != "" {
			all = append(all, c)
		}
	}
	return all
}

func hash(root *os.Root, name string) (string, error) {
	file, err := open(root, name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
