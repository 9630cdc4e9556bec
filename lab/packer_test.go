//go:build linux

package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgha-gen/generator"
	"pgha-gen/lab/image"
	"pgha-gen/lab/labtest"
)

// TestPackerRefuses: a bake that refuses ends Packer with a status, its sentence
// is in the error, and there is no image. TestImages judges the bakes that go well.
func TestPackerRefuses(t *testing.T) {
	labtest.Need(t, "packer")
	b := newBakery(t)
	files, err := generator.Generate(b.cluster)
	if err != nil {
		t.Fatal(err)
	}
	dir := labtest.State(t)
	out := filepath.Join(dir, "out")
	if err := files.Write(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	zeros := strings.Repeat("0", 64)
	recipe := filepath.Join(out, "packer/etcd")
	cache := image.Cache{Dir: filepath.Join(dir, "cache")}

	forge(t, filepath.Join(recipe, "image.auto.pkrvars.json"), map[string]any{
		"ETCD_URL": b.archive, "ETCD_MIRROR": "", "ETCD_SHA256": zeros})
	began := time.Now()
	var said bytes.Buffer
	_, err = cache.Packer(t.Context(), b.base, recipe, &said)
	want := regexp.MustCompile(`packer: exit status [1-9]\d*: bake: there is no etcd to install: ` +
		regexp.QuoteMeta(b.archive) + ` has sha256 [0-9a-f]{64}, but ` + zeros + ` is expected$`)
	if err == nil || !want.MatchString(err.Error()) {
		t.Errorf("have %v, want an error that ends in %s; Packer says:\n%s", err, want, end(said.String()))
	}
	t.Logf("%v", time.Since(began).Round(100*time.Millisecond))
	onlyLock(t, cache, "a bake that refused")

	ctx, cancel := context.WithCancel(t.Context())
	began = time.Now()
	_, err = cache.Packer(ctx, b.base, recipe, stopper{"bake: install", cancel})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: have error %v, want %v", err, context.Canceled)
	}
	if took := time.Since(began); took > labtest.Here(30*time.Second) {
		t.Errorf("an interrupted bake took %v", took)
	}
	onlyLock(t, cache, "a bake that was interrupted")
}

// forge changes what a recipe tells its bake.sh.
func forge(t *testing.T, file string, changes map[string]any) {
	t.Helper()
	var values map[string]any
	if err := json.Unmarshal([]byte(read(t, file)), &values); err != nil {
		t.Fatal(err)
	}
	maps.Copy(values["environment"].(map[string]any), changes)
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, data)
}

func onlyLock(t *testing.T, cache image.Cache, what string) {
	t.Helper()
	left, err := os.ReadDir(cache.Dir)
	if err != nil || len(left) != 1 || left[0].Name() != "lock" {
		t.Errorf("%s leaves %v (%v), want the lock alone", what, left, err)
	}
}

// stopper calls stop once it is told this word.
type stopper struct {
	word string
	stop func()
}

func (s stopper) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(s.word)) {
		s.stop()
	}
	return len(p), nil
}
