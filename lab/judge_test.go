//go:build linux

package lab_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"pgha-gen/generator/tree"
	"pgha-gen/internal/demo"
	"pgha-gen/lab"
	"pgha-gen/lab/labtest"
	"pgha-gen/roles/patroni/catalogue"
	"pgha-gen/roles/patroni/catalogue/cataloguetest"
)

// The consumers of what we write judge it, in the images that it is for: each
// image is baked, and its own programs read the files that a machine of the
// role would get.

// baked is the example as generated for the lab, and images of some of its roles.
type baked struct {
	files  tree.Tree
	images map[string]string
}

// bake makes the images of these roles; with none named, of all.
func bake(t *testing.T, ctx context.Context, roles ...string) baked {
	t.Helper()
	if len(roles) == 0 {
		roles = []string{"etcd", "patroni", "haproxy"}
	}
	labtest.Need(t, "mmdebstrap", "systemd-nspawn", "ip", "losetup", "nsenter")
	c := demo.Cluster(t)
	baker := lab.Baker{Cache: labtest.Cache, Program: "etcd", Now: time.Now, Log: bakeLog(t)}
	archive, err := baker.Adapt(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	files := demo.Files(t, c)
	images, err := baker.Images(ctx, files, archive, roles)
	if err != nil {
		t.Fatal(err)
	}
	return baked{files, images}
}

func TestJudges(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 45*time.Second)
	defer cancel()
	b := bake(t, ctx)
	for _, role := range []string{"etcd", "patroni", "haproxy"} {
		t.Run(role, func(t *testing.T) {
			t.Logf("judged are: %s", b.in(t, ctx, role, nil, "jq", "-r",
				`[.components[] | "\(.name) \(.version)"] | join(", ")`, "/usr/lib/pgha/manifest.json"))
			t.Run("systemd-analyze verify", func(t *testing.T) {
				// By its output: the status is 0 for a misspelt key, too.
				out := b.in(t, ctx, role, nil, "sh", "-c", "systemd-analyze verify --man=no --recursive-errors=no "+
					"/usr/lib/systemd/system/pgha*.service /usr/lib/systemd/system/pgha.target "+role+".service 2>&1")
				if strings.TrimSpace(out) != "" {
					t.Errorf("systemd says:\n%s", out)
				}
			})
			t.Run("numbers of the service's user", func(t *testing.T) {
				// A data disk outlives the image: the next one must have the same.
				want := map[string]string{"etcd": "etcd 541 541", "patroni": "postgres 540 540", "haproxy": "haproxy 542 542"}[role]
				user, _, _ := strings.Cut(want, " ")
				if got := strings.TrimSpace(b.in(t, ctx, role, nil, "sh", "-c", "echo "+user+" $(id -u "+user+") $(id -g "+user+")")); got != want {
					t.Errorf("the image has %q, want %q", got, want)
				}
			})
			t.Run("systemd-analyze security", func(t *testing.T) { judgeExposure(t, b.in(t, ctx, role, nil, "sh", "-c", exposures)) })
		})
	}
	t.Run("cloud-init schema", func(t *testing.T) {
		judgeUserData(t, ctx, b)
	})
	t.Run("haproxy -c", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "ca.crt"), authorityForJudges(t))
		config := userDataFile(t, b.files["user-data/haproxy.yaml"].Data, "/etc/haproxy/haproxy.cfg")
		write(t, filepath.Join(dir, "haproxy.cfg"), config)
		write(t, filepath.Join(dir, "servers.state"), userDataFile(t, b.files["user-data/haproxy.yaml"].Data, "/etc/haproxy/servers.state"))
		// That servers start down is what we want, and a warning to HAProxy.
		out := b.in(t, ctx, "haproxy", []string{dir + ":/etc/haproxy"}, "sh", "-c",
			"mkdir -p /run/haproxy && haproxy -c -V -f /etc/haproxy/haproxy.cfg 2>&1 | grep -v 'changed from server-state'")
		if strings.Contains(out, "WARNING") || strings.Contains(out, "ALERT") {
			t.Errorf("haproxy says:\n%s", out)
		}
	})
	t.Run("Patroni's waits", func(t *testing.T) {
		// What patroni_run.py changes is there. Of another Patroni it changes nothing.
		out := b.in(t, ctx, "patroni", nil, "sh", "-c", `cd /usr/lib/pgha && PYTHONDONTWRITEBYTECODE=1 python3 -c '
import patroni_run
from patroni import postgresql, ha
from patroni.postgresql import config
print(patroni_run.shorten(ha, postgresql, config, patroni_run.read_sources(ha, postgresql, config)) or "all")'`)
		if strings.TrimSpace(out) != "all" {
			t.Errorf("this Patroni waits in other ways: it has no %q", out)
		}
	})
	t.Run("catalogue of parameters", func(t *testing.T) {
		judgeCatalogue(t, ctx, b)
	})
	t.Run("patroni --validate-config", func(t *testing.T) {
		// Against a live etcd, which it insists on. It calls "quorum" not a
		// boolean up to 4.1.4; anything else that it says is ours.
		dir := t.TempDir()
		secrets := judgeSecrets(t)
		for name, data := range secrets {
			write(t, filepath.Join(dir, name), data)
		}
		write(t, filepath.Join(dir, "config.yml"), userDataFile(t, b.files["user-data/patroni.yaml"].Data, "/etc/patroni/config.yml"))
		write(t, filepath.Join(dir, "bootstrap.yml"), userDataFile(t, b.files["user-data/patroni.yaml"].Data, "/etc/patroni/bootstrap.yml"))
		write(t, filepath.Join(dir, "etcd.env"), userDataFile(t, b.files["user-data/etcd.yaml"].Data, "/etc/etcd/etcd.env"))
		script, err := filepath.Abs("testdata/validate-patroni.sh")
		if err != nil {
			t.Fatal(err)
		}
		binds := []string{dir + ":/run/judge", script + ":/run/validate-patroni.sh",
			b.images["etcd"] + "/usr/bin/etcd:/usr/bin/etcd"}
		out := b.in(t, ctx, "patroni", binds, "sh", "/run/validate-patroni.sh")
		if strings.TrimSpace(out) != "" {
			t.Errorf("patroni says:\n%s", out)
		}
		write(t, filepath.Join(dir, "config.yml"), bytes.Replace(
			userDataFile(t, b.files["user-data/patroni.yaml"].Data, "/etc/patroni/config.yml"), []byte("/postgresql/18/bin"), []byte("/postgresql/18/nil"), 1))
		if out := b.in(t, ctx, "patroni", binds, "sh", "/run/validate-patroni.sh"); strings.TrimSpace(out) == "" {
			t.Error("patroni has nothing to say against a folder without PostgreSQL: it judges nothing here")
		}
	})
}

// exposures prints each unit of ours with what systemd thinks of its sandbox: 0
// is none at all, 10 no sandbox.
const exposures = `for unit in /usr/lib/systemd/system/pgha-*.service /etc/systemd/system/pgha.target.wants/*.service; do
		unit=$(basename "$unit" | sed 's/@\./@x./')
		echo "$unit $(systemd-analyze security --offline=true --no-pager "$unit" | sed -n 's/.*Overall exposure level[^0-9]*: *[^0-9]*\([0-9.]*\) .*/\1/p')"
	done | sort -u`

// mostExposed is what a unit may score; units that are not named, worst.
var mostExposed = map[string]float64{
	"etcd.service": 2.0, "patroni.service": 3.0, "haproxy.service": 3.0,
	"pgha-metrics.service": 2.0,
	// The mount of the data disk must be everybody's: no mount namespace.
	"pgha-disk.service": 8.5,
	// It is there to ask systemd for something.
	"pgha-boot.service": 6.0,
}

const worst = 4.5

func judgeExposure(t *testing.T, out string) {
	t.Helper()
	units := 0
	for line := range strings.Lines(out) {
		unit, score, _ := strings.Cut(strings.TrimSpace(line), " ")
		exposed, err := strconv.ParseFloat(score, 64)
		if err != nil {
			t.Errorf("%s: no score in %q", unit, line)
			continue
		}
		units++
		most, named := mostExposed[unit]
		if !named {
			most = worst
		}
		t.Logf("%s %.1f", unit, exposed)
		if exposed > most {
			t.Errorf("%s has an exposure of %.1f, want at most %.1f", unit, exposed, most)
		}
	}
	if units < 10 {
		t.Errorf("%d units, want at least 10:\n%s", units, out)
	}
}

// in runs a command in a throw-away copy of a role's image, without network,
// and gives what it says on standard output.
func (b baked) in(t *testing.T, ctx context.Context, role string, binds []string, args ...string) string {
	t.Helper()
	command := []string{"-q", "--register=no", "--keep-unit", "--volatile=overlay", "--private-network", "--as-pid2", "-D", b.images[role]}
	for _, bind := range binds {
		command = append(command, "--bind-ro="+bind)
	}
	cmd := exec.CommandContext(ctx, "systemd-nspawn", append(append(command, "--"), args...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

func write(t testing.TB, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// judgeCatalogue lets the server of the image, and its folder of libraries, judge
// the catalogue of its version, and another one, which must not pass.
func judgeCatalogue(t *testing.T, ctx context.Context, b baked) {
	const major, home = 18, "/usr/lib/postgresql/18" // the example's
	c, other := catalogue.Read(major), catalogue.Read(15)
	told := b.in(t, ctx, "patroni", nil, home+"/bin/postgres", "--describe-config")
	if wrong := cataloguetest.Described(c, told); len(wrong) > 0 {
		t.Errorf("the catalogue is not the server's (make catalogue):\n%s", strings.Join(wrong, "\n"))
	}
	if wrong := cataloguetest.Described(other, told); len(wrong) < 10 {
		t.Errorf("the catalogue of PostgreSQL 15 passes, too: nothing is judged here (%q)", wrong)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "try.sh"), []byte(cataloguetest.Try))
	write(t, filepath.Join(dir, "pairs"), []byte(cataloguetest.Pairs(c)))
	tried := b.in(t, ctx, "patroni", []string{dir + ":/run/judge"}, "sh", "/run/judge/try.sh", home+"/bin/postgres", "/run/judge/pairs")
	if wrong := cataloguetest.Tried(c, tried); len(wrong) > 0 {
		t.Errorf("the server judges values otherwise:\n%s", strings.Join(wrong, "\n"))
	}
	if wrong := cataloguetest.Tried(other, tried); len(wrong) == 0 {
		t.Error("the catalogue of PostgreSQL 15 judges values alike: nothing is judged here")
	}
	libraries := strings.Fields(b.in(t, ctx, "patroni", nil, "sh", "-c", "cd "+home+"/lib && ls *.so"))
	for _, library := range libraries {
		if !c.HasLibrary(strings.TrimSuffix(library, ".so")) {
			t.Errorf("the image has the library %s, and the catalogue lacks it", library)
		}
	}
	for _, name := range c.Preloadable() {
		if !slices.Contains(libraries, name+".so") {
			t.Errorf("the image lacks the library %s, which the catalogue has", name)
		}
	}
	controls := strings.Fields(b.in(t, ctx, "patroni", nil, "sh", "-c", "cd /usr/share/postgresql/"+strconv.Itoa(major)+"/extension && ls *.control"))
	var extensions []string
	for _, control := range controls {
		extensions = append(extensions, strings.TrimSuffix(control, ".control"))
	}
	slices.Sort(extensions)
	if diff := cmp.Diff(extensions, c.Extensions()); diff != "" {
		t.Errorf("extensions (-image +catalogue):\n%s", diff)
	}
}

// judgeUserData lets cloud-init's own checker and its JSON schema, in process,
// judge what we write, and something that both must refuse.
func judgeUserData(t *testing.T, ctx context.Context, b baked) {
	const schemaFile = "/usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json"
	schema, err := jsonschema.NewCompiler().Compile(b.images["etcd"] + schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	documents := map[string][]byte{"refused": []byte("#cloud-config\nwrite_files: [{path: /x, permissions: 640}]\n")}
	for _, role := range []string{"etcd", "patroni", "haproxy"} {
		documents[role] = b.files["user-data/"+role+".yaml"].Data
	}
	for _, golden := range []string{"files.yaml", "none.yaml"} {
		data, err := os.ReadFile("../generator/cloudinit/testdata/" + golden)
		if err != nil {
			t.Fatal(err)
		}
		documents[golden] = data
	}
	dir := t.TempDir()
	for name, data := range documents {
		var value any
		if err := yaml.Unmarshal(data, &value); err != nil {
			t.Fatal(err)
		}
		inProcess := schema.Validate(value)
		write(t, filepath.Join(dir, name), data)
		said := b.in(t, ctx, "etcd", []string{dir + ":/run/judge"}, "sh", "-c", "cloud-init schema --config-file /run/judge/"+name+" 2>&1 || :")
		valid := strings.Contains(said, "Valid schema")
		if want := name != "refused"; valid != want || (inProcess == nil) != want {
			t.Errorf("%s: want valid %v; the schema: %v; cloud-init: %s", name, want, inProcess, said)
		}
	}
}
