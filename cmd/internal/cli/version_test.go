package cli

import (
	"runtime/debug"
	"testing"
)

func TestDescribe(t *testing.T) {
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "0123abcd"}
	tests := []struct {
		name, version string
		settings      []debug.BuildSetting
		want          string
	}{
		{"a release", "v1.2.3", []debug.BuildSetting{commit}, "v1.2.3"},
		{"a commit, by a Go that gives no version", "(devel)", []debug.BuildSetting{commit}, "0123abcd"},
		{"and changes", "(devel)", []debug.BuildSetting{commit, {Key: "vcs.modified", Value: "true"}}, "0123abcd with changes"},
		{"no changes", "", []debug.BuildSetting{commit, {Key: "vcs.modified", Value: "false"}}, "0123abcd"},
		{"without a repository", "(devel)", nil, "unknown"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			info := &debug.BuildInfo{Main: debug.Module{Version: test.version}, Settings: test.settings}
			if got := describe(info); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
