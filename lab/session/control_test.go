//go:build linux

package session

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Who asks a lab gets its answer, or a sentence; the folder's path may be longer
// than that of a socket.
func TestAsk(t *testing.T) {
	folder := Folder(filepath.Join(t.TempDir(), strings.Repeat("long/", 40)))
	if err := os.MkdirAll(string(folder), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Ask(t.Context(), Request{}); err == nil || err.Error() != "the lab takes no requests before it is up (see pgha-lab status)" {
		t.Errorf("without a lab: %v", err)
	}
	dir, err := os.Open(string(folder))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	listener, err := net.Listen("unix", folder.control(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	asked := make(chan Request, 1)
	answers := make(chan any, 1) // nil: none
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			var r Request
			json.NewDecoder(conn).Decode(&r)
			asked <- r
			if answer := <-answers; answer != nil {
				json.NewEncoder(conn).Encode(answer)
			}
			conn.Close()
		}
	}()
	for _, tt := range []struct {
		name   string
		answer any
		want   string
	}{
		{"done", Answer{New: []string{"demo-pg-4"}, Told: map[string]string{"demo-pg-1": "0123"}}, ""},
		{"refused", Answer{Refused: "demo-pg-1 is a node of the spec"}, "demo-pg-1 is a node of the spec"},
		{"died", nil, "the lab does not answer: EOF"},
		{"garbage", "x", "the lab does not answer: json: cannot unmarshal string into Go value of type session.Answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := Request{Spec: []byte("format: pgha/v1\n"), Delete: "demo-pg-4"}
			answers <- tt.answer
			got, err := folder.Ask(t.Context(), request)
			if diff := cmp.Diff(request, <-asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			switch {
			case tt.want == "":
				if diff := cmp.Diff(tt.answer, any(got)); diff != "" || err != nil {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			case err == nil || err.Error() != tt.want:
				t.Errorf("have %v, want %s", err, tt.want)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := folder.Ask(ctx, Request{Delete: "x"})
		if err == nil || !strings.Contains(err.Error(), "the lab does not answer: context deadline exceeded") {
			t.Errorf("have %v", err)
		}
		<-asked
		answers <- nil
	})
}
