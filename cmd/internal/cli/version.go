package cli

import (
	"runtime"
	"runtime/debug"
)

// version is what this program was built from, as far as Go wrote it down: the
// module's version, else the commit, else that it is unknown; and by which Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown, " + runtime.Version()
	}
	return describe(info) + ", " + info.GoVersion
}

func describe(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	commit := settings["vcs.revision"]
	switch {
	case commit == "":
		return "unknown"
	case settings["vcs.modified"] == "true":
		return commit + " with changes"
	}
	return commit
}
