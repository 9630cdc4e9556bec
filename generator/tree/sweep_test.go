package tree

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgha-gen/internal/testkit"
)

func TestSweep(t *testing.T) {
	tests := []struct {
		name, reason string
		files        []string
		stays        bool
	}{
		{".pgha-gen-123", "killed while it wrote", []string{"new/README.md"}, false},
		{".pgha-gen-0", "killed before it wrote", nil, false},
		{".pgha-gen-77", "the former content may be only there", []string{"new/README.md", "old/README.md"}, true},
		{".pgha-gen-78", "the former content may be only there", []string{"old/README.md"}, true},
		{".pgha-gen-79", "somebody put a file into it", []string{"mine"}, true},
		{".pgha-gen-notes", "not a name that we give", []string{"new/README.md"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			testkit.OK(t, os.Mkdir(filepath.Join(root, test.name), 0o700))
			for _, f := range test.files {
				write(t, filepath.Join(root, test.name, f), "x")
			}
			testkit.OK(t, sample(t).Write(t.Context(), filepath.Join(root, "out")))
			want := []string{"out"}
			if test.stays {
				want = []string{test.name, "out"}
			}
			if got := names(t, root); !slices.Equal(got, want) {
				t.Errorf("there are %q, want %q: %s", got, want, test.reason)
			}
		})
	}
}

// TestWriteWaits holds the lock as another writer does: what it works in is no
// leftover while it is there.
func TestWriteWaits(t *testing.T) {
	root := t.TempDir()
	unlock, err := lock(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, ".pgha-gen-1", "new", "f"), "x")
	done := make(chan error, 1)
	go func() { done <- sample(t).Write(t.Context(), filepath.Join(root, "out")) }()
	select {
	case err := <-done:
		t.Fatalf("it did not wait (%v)", err)
	case <-time.After(100 * time.Millisecond):
	}
	if _, err := os.Stat(filepath.Join(root, ".pgha-gen-1", "new", "f")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sample(t).Write(ctx, filepath.Join(root, "other")); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want that it was interrupted while it waited", err)
	}
	unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
