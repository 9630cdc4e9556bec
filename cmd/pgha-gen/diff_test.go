package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/operate/operatetest"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// What docs/operations.md shows of diff is what it says, but for digests.
func TestOperationsDiff(t *testing.T) {
	text := testkit.Text(t, "../../docs/operations.md")
	a := operatetest.NewAuthority(t)
	t.Chdir(t.TempDir())
	testkit.OK(t, os.MkdirAll("secrets/demo", 0o700))
	testkit.OK(t, os.Rename(operatetest.Folder(t, a), "secrets/demo/operator"))
	m := operatetest.New(t, a)
	digest := regexp.MustCompile(`\b[0-9a-f]{16}\b`)
	say := func(args ...string) string {
		var said, warned bytes.Buffer
		if status := run(args, demo.Roles(), m.Dial, strings.NewReader(""), &said, &warned); status != 0 {
			t.Fatalf("%q: status %d\n%s", args, status, warned.String())
		}
		return digest.ReplaceAllString(said.String(), "DIGEST")
	}
	testkit.OK(t, os.WriteFile("pgha.yaml", []byte(demo.Spec(t, operatetest.Operators)), 0o600))
	say("render", "-o", "out")
	for command, edit := range map[string]string{
		"diff":           "max_connections: 300=>max_connections: 400",
		"diff --running": "",
	} {
		t.Run(command, func(t *testing.T) {
			spec := demo.Spec(t, operatetest.Operators)
			if old, fresh, ok := strings.Cut(edit, "=>"); ok {
				spec = strings.Replace(spec, old, fresh, 1)
			}
			testkit.OK(t, os.WriteFile("pgha.yaml", []byte(spec), 0o600))
			_, shown, found := strings.Cut(text, "$ pgha-gen "+command+"\n")
			shown, _, closed := strings.Cut(shown, "```\n")
			if !found || !closed {
				t.Fatal("docs/operations.md does not show it")
			}
			if diff := cmp.Diff(digest.ReplaceAllString(shown, "DIGEST"), say(strings.Fields(command)...)); diff != "" {
				t.Errorf("-docs/operations.md +got:\n%s", diff)
			}
		})
	}
}
