package generator_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// TestPyYAML lets the reader of cloud-init and Patroni read every YAML that is
// written for the example, and the files within user-data: it must find there
// what Go's reader finds.
func TestPyYAML(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import yaml").Run(); err != nil {
		testkit.Missing(t, "%s has no PyYAML", python)
	}
	files := demo.Files(t, demo.Read(t, reference()))
	documents := map[string]string{}
	for name, file := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		documents[name] = string(file.Data)
		var userData struct {
			Files []struct{ Path, Content string } `yaml:"write_files"`
		}
		testkit.OK(t, yaml.Unmarshal(file.Data, &userData))
		for _, f := range userData.Files {
			if strings.HasSuffix(f.Path, ".yml") {
				documents[name+":"+f.Path] = f.Content
			}
		}
	}
	if len(documents) < 5 {
		t.Fatalf("%d documents: three of user-data, the spec as understood, Patroni's configuration", len(documents))
	}
	input, err := json.Marshal(documents)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", "import json, sys, yaml\n"+
		"json.dump({n: yaml.safe_load(t) for n, t in json.load(sys.stdin).items()}, sys.stdout)")
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs map[string]any
	testkit.OK(t, json.Unmarshal(out, &theirs))
	for name, text := range documents {
		var value, ours any
		testkit.OK(t, yaml.Unmarshal([]byte(text), &value))
		// Through JSON, so that numbers have one type.
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		testkit.OK(t, json.Unmarshal(data, &ours))
		if diff := cmp.Diff(ours, theirs[name]); diff != "" {
			t.Errorf("%s (-Go +PyYAML):\n%s", name, diff)
		}
	}
}
