//go:build linux

package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/sys/unix"

	deployimage "pgha-gen/deploy/image"
	"pgha-gen/generator/recipe"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab"
	"pgha-gen/lab/image"
	"pgha-gen/lab/labtest"
)

// bakery bakes the example for the lab, in ways that the Baker does not.
type bakery struct {
	cluster *role.Cluster
	base    string                  // a root folder
	recipes map[string]image.Recipe // of each role
	archive string                  // etcd's, as a URL on loopback
}

func newBakery(t testing.TB) bakery {
	t.Helper()
	labtest.Need(t, "mmdebstrap", "systemd-nspawn")
	b := bakery{cluster: demo.Cluster(t), recipes: map[string]image.Recipe{}}
	baker := lab.Baker{Cache: labtest.Cache, Program: "etcd", Now: time.Now, Log: bakeLog(t)}
	archive, err := baker.Adapt(t.Context(), b.cluster)
	if err != nil {
		t.Fatal(err)
	}
	state := labtest.State(t)
	for _, part := range b.cluster.Groups {
		made, err := recipe.New(b.cluster, part)
		if err != nil {
			t.Fatal(err)
		}
		r := image.Recipe{Dir: filepath.Join(state, part.Name), Env: map[string]string{}}
		for _, variable := range made.Environment {
			r.Env[variable.Key] = fmt.Sprint(variable.Value)
		}
		if err := made.Files.Write(t.Context(), r.Dir); err != nil {
			t.Fatal(err)
		}
		b.recipes[part.Name] = r
	}
	if b.base, err = baker.Base(t.Context()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(archive.Path))))
	t.Cleanup(server.Close)
	b.archive = server.URL + "/" + filepath.Base(archive.Path)
	return b
}

// recipe is a role's, with changes to its environment.
func (b bakery) recipe(t testing.TB, role string, changes map[string]string) image.Recipe {
	t.Helper()
	r := b.recipes[role]
	r.Env = maps.Clone(r.Env)
	if role == "etcd" {
		r.Env["ETCD_URL"], r.Env["ETCD_MIRROR"] = b.archive, ""
	}
	for name := range changes {
		if _, ok := r.Env[name]; !ok {
			t.Fatalf("the recipe of %s has no %s to change", role, name)
		}
	}
	maps.Copy(r.Env, changes)
	return r
}

// run runs bake.sh in a container with further options, and gives its status
// and what it says.
func run(t testing.TB, ctx context.Context, root string, r image.Recipe, options ...string) (int, string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(r.Env)) {
		options = append(options, "--setenv="+name+"="+r.Env[name])
	}
	options = append(options, "--bind-ro="+r.Dir+":/tmp/recipe")
	return contain(t, ctx, root, options, "sh", "/tmp/recipe/bake.sh")
}

func contain(t testing.TB, ctx context.Context, root string, options []string, args ...string) (int, string) {
	t.Helper()
	command := append([]string{"-q", "--settings=no", "--register=no", "--keep-unit", "--as-pid2", "--console=pipe",
		"--timezone=off", "--link-journal=no", "--resolv-conf=bind-host", "-D", root}, options...)
	cmd := exec.CommandContext(ctx, "systemd-nspawn", append(append(command, "--"), args...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%v: %v %v\n%s", args, err, ctx.Err(), out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// nowhere is a URL at which nobody listens.
func nowhere(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return "http://" + l.Addr().String()
}

// TestBakeRefuses lets the real bakes meet a world that is not as it should be:
// each ends with one sentence that names the cause. What it does to a root is
// thrown away.
func TestBakeRefuses(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 20*time.Second)
	defer cancel()
	b := newBakery(t)
	images := bake(t, ctx).images

	dead := nowhere(t)
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.Write(make([]byte, 1000))
	}))
	t.Cleanup(cut.Close)
	dir := t.TempDir()
	bind := func(path, content string) string {
		file := filepath.Join(dir, filepath.Base(path)+strconv.Itoa(len(content)))
		write(t, file, []byte(content))
		return "--bind-ro=" + file + ":" + path
	}
	// Nothing of these bakes needs a package that the image does not have.
	noLists := bind("/etc/apt/sources.list", "")
	impatient := bind("/etc/apt/apt.conf.d/zz-impatient", "Acquire::Retries::Delay \"false\";\n")
	zeros := strings.Repeat("0", 64)
	tests := []struct {
		name, reason, role string
		env                map[string]string
		options            []string
		want               string
	}{
		{name: "wrong sum", reason: "the archive may be anybody's", role: "etcd",
			env: map[string]string{"ETCD_SHA256": zeros}, options: []string{noLists},
			want: `bake: there is no etcd to install: \S+ has sha256 [0-9a-f]{64}, but ` + zeros + ` is expected`},
		{name: "truncated", reason: "the download is cut short, each time", role: "etcd",
			env: map[string]string{"ETCD_URL": cut.URL + "/e.tar.gz"}, options: []string{noLists},
			want: `bake: there is no etcd to install: \S+ cannot be downloaded \(curl: \(18\) .*\)`},
		{name: "no download", reason: "neither the mirror nor the project's own place answers", role: "etcd",
			env: map[string]string{"ETCD_URL": dead + "/e.tar.gz", "ETCD_MIRROR": dead + "/m.tar.gz"}, options: []string{noLists},
			want: `bake: there is no etcd to install: \S+/e.tar.gz cannot be downloaded \(curl: \(7\) .*\)`},
		{name: "another version", reason: "the archive is good and of another release", role: "etcd",
			env: map[string]string{"ETCD_VERSION": "3.5.33"}, options: []string{noLists},
			want: `bake: the archive holds etcd 3\.5\.15, not 3\.5\.33 for x86_64: correct roles\.etcd\.artifacts`},
		{name: "disk full", reason: "the archive does not fit", role: "etcd",
			options: []string{noLists, "--tmpfs=/var/tmp:size=4m"},
			want:    `bake: cannot download \S+: the disk is full at /var/tmp/\S+; give the build machine a larger one`},
		{name: "no package mirror", reason: "nobody answers there", role: "haproxy",
			options: []string{bind("/etc/apt/sources.list", "deb "+dead+"/debian forky main\n"), impatient},
			want:    `bake: cannot refresh the package lists: a package mirror does not answer \(the lines above name it\)`},
		{name: "version gone", reason: "the mirror keeps the newest alone", role: "haproxy",
			env:  map[string]string{"HAPROXY_VERSION": "2.9.1"},
			want: `bake: there is no version 2\.9\.1 of haproxy \(any more\): the package lists have \S+.*; change the version in the spec, or bake from a mirror that keeps it`},
		{name: "no PGDG", reason: "its key is the right one, its mirror is down", role: "patroni",
			env: map[string]string{"APT_REPOSITORY": "pgdg", "APT_MIRROR": dead + "/apt"}, options: []string{noLists, impatient},
			want: `bake: cannot refresh the package lists: a package mirror does not answer \(the lines above name it\)`},
		{name: "no PostgreSQL", reason: "a version that nobody packages", role: "patroni",
			env: map[string]string{"POSTGRESQL_MAJOR": "99"}, options: []string{noLists},
			want: `bake: there is no postgresql-99 in the distribution repository of debian forky: choose another version, or the other apt_repository`},
		{name: "another system", reason: "its packages are other ones", role: "etcd",
			options: []string{bind("/usr/lib/os-release", "ID=alpine\nVERSION_ID=3.20.1\n")},
			want:    `bake: this is alpine 3\.20\.1: bake on Ubuntu 24\.04 or Debian 12 or later`},
		{name: "another processor", reason: "nothing of it would run", role: "etcd",
			env:  map[string]string{"PGHA_ARCHITECTURE": "arm64"},
			want: `bake: this machine is amd64, the recipe is for arm64: change images\.architecture`},
		{name: "a node", reason: "the bake would seal a machine that serves", role: "etcd",
			options: []string{bind("/etc/pgha/cluster.env", "PGHA_ROLE=etcd\n")},
			want:    `bake: this machine is a node of a cluster: bake on a machine of its own`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			began := time.Now()
			status, said := run(t, ctx, images[test.role], b.recipe(t, test.role, test.env),
				append(test.options, "--volatile=overlay")...)
			t.Logf("%v", time.Since(began).Round(100*time.Millisecond))
			if status != 1 {
				t.Errorf("%s: status %d, want 1", test.reason, status)
			}
			cause := regexp.MustCompile(`^` + test.want + `$`)
			said = said[strings.LastIndex("\n"+said, "\nbake: "):]
			if line, _, _ := strings.Cut(said, "\n"); !cause.MatchString(line) {
				t.Errorf("%s: want at the end: %s\nhave:\n%s", test.reason, test.want, said)
			}
		})
	}

	t.Run("another role", func(t *testing.T) {
		cache := image.Cache{Dir: filepath.Join(labtest.State(t), "cache")}
		var said bytes.Buffer
		_, err := cache.Bake(ctx, images["etcd"], b.recipe(t, "haproxy", nil), &said)
		const want = "bake: this image was baked for role etcd: bake role haproxy from the plain base image\n"
		if err == nil || said.String() != want {
			t.Errorf("have %v and %q, want an error and %q", err, said.String(), want)
		}
		left, err := os.ReadDir(cache.Dir)
		if err != nil || len(left) != 1 || left[0].Name() != "lock" {
			t.Errorf("a bake that failed leaves %v (%v), want the lock alone", left, err)
		}
	})
	t.Run("again", func(t *testing.T) {
		script := "sh /tmp/recipe/bake.sh >/dev/null 2>&1 && cat /usr/lib/pgha/manifest.json /usr/lib/pgha/sbom.cdx.json"
		r := b.recipe(t, "etcd", nil)
		options := []string{noLists, "--volatile=overlay", "--bind-ro=" + r.Dir + ":/tmp/recipe"}
		for name, value := range r.Env {
			options = append(options, "--setenv="+name+"="+value)
		}
		status, said := contain(t, ctx, images["etcd"], options, "sh", "-c", script)
		// The image may be of another day.
		want := undated(read(t, images["etcd"]+"/usr/lib/pgha/manifest.json")) + read(t, images["etcd"]+"/usr/lib/pgha/sbom.cdx.json")
		if said = undated(said); status != 0 || !strings.Contains(said, want) {
			t.Errorf("a bake of its own result: status %d (-want +got):\n%s", status, cmp.Diff(want, said))
		}
	})
}

func read(t testing.TB, file string) string {
	t.Helper()
	return testkit.Text(t, file)
}

var day = regexp.MustCompile(`"baked": "\d{4}-\d\d-\d\d"`)

// undated is a manifest without the day of its bake.
func undated(manifest string) string { return day.ReplaceAllString(manifest, `"baked": "DAY"`) }

// TestBakeTwice: the same recipe makes the same image, wherever the archive came
// from. The second bake finds its mirror down.
func TestBakeTwice(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 20*time.Second)
	defer cancel()
	b := newBakery(t)
	var results []string
	for _, env := range []map[string]string{nil, {"ETCD_MIRROR": nowhere(t) + "/e.tar.gz"}} {
		cache := image.Cache{Dir: filepath.Join(labtest.State(t), "cache")}
		root, err := cache.Bake(ctx, b.base, b.recipe(t, "etcd", env), bakeLog(t))
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, root)
		fits(t, root, b.cluster)
	}
	for _, name := range []string{"manifest.json", "sbom.cdx.json"} {
		one, other := undated(read(t, results[0]+"/usr/lib/pgha/"+name)), undated(read(t, results[1]+"/usr/lib/pgha/"+name))
		if diff := cmp.Diff(one, other); diff != "" {
			t.Errorf("%s differs:\n%s", name, diff)
		}
	}
}

// fits lets pgha-gen image check judge an image. Its versions are old ones.
func fits(t *testing.T, root string, c *role.Cluster) {
	t.Helper()
	img, err := deployimage.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	// Judged on the day of its bake, since it may come from a cache.
	baked, err := time.Parse(time.DateOnly, img.Manifest.Baked)
	if err != nil {
		t.Error(err)
	}
	findings, err := img.Check(c, baked)
	if err != nil {
		t.Error(err)
	}
	for _, f := range findings {
		old := strings.Contains(f.What, "(fixed in ") || strings.Contains(f.What, " should give way to ")
		if !f.Warning || !old {
			t.Error(f)
		}
	}
}

// TestImages lets pgha-gen's own check, and the schema of CycloneDX, judge what
// the bakes wrote into the images of all roles.
func TestImages(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 30*time.Second)
	defer cancel()
	b := bake(t, ctx)
	c := demo.Cluster(t)
	baker := lab.Baker{Cache: labtest.Cache, Program: "etcd", Now: time.Now, Log: bakeLog(t)}
	if _, err := baker.Adapt(ctx, c); err != nil {
		t.Fatal(err)
	}
	for _, part := range c.Groups {
		t.Run(part.Name, func(t *testing.T) {
			fits(t, b.images[part.Name], c)
		})
	}
	t.Run("CycloneDX", func(t *testing.T) {
		schema := cycloneDX(t)
		for name, root := range b.images {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(read(t, root+"/usr/lib/pgha/sbom.cdx.json")))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(value); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			value.(map[string]any)["components"].([]any)[0].(map[string]any)["type"] = "program"
			if schema.Validate(value) == nil {
				t.Errorf("%s: the schema takes a type that there is not: it judges nothing", name)
			}
		}
	})
}

// cycloneDX is the official schema, as CycloneDX's own Go module carries it; the
// module is downloaded for that, and none of its code is used.
func cycloneDX(t *testing.T) *jsonschema.Schema {
	t.Helper()
	const module, sum = "github.com/CycloneDX/cyclonedx-go@v0.9.2", "h1:688QHn2X/5nRezKe2ueIVCt+NRqf7fl3AVQk+vaFcIo="
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = t.TempDir() // outside of this module
	out, err := cmd.Output()
	var got struct{ Dir, Sum string }
	if err != nil || json.Unmarshal(out, &got) != nil {
		testkit.Missing(t, "cannot download %s, which has the schema: %v %s", module, err, out)
	}
	if got.Sum != sum {
		t.Fatalf("%s has sum %s, want %s", module, got.Sum, sum)
	}
	compiler := jsonschema.NewCompiler()
	for url, file := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  "bom-1.6.schema.json",
		"http://cyclonedx.org/schema/spdx.schema.json":     "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json", // so it is named there
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(read(t, filepath.Join(got.Dir, "schema", file))))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource(url, value); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// BenchmarkBake bakes each role, and beside it lets plain apt-get install what
// the bake installed, in a copy of the same base: make bench-bake.
func BenchmarkBake(b *testing.B) {
	bakes := newBakery(b)
	for _, part := range bakes.cluster.Groups {
		b.Run(part.Name, func(b *testing.B) {
			var bake, plain, bakeCPU, plainCPU time.Duration
			var growth, installed int64
			for b.Loop() {
				dir := labtest.State(b)
				baked, installs := filepath.Join(dir, "baked"), filepath.Join(dir, "plain")
				for _, root := range []string{baked, installs} {
					if out, err := exec.Command("cp", "-a", "--reflink=auto", bakes.base, root).CombinedOutput(); err != nil {
						b.Fatalf("%v\n%s", err, out)
					}
				}
				timed := func(elapsed, cpu *time.Duration, do func() (int, string)) {
					unix.Sync() // what was copied is not its work
					began, used := time.Now(), childrenCPU(b)
					status, said := do()
					if status != 0 {
						b.Fatalf("status %d:\n%s", status, said)
					}
					*elapsed += time.Since(began)
					*cpu += childrenCPU(b) - used
				}
				timed(&bake, &bakeCPU, func() (int, string) { return run(b, b.Context(), baked, bakes.recipe(b, part.Name, nil)) })
				before, after := packages(b, bakes.base), packages(b, baked)
				var names []string
				for name, size := range after {
					if _, ok := before[name]; !ok {
						names = append(names, name)
						installed += size
					}
				}
				slices.Sort(names)
				// The bake's own setting: otherwise PostgreSQL's package makes a cluster.
				script := `mkdir -p /etc/postgresql-common/createcluster.d
					echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/plain.conf
					apt-get -q update && apt-get -q -y install --no-install-recommends ` + strings.Join(names, " ")
				timed(&plain, &plainCPU, func() (int, string) {
					return contain(b, b.Context(), installs, []string{"--setenv=DEBIAN_FRONTEND=noninteractive"}, "sh", "-c", script)
				})
				growth += size(b, baked) - size(b, bakes.base)
				os.RemoveAll(dir)
			}
			n := float64(b.N)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(bake.Seconds()/n, "bake-s")
			b.ReportMetric(plain.Seconds()/n, "apt-s")
			b.ReportMetric(bake.Seconds()/plain.Seconds(), "ratio")
			// What other work on the host does not blur.
			b.ReportMetric(bakeCPU.Seconds()/n, "bake-cpu-s")
			b.ReportMetric(plainCPU.Seconds()/n, "apt-cpu-s")
			b.ReportMetric(float64(growth)/n/1e6, "growth-MB")
			b.ReportMetric(float64(installed)/n/1e6, "installed-MB")
		})
	}
}

// childrenCPU is what the processes used that this one has waited for.
func childrenCPU(t testing.TB) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// packages are those that a root has, with their Installed-Size.
func packages(t testing.TB, root string) map[string]int64 {
	t.Helper()
	out, err := exec.Command("dpkg-query", "--admindir="+root+"/var/lib/dpkg", "-W", "-f", "${Package} ${Installed-Size}\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int64{}
	for line := range strings.Lines(string(out)) {
		var name string
		var kib int64
		if _, err := fmt.Sscan(line, &name, &kib); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all[name] = kib * 1024
	}
	return all
}

// size is what the files of a root hold.
func size(t testing.TB, root string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
