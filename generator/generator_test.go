package generator_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

func understood(t *testing.T, src []byte) string {
	t.Helper()
	text, err := generator.Effective(demo.Read(t, src))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// printSums makes the test binary print what it generates from the example.
const printSums = "PGHA_TEST_PRINT_SUMS"

// TestSameBytes generates in other processes: another time zone, language, home
// and folder, and another order of every map.
func TestSameBytes(t *testing.T) {
	if os.Getenv(printSums) != "" {
		os.Stdout.Write(demo.Files(t, demo.Read(t, []byte(os.Getenv(printSums)))).Sums())
		return
	}
	src := reference()
	want := demo.Files(t, demo.Read(t, src)).Sums()
	if len(want) == 0 {
		t.Fatal("nothing is generated")
	}
	for _, zone := range []string{"UTC", "Asia/Kamchatka", "America/St_Johns"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSameBytes$")
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"TZ=" + zone, "LANG=ru_RU.UTF-8", "HOME=" + cmd.Dir, printSums + "=" + string(src)}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(out, want) {
			t.Errorf("in %s other bytes were generated (-want +got):\n%s", zone, cmp.Diff(string(want), string(out)))
		}
	}
}

func TestNoPathOfThisMachine(t *testing.T) {
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range demo.Files(t, demo.Cluster(t)) {
		if bytes.Contains(f.Data, []byte(here)) {
			t.Errorf("%s: holds %s", name, here)
		}
	}
}

func TestGenerateFromWhatWasUnderstood(t *testing.T) {
	want := demo.Files(t, demo.Cluster(t))
	got := demo.Files(t, demo.Read(t, want["cluster.yaml"].Data))
	if diff := cmp.Diff(string(want.Sums()), string(got.Sums())); diff != "" {
		t.Errorf("cluster.yaml gives other files than the spec it was made of (-want +got):\n%s", diff)
	}
}

// TestUserDataOfTheExample holds it to what every cloud takes (16 KB), and to
// what the cloud's command leaves alone.
func TestUserDataOfTheExample(t *testing.T) {
	files := demo.Files(t, demo.Read(t, reference()))
	for _, r := range roles.All() {
		data := files["user-data/"+r.Name+".yaml"].Data
		if !bytes.HasPrefix(data, []byte("#cloud-config\n")) {
			t.Errorf("%s: got %.20q…, want a #cloud-config document", r.Name, data)
		}
		if len(data) >= 16384 {
			t.Errorf("%s: %d bytes, want less than 16384", r.Name, len(data))
		}
		if bytes.ContainsRune(data, '$') {
			t.Errorf("%s: holds a $", r.Name)
		}
	}
}

func TestTooLargeUserData(t *testing.T) {
	src := strings.Replace(demo.Spec(t), `extra: ""`, `extra: "# `+strings.Repeat("x", 300_000)+`"`, 1)
	_, err := generator.Generate(demo.Read(t, []byte(src)))
	if err == nil || !regexp.MustCompile(`^user-data of haproxy: user-data has 30\d{4} bytes: want at most 262144, the cloud's limit$`).MatchString(err.Error()) {
		t.Errorf("got %v, want a sentence on the cloud's limit", err)
	}
}

// TestReference compares the file that people read with what the roles say.
func TestReference(t *testing.T) {
	if diff := cmp.Diff(testkit.Text(t, "../docs/reference.yaml"), string(reference())); diff != "" {
		t.Errorf("docs/reference.yaml is not what the roles say; run: make render (-want +got):\n%s", diff)
	}
}

// TestOut compares the folders that people read with what the examples give.
func TestOut(t *testing.T) {
	for name, spec := range map[string]string{"demo": string(reference()), "production": testkit.Text(t, "../examples/production.yaml")} {
		fresh := filepath.Join(t.TempDir(), name)
		testkit.OK(t, demo.Files(t, demo.Read(t, spec)).Write(t.Context(), fresh))
		want, got := listing(t, fresh), listing(t, "../out/"+name)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("out/%s is not what the example gives; run: make render (-want +got):\n%s", name, diff)
		}
	}
}

// TestProduction: the example has nothing to be warned of, survives the loss of a
// zone, and all of the cloud is created for it but the zone of its name.
func TestProduction(t *testing.T) {
	c := demo.Read(t, testkit.Text(t, "../examples/production.yaml"))
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	for _, g := range c.Groups {
		in := map[string]int{}
		for _, n := range g.Nodes() {
			in[n.Zone]++
		}
		for zone, n := range in {
			if g.Plan.Bootstraps && 2*n >= len(g.Nodes()) || n == len(g.Nodes()) {
				t.Errorf("%s has %d of %d machines in zone %s", g.Name, n, len(g.Nodes()), zone)
			}
		}
	}
	p := cloud.New(c)
	if p.Network.ID != "" || p.Network.NAT == "" || len(p.SecurityGroups) != 3 || len(p.Accounts) != 2 || len(p.Secrets) != 2 || p.Balancer == nil || p.Balancer.Record == nil {
		t.Errorf("not all is created: %+v", p)
	}
	if len(p.Given) != 1 || p.Given[0].Kind != cloud.KindZone {
		t.Errorf("given: %v", p.Given)
	}
	if len(c.Access.Operators) == 0 || len(c.Access.Monitoring) == 0 {
		t.Error("nobody administers it, or nobody watches")
	}
}

func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		mode := "file "
		if info.Mode()&0o100 != 0 {
			mode = "script "
		}
		files[filepath.ToSlash(name)] = mode + string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
