package packer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

// step writes a boot step of these lines, which has step.sh's functions.
func step(m *packertest.Machine, lines string) {
	m.Write(m.Lib+"/try.sh", "set -eu\n. \"$PGHA_LIB/step.sh\"\n"+lines+"\n")
}

func TestReadValues(t *testing.T) {
	tests := []struct {
		name, reason, file string
		want               string // of PGHA_A; with "refused: ", the line
	}{
		{"plain", "what emit.Env writes without quotes", "PGHA_A=demo-1a2b\n", "demo-1a2b"},
		{"quoted", "what it writes with them", "PGHA_A='etcd>=3.5.0 etcd<3.6.0'\n", "etcd>=3.5.0 etcd<3.6.0"},
		{"every character", "of versions, lists, addresses, units", "PGHA_A=aZ0_./:,@%+=<>~-\n", "aZ0_./:,@%+=<>~-"},
		{"empty", "a role without something", "PGHA_A=\n", ""},
		{"empty in quotes", "the same", "PGHA_A=''\n", ""},
		{"equals sign", "the first one ends the name", "PGHA_A=demo-etcd-1=https://10.0.0.1:2380,x=y\n", "demo-etcd-1=https://10.0.0.1:2380,x=y"},
		{"last wins", "as for a shell", "PGHA_A=1\nPGHA_A=2\n", "2"},
		{"no line feed", "a file may end with its last character", "PGHA_A=1", "1"},
		{"blanks at the ends", "they are part of a quoted value", "PGHA_A=' x '\n", " x "},
		{"others", "lines that nobody asks for are nobody's business", "# a comment\n\nOTHER=$(touch hurt)\nPGHA_A=1\n", "1"},

		{"command", "nothing is run", "PGHA_A=$(touch hurt)\n", "refused: PGHA_A=$(touch hurt)"},
		{"command in quotes", "nor there", "PGHA_A='$(touch hurt)'\n", "refused: PGHA_A='$(touch hurt)'"},
		{"backticks", "nor so", "PGHA_A=`touch hurt`\n", "refused: PGHA_A=`touch hurt`"},
		{"second command", "nor so", "PGHA_A=1;touch hurt\n", "refused: PGHA_A=1;touch hurt"},
		{"end of the document", "nor behind what the reader itself uses", "PGHA_A=END\nEND\ntouch hurt\n", "END"},
		{"variable", "nothing is looked up", "PGHA_A=$PATH\n", "refused: PGHA_A=$PATH"},
		{"double quotes", "nobody takes them off", "PGHA_A=\"x\"\n", "refused: PGHA_A=\"x\""},
		{"quote within quotes", "the value would end there for others", "PGHA_A='x'y'\n", "refused: PGHA_A='x'y'"},
		{"one quote", "the value would go on for others", "PGHA_A='x\n", "refused: PGHA_A='x"},
		{"lonely quote", "it opens and closes nothing", "PGHA_A='\n", "refused: PGHA_A='"},
		{"blank without quotes", "for a shell, x would be a command", "PGHA_A=1 x\n", "refused: PGHA_A=1 x"},
		{"blank at the end", "the same, and not to be seen", "PGHA_A=1 \n", "refused: PGHA_A=1 "},
		{"tab", "not even in quotes", "PGHA_A='1\tx'\n", "refused: PGHA_A='1\tx'"},
		{"carriage return", "an editor's line end", "PGHA_A=1\r\n", "refused: PGHA_A=1\r"},
		{"backslash", "readers differ in what it means", "PGHA_A=a\\nb\n", "refused: PGHA_A=a\\nb"},
		{"star", "a word that names files", "PGHA_A=*\n", "refused: PGHA_A=*"},
		{"non-ASCII", "bytes that are letters here and none there", "PGHA_A=ä\n", "refused: PGHA_A=ä"},
		{"no value", "a name alone", "PGHA_A\n", "refused: PGHA_A"},
		{"lower case", "a shell's own variables", "PGHA_a=1\n", "refused: PGHA_a=1"},
		{"dash in the name", "no variable has one", "PGHA_A-B=1\n", "refused: PGHA_A-B=1"},
		{"element", "nor this", "PGHA_A[$(touch hurt)]=1\n", "refused: PGHA_A[$(touch hurt)]=1"},
		{"library", "where root's programs are is not said by a file", "PGHA_LIB=/tmp\n", "refused: PGHA_LIB=/tmp"},
		{"run", "nor where its files are", "PGHA_RUN=/tmp\n", "refused: PGHA_RUN=/tmp"},
		{"etc", "nor these", "PGHA_ETC=/tmp\n", "refused: PGHA_ETC=/tmp"},
		{"state", "nor what it remembers", "PGHA_STATE=/tmp\n", "refused: PGHA_STATE=/tmp"},
		{"console", "nor where it writes", "PGHA_CONSOLE=/tmp/x\n", "refused: PGHA_CONSOLE=/tmp/x"},
		{"uptime", "nor where its clock is", "PGHA_UPTIME=/etc/shadow\n", "refused: PGHA_UPTIME=/etc/shadow"},
	}
	for _, tc := range tests {
		t.Run("python/"+tc.name, func(t *testing.T) {
			testkit.Need(t, "python3")
			file := filepath.Join(t.TempDir(), "values")
			testkit.OK(t, os.WriteFile(file, []byte(tc.file), 0o644))
			cmd := exec.Command("python3", "-c", `import sys, step
try:
    print(step.read_values(sys.argv[1], "PGHA_")["PGHA_A"], end="")
except ValueError:
    print("refused", end="")`, file)
			cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+scripts, "LC_ALL=C")
			out, err := cmd.CombinedOutput()
			want, _, _ := strings.Cut(tc.want, ":") // never the line itself: it may be a secret
			if !strings.HasPrefix(tc.want, "refused: ") {
				want = tc.want
			}
			if string(out) != want || err != nil {
				t.Errorf("%s: got %q, %v, want %q", tc.reason, out, err, want)
			}
		})
	}
	for _, locale := range []string{"C", "C.UTF-8"} {
		for _, tc := range tests {
			t.Run(locale+"/"+tc.name, func(t *testing.T) {
				m := packertest.New(t, scripts)
				m.Env = append(m.Env, "LC_ALL="+locale)
				m.Write(m.Etc+"/values", tc.file)
				step(m, `if read_values "$PGHA_ETC/values" 'PGHA_*'; then printf %s "$PGHA_A"; else printf 'refused: %s' "$values_line"; fi`)
				got := m.Boot("try.sh")
				if diff := cmp.Diff(tc.want, got.Output); diff != "" || got.Status != 0 {
					t.Errorf("%s: status %d (-want +got):\n%s", tc.reason, got.Status, diff)
				}
			})
		}
	}
}

// Only what is asked for is set, whatever else a file has.
func TestReadValuesWanted(t *testing.T) {
	m := packertest.New(t, scripts)
	m.Write(m.Etc+"/values", "PATH=/tmp\nIFS=x\nNODE_NAME=evil\nETCD_DATA_DIR=/var/lib/etcd\nETCD_DATA_DIRECTORY=/tmp\n")
	step(m, `read_values "$PGHA_ETC/values" ETCD_DATA_DIR ETCD_INITIAL_CLUSTER
printf '%s %s %s %s' "$ETCD_DATA_DIR" "${PATH##*:}" "${NODE_NAME-none}" "${ETCD_DATA_DIRECTORY-none}"`)
	if got := m.Boot("try.sh"); got.Output != "/var/lib/etcd /bin none none" {
		t.Errorf("got %q", got.Output)
	}
}

// The files of a machine, with a command in them: each step says which line it
// is, and the command is not run.
func TestHostileFiles(t *testing.T) {
	tests := []struct {
		script, file, line, want string
	}{
		{"contract.sh", "cluster", "PGHA_REQUIRES=$(touch hurt)", "- contract fail ETC/cluster.env has the line \"LINE\", which is no plain NAME=value: render user-data again\n"},
		{"identity.sh", "cluster", "PGHA_NODES='`touch hurt`'", "- identity fail ETC/cluster.env has the line \"LINE\", which is no plain NAME=value: render user-data again\n"},
		{"disk.sh", "cluster", "PGHA_DATA_DEVICE=x;touch hurt", "- disk fail ETC/cluster.env has the line \"LINE\", which is no plain NAME=value: render user-data again\n"},
		{"disk.sh", "identity", "NODE_ZONE=$(touch hurt)", "demo-etcd-1 disk fail RUN/identity.env has the line \"LINE\", which pgha-identity did not write\n"},
		{"secrets.sh", "identity", "NODE_ZONE=`touch hurt`", "demo-etcd-1 secrets fail RUN/identity.env has the line \"LINE\", which pgha-identity did not write\n"},
		{"ready.sh", "identity", "NODE_ZONE='a' touch hurt", "demo-etcd-1 ready fail RUN/identity.env has the line \"LINE\", which pgha-identity did not write\n"},
	}
	for _, tc := range tests {
		t.Run(tc.script+"/"+tc.file, func(t *testing.T) {
			m := packertest.New(t, scripts)
			m.Identity()
			if tc.file == "cluster" {
				m.Cluster(tc.line)
			} else {
				m.Cluster()
				m.Write(m.Run+"/identity.env", m.Read(m.Run+"/identity.env")+tc.line+"\n")
			}
			got := m.Boot(tc.script)
			want := strings.NewReplacer("ETC", m.Etc, "RUN", m.Run, "LINE", tc.line).Replace(tc.want)
			if diff := cmp.Diff(want, got.Console); diff != "" || got.Status != 1 {
				t.Errorf("status %d, console (-want +got):\n%s\n%s", got.Status, diff, got.Output)
			}
		})
	}
}

func TestSay(t *testing.T) {
	long := strings.Repeat("x", 500)
	tests := []struct {
		name, reason, lines, console string
	}{
		{"plain", "as it is said", "say try ok 'all is well: 100 %'", "- try ok all is well: 100 %\n"},
		{"control characters", "a terminal reads the console, and a line is one line", `say try ok "$(printf 'a\033[2Jb\nc\td\001\177e')"`, "- try ok a [2Jb c d e\n"},
		{"long", "a line of the console has a length", "say try ok " + long, "- try ok " + long[:400] + "\n"},
		{"long, with control characters", "both", "say try ok \"$(printf '\\n')\t" + long + "\"", "- try ok  " + long[:399] + "\n"},
		{"the same wait", "said once", "say try wait there; say try wait there", "- try wait there\n"},
		{"the same wait, later", "said again after a time", "say try wait there; again=0; say try wait there", "- try wait there\n- try wait there\n"},
		{"another wait", "said at once", "say try wait there; say try wait here", "- try wait there\n- try wait here\n"},
		{"the same end", "an end is always said", "say try ok there; say try ok there", "- try ok there\n- try ok there\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, scripts)
			step(m, tc.lines)
			got := m.Boot("try.sh")
			if diff := cmp.Diff(tc.console, got.Console); diff != "" || got.Status != 0 {
				t.Errorf("%s: status %d, console (-want +got):\n%s\n%s", tc.reason, got.Status, diff, got.Output)
			}
			words := strings.SplitN(strings.TrimRight(tc.console[strings.LastIndex(strings.TrimRight(tc.console, "\n"), "\n")+1:], "\n"), " ", 3)
			if kept := m.Read(m.Run + "/steps/try"); !strings.HasSuffix(kept, " "+words[2]+"\n") {
				t.Errorf("%s: the machine's status has %q, want %q", tc.reason, kept, words[2])
			}
		})
	}
}

func TestMayFound(t *testing.T) {
	const attribute = "instance/attributes/pgha-bootstrap"
	tests := []struct {
		name, reason string
		metadata     map[string]string // nil: no service
		served       bool
		want         string
	}{
		{"told", "who made the machine says so", map[string]string{attribute: "demo-1a2b3c4d"}, false, "yes"},
		{"not told", "silence is no permission", map[string]string{}, false, "metadata has no pgha-bootstrap that would permit a new cluster"},
		{"empty", "nor is an empty word", map[string]string{attribute: ""}, false, "metadata has no pgha-bootstrap that would permit a new cluster"},
		{"another cluster", "it was copied from another machine", map[string]string{attribute: "prod-99999999"}, false, "pgha-bootstrap permits cluster prod-99999999, not demo-1a2b3c4d"},
		{"longer", "the whole word counts", map[string]string{attribute: "demo-1a2b3c4d2"}, false, "pgha-bootstrap permits cluster demo-1a2b3c4d2, not demo-1a2b3c4d"},
		{"down", "no answer is no permission", nil, false, "metadata at META does not answer"},
		{"refused", "nor is an error", map[string]string{attribute: "HTTP 503"}, false, "metadata at META does not answer"},
		{"served", "a machine that has served never bootstraps, told or not", map[string]string{attribute: "demo-1a2b3c4d"}, true, "this machine has served in the cluster before, so it never bootstraps one"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, scripts)
			m.Cluster()
			if tc.metadata != nil {
				m.Serve(tc.metadata)
			} else {
				m.Env = append(m.Env, "PGHA_METADATA="+packertest.Nowhere)
			}
			remember := ""
			if tc.served {
				remember = "remember_service; remember_service; "
			}
			step(m, "read_cluster try; "+remember+`if may_bootstrap; then printf yes; else printf %s "$reason"; fi`)
			want := strings.ReplaceAll(tc.want, "META", strings.TrimPrefix(m.Env[0], "PGHA_METADATA="))
			if got := m.Boot("try.sh"); got.Output != want || got.Status != 0 {
				t.Errorf("%s: status %d, got %q, want %q", tc.reason, got.Status, got.Output, want)
			}
		})
	}
}

func TestAsService(t *testing.T) {
	testkit.Root(t)
	packertest.LookUp(t, "nobody")
	m := packertest.New(t, scripts)
	m.Cluster("PGHA_SERVICE_USER=nobody")
	step(m, "read_cluster try; as_service id -un; as_service id -G; as_service sh -c 'exit 3' || echo $?")
	if got := m.Boot("try.sh"); !regexp.MustCompile(`^nobody\n\d+\n3\n$`).MatchString(got.Output) {
		t.Errorf("got %q, want nobody, its one group, and the command's own status", got.Output)
	}
}

func TestFailed(t *testing.T) {
	tests := []struct {
		name, reason string
		journal      string // what journalctl prints
		console      string
	}{
		{"last lines", "eight say enough, the last ones", "1 one\n1 two\n" + strings.Repeat("more\n", 7), "N etcd.service wait 1 two\n" + strings.Repeat("N etcd.service wait more\n", 7)},
		{"notices", "a service's own are no reason", "[ALERT] (7) : unknown keyword\n[NOTICE] (7) : version 3.2\n", "N etcd.service wait [ALERT] (7) : unknown keyword\n"},
		{"the protocol's own", "what is on the console already", "pgha: 1700000000000 demo-etcd-1 etcd-join ok new\nbind: address already in use\n", "N etcd.service wait bind: address already in use\n"},
		{"empty lines", "they say nothing", "one\n\n\n\n\ntwo\n", "N etcd.service wait one\nN etcd.service wait two\n"},
		{"silence", "nothing to say", "", ""},
		{"only the protocol's", "nothing new to say", "pgha: 1700000000000 demo-etcd-1 disk fail x\n", ""},
		{"a line twice", "each line is said, though the one before is young", "same\nsame\n", "N etcd.service wait same\nN etcd.service wait same\n"},
		{"control characters", "a terminal reads the console", "a\x1b[2Jb\n", "N etcd.service wait a [2Jb\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, scripts)
			m.Identity()
			m.Write(m.Etc+"/journal", tc.journal)
			m.Fake("journalctl", `case " $* " in *" _SYSTEMD_UNIT=etcd.service "*) cat "$PGHA_ETC/journal" ;; esac`)
			got := m.Boot("failed.sh", "etcd.service")
			if diff := cmp.Diff(strings.ReplaceAll(tc.console, "N ", "demo-etcd-1 "), got.Console); diff != "" || got.Status != 0 {
				t.Errorf("%s: status %d (-want +got):\n%s\n%s", tc.reason, got.Status, diff, got.Output)
			}
		})
	}
}

// A unit that is started every two seconds must not fill the console.
func TestFailedAgain(t *testing.T) {
	m := packertest.New(t, scripts)
	journal := func(text string) packertest.Result {
		m.Write(m.Etc+"/journal", text)
		return m.Boot("failed.sh", "etcd.service")
	}
	m.Fake("journalctl", `cat "$PGHA_ETC/journal"`)
	// Before pgha-identity has run, too.
	if got := journal("10:00:01 [77] no space left\n"); got.Console != "- etcd.service wait 10:00:01 [77] no space left\n" {
		t.Errorf("the first time: %q", got.Console)
	}
	if got := journal("10:00:03 [81] no space left\n"); got.Console != "" || got.Status != 0 {
		t.Errorf("the same but for its numbers: %q", got.Console)
	}
	if got := journal("10:00:05 [85] corrupt\n"); got.Console != "- etcd.service wait 10:00:05 [85] corrupt\n" {
		t.Errorf("another reason: %q", got.Console)
	}
	told := m.Run + "/failed.etcd.service"
	if _, err := os.Stat(told); err != nil {
		t.Fatal(err)
	}
	m.Age(told, 4)
	if got := journal("10:04:05 [99] corrupt\n"); got.Console != "" {
		t.Errorf("the same after four minutes: %q", got.Console)
	}
	m.Age(told, 6)
	if got := journal("10:06:05 [99] corrupt\n"); got.Console != "- etcd.service wait 10:06:05 [99] corrupt\n" {
		t.Errorf("the same after six minutes: %q", got.Console)
	}
	m.Write(m.Etc+"/journal", "10:06:06 [99] corrupt\n")
	// systemd starts a service again, and no boot step.
	if got := m.Boot("failed.sh", "pgha-disk.service"); got.Console != "- pgha-disk.service fail 10:06:06 [99] corrupt\n" {
		t.Errorf("a boot step: %q", got.Console)
	}
	if got := m.Boot("failed.sh", "patroni.service"); got.Console != "- patroni.service wait 10:06:06 [99] corrupt\n" {
		t.Errorf("another unit: %q", got.Console)
	}
}
