package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgha-gen/internal/demo"
)

// TestClusterReadme: the README of a cluster names no command that there is not,
// and all that there are.
func TestClusterReadme(t *testing.T) {
	text := string(demo.Files(t, demo.Cluster(t, "backup:\n  bucket: demo-backup\n"))["README.md"].Data)
	var named []string
	for _, m := range regexp.MustCompile("`pgha-cloud ([^`]+)`").FindAllStringSubmatch(text, -1) {
		words := strings.Fields(m[1])
		var said bytes.Buffer
		// With a folder that is not there, nothing but the words can be wrong.
		if status := run(append(slices.Clone(words), "-f", "gone/pgha.yaml"), demo.Roles(), nil, nil, strings.NewReader(""), &said, &said); status != 1 || !strings.Contains(said.String(), "gone/pgha.yaml") {
			t.Errorf("pgha-cloud %s: status %d, %q", m[1], status, said.String())
		}
		if !slices.Contains(named, words[0]) {
			named = append(named, words[0])
		}
	}
	slices.Sort(named)
	if want := []string{"deploy", "destroy", "refresh", "replace", "roll", "secrets", "status", "validate"}; !slices.Equal(named, want) {
		t.Errorf("it names %q, want %q", named, want)
	}
}
