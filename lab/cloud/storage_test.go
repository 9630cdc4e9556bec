package cloud_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloud"
)

// key is an ephemeral key as IAM gives it.
type key struct {
	ID      string `json:"accessKeyId"`
	Secret  string `json:"secret"`
	Session string `json:"sessionToken"`
	Expires string `json:"expiresAt"`
}

const keysPath = "/iam/aws-compatibility/v1/ephemeralAccessKeys"

func askIAM(t *testing.T, h http.Handler, method, path, token, body string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Body.String()}
}

func newKey(t *testing.T, c *cloud.Cloud, body string) key {
	t.Helper()
	a := askIAM(t, c.IAM(), "POST", keysPath, getToken(t, c.Metadata()).AccessToken, body)
	var k key
	if err := json.Unmarshal([]byte(a.Body), &k); err != nil || a.Status != 200 {
		t.Fatalf("%v: %d %s", err, a.Status, a.Body)
	}
	return k
}

func TestEphemeralKeys(t *testing.T) {
	clock := newClock()
	c := newCloud(t, clock.Now, etcd1())
	tests := []struct {
		name, reason string
		later        time.Duration
		body, want   string
	}{
		{"duration", "as asked for", 0, `{"sessionName":"demo-pg-1","duration":"3600s"}`, "2026-03-01T13:00:00Z"},
		{"none", "as long as the token", 0, `{"sessionName":"demo-pg-1"}`, "2026-03-02T00:00:00Z"},
		{"longer than the token", "a key outlives no token", time.Hour, `{"sessionName":"a","duration":"43200s"}`, "2026-03-02T00:00:00Z"},
		{"for itself", "the subject may be named", 0, `{"sessionName":"a","subjectId":"ajeetcd","duration":"900s"}`, "2026-03-01T13:15:00Z"},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clock.Advance(tt.later)
			k := newKey(t, c, tt.body)
			if k.Expires != tt.want || len(k.ID) != 20 || len(k.Secret) != 43 || len(k.Session) != 285 || !strings.HasPrefix(k.Session, "s1.") {
				t.Errorf("key %+v, want one until %s: %s", k, tt.want, tt.reason)
			}
			if seen[k.ID] {
				t.Errorf("key %s was there before", k.ID)
			}
			seen[k.ID] = true
		})
	}
}

func TestEphemeralKeyRefuses(t *testing.T) {
	c := newCloud(t, newClock().Now, etcd1())
	token := getToken(t, c.Metadata()).AccessToken
	long := strings.Repeat("x", 2049)
	tests := []struct {
		name, reason, method, path, token, body string
		want                                    answer
	}{
		{"path", "IAM's other methods are not here", "POST", "/iam/v1/tokens", token, "{}", answer{404, `{"code":5,"message":"Not Found","details":[]}`}},
		{"method", "", "GET", keysPath, token, "", answer{405, `{"code":12,"message":"Method Not Allowed","details":[]}`}},
		{"token", "anybody could ask", "POST", keysPath, "t1.x", `{"sessionName":"a"}`, answer{401, `{"code":16,"message":"the token is unknown","details":[]}`}},
		{"body", "", "POST", keysPath, token, "", answer{400, `{"code":3,"message":"the request is not JSON: EOF","details":[]}`}},
		{"no session name", "it is required", "POST", keysPath, token, "{}", answer{400, `{"code":3,"message":"sessionName \"\" (want 1 to 64 of letters, digits and _+=,.@-)","details":[]}`}},
		{"session name", "IAM's own pattern", "POST", keysPath, token, `{"sessionName":"a b"}`, answer{400, `{"code":3,"message":"sessionName \"a b\" (want 1 to 64 of letters, digits and _+=,.@-)","details":[]}`}},
		{"subject", "a machine speaks for itself", "POST", keysPath, token, `{"sessionName":"a","subjectId":"ajeother"}`, answer{400, `{"code":3,"message":"subjectId \"ajeother\" is not who asks","details":[]}`}},
		{"long policy", "", "POST", keysPath, token, `{"sessionName":"a","policy":"` + long + `"}`, answer{400, `{"code":3,"message":"policy has 2049 bytes (at most 2048)","details":[]}`}},
		{"policy", "the lab would give more than it says", "POST", keysPath, token, `{"sessionName":"a","policy":"x"}`, answer{400, `{"code":3,"message":"policy \"x\" (the lab's object storage knows none)","details":[]}`}},
		{"short", "", "POST", keysPath, token, `{"sessionName":"a","duration":"899s"}`, answer{400, `{"code":3,"message":"duration \"899s\" (want 900s to 43200s)","details":[]}`}},
		{"duration", "", "POST", keysPath, token, `{"sessionName":"a","duration":"1 hour"}`, answer{400, `{"code":3,"message":"duration \"1 hour\" (want 900s to 43200s)","details":[]}`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, askIAM(t, c.IAM(), tt.method, tt.path, tt.token, tt.body)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
	broken := cloud.New(newClock().Now, limited(96+252), nil, nil)
	if err := broken.Put(etcd1()); err != nil {
		t.Fatal(err)
	}
	first := getToken(t, broken.Metadata()).AccessToken
	if a := askIAM(t, broken.IAM(), "POST", keysPath, first, `{"sessionName":"a"}`); a.Status != 200 {
		t.Errorf("with chance for one: %+v, want 200", a)
	}
	if a := askIAM(t, broken.IAM(), "POST", keysPath, first, `{"sessionName":"a"}`); a.Status != 500 {
		t.Errorf("without chance: %+v, want 500", a)
	}
}

// s3 is curl as a client of object storage, which signs what it sends.
type s3 struct {
	t   *testing.T
	url string
	key key
}

// do gives the status, and the answer's code or text.
func (s s3) do(path string, options ...string) answer {
	s.t.Helper()
	body := filepath.Join(s.t.TempDir(), "body")
	arguments := append([]string{
		"--silent", "--show-error", "--output", body, "--write-out", "%{http_code}",
		"--aws-sigv4", "aws:amz:ru-central1:s3", "--user", s.key.ID + ":" + s.key.Secret,
		"--header", "x-amz-security-token: " + s.key.Session,
	}, options...)
	out, err := exec.CommandContext(s.t.Context(), "curl", append(arguments, s.url+path)...).Output()
	if err != nil {
		s.t.Fatalf("curl: %v", err)
	}
	status, err := strconv.Atoi(string(out))
	if err != nil {
		s.t.Fatal(err)
	}
	data, err := os.ReadFile(body)
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	text := string(data)
	if _, rest, ok := strings.Cut(text, "<Code>"); ok {
		text, _, _ = strings.Cut(rest, "<")
	}
	return answer{status, text}
}

func (s s3) put(path, data string, options ...string) answer {
	return s.do(path, append([]string{"--request", "PUT", "--data-binary", data, "--header", "Content-Type: application/octet-stream", "--header", "x-amz-content-sha256: " + hash(data)}, options...)...)
}

func (s s3) get(path string, options ...string) answer {
	return s.do(path, append([]string{"--header", "x-amz-content-sha256: " + hash("")}, options...)...)
}

// newStorage is a cloud with the bucket backup, which etcd1 may edit, and the
// bucket other, which it may not.
func newStorage(t *testing.T, now func() time.Time) (*cloud.Cloud, *cloud.Outages, s3) {
	t.Helper()
	testkit.Need(t, "curl")
	c, faults := newFaultyCloud(t, now, etcd1())
	for name, editor := range map[string]string{"backup": "ajeetcd", "other": "ajeother"} {
		if err := c.PutBucket(name, editor); err != nil {
			t.Fatal(err)
		}
	}
	return c, faults, s3{t, serve(t, c.Storage()), newKey(t, c, `{"sessionName":"demo-pg-1","duration":"3600s"}`)}
}

// curl signs by the host's clock.
func hostClock() *clock { return &clock{now: time.Now()} }

func TestStorage(t *testing.T) {
	c, _, client := newStorage(t, hostClock().Now)
	for _, path := range []string{"/backup/demo/a+b (1)=2.lst", "/backup/demo/archive/0001"} {
		escaped := strings.NewReplacer("+", "%2B", " ", "%20", "(", "%28", ")", "%29", "=", "%3D").Replace(path)
		if a := client.put(escaped, "content of "+path); a.Status != 200 {
			t.Fatalf("put %s: %+v", path, a)
		}
		if diff := cmp.Diff(answer{200, "content of " + path}, client.get(escaped)); diff != "" {
			t.Errorf("get %s (-want +got):\n%s", path, diff)
		}
	}
	if diff := cmp.Diff(answer{206, "content"}, client.get("/backup/demo/archive/0001", "--header", "range: bytes=0-6")); diff != "" {
		t.Errorf("a range (-want +got):\n%s", diff)
	}
	if a := client.get("/backup?list-type=2&prefix=demo%2Farchive"); !strings.Contains(a.Body, "<Key>demo/archive/0001</Key>") || strings.Contains(a.Body, "a+b") {
		t.Errorf("list: %+v, want the one object", a)
	}
	want := []string{"demo/a+b (1)=2.lst", "demo/archive/0001"}
	got, err := c.Objects("backup")
	if names := slices.Sorted(maps.Keys(got)); err != nil || !cmp.Equal(want, names) {
		t.Errorf("objects %q, error %v, want %q", names, err, want)
	}
	if err := c.PutBucket("backup", "ajeetcd", "ajeother"); err != nil {
		t.Errorf("a bucket put again: %v", err)
	}
	if a := client.get("/backup/demo/archive/0001"); a.Status != 200 {
		t.Errorf("after the bucket was put again: %+v, want what it had", a)
	}
	if err := c.CorruptObject("backup", "demo/archive/0001"); err != nil {
		t.Fatal(err)
	}
	before, after := "content of /backup/demo/archive/0001", client.get("/backup/demo/archive/0001").Body
	differ := 0
	for i := range min(len(before), len(after)) {
		if before[i] != after[i] {
			differ++
		}
	}
	if len(before) != len(after) || differ != 1 {
		t.Errorf("corrupt object %q, want one byte of %q changed", after, before)
	}
	if a := client.get("/backup/demo/archive/0001", "--request", "DELETE"); a.Status != 204 {
		t.Errorf("delete: %+v", a)
	}
	if diff := cmp.Diff(answer{404, "NoSuchKey"}, client.get("/backup/demo/archive/0001")); diff != "" {
		t.Errorf("get of what was deleted (-want +got):\n%s", diff)
	}
}

// Buckets that are kept elsewhere: those that are there now are there, and PutBucket's
// editors count no more.
func TestSetEditors(t *testing.T) {
	c, _, client := newStorage(t, hostClock().Now)
	there := map[string][]string{"backup": nil}
	c.SetEditors(func(bucket string) ([]string, bool) { editors, ok := there[bucket]; return editors, ok })
	if diff := cmp.Diff(answer{403, "AccessDenied"}, client.put("/backup/x", "text")); diff != "" {
		t.Errorf("its right was taken back (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(answer{404, "NoSuchBucket"}, client.put("/new/x", "text")); diff != "" {
		t.Errorf("there is no such bucket (-want +got):\n%s", diff)
	}
	there["new"] = []string{"ajeetcd"}
	if a := client.put("/new/x", "text"); a.Status != 200 {
		t.Errorf("in a bucket that was just created: %+v", a)
	}
	there["Bad name"] = []string{"ajeetcd"}
	if a := client.put("/Bad%20name/x", "text"); a.Status != 400 {
		t.Errorf("a bucket that cannot be made: %+v", a)
	}
}

func TestStorageRefuses(t *testing.T) {
	clock := hostClock()
	_, _, client := newStorage(t, clock.Now)
	with := func(change func(*key)) s3 {
		k := client
		change(&k.key)
		return k
	}
	if a := client.put("/backup/x", "text"); a.Status != 200 {
		t.Fatalf("put: %+v", a)
	}
	tests := []struct {
		name, reason string
		ask          func() answer
		want         answer
	}{
		{"key", "", func() answer { return with(func(k *key) { k.ID = strings.Repeat("0", 20) }).get("/backup/x") }, answer{403, "InvalidAccessKeyId"}},
		{"secret", "the key's id is no secret", func() answer {
			return with(func(k *key) { k.Secret = "YC" + strings.Repeat("0", 38) }).get("/backup/x")
		}, answer{403, "SignatureDoesNotMatch"}},
		{"session", "the key is temporary", func() answer { return with(func(k *key) { k.Session = "s1.x" }).get("/backup/x") }, answer{400, "InvalidToken"}},
		{"no signature", "nothing is public", func() answer {
			a, _ := ask(t, http.DefaultClient, "GET", client.url+"/backup/x")
			return answer{a.Status, code(a.Body)}
		}, answer{403, "AccessDenied"}},
		{"other's bucket", "a key reaches what its account does", func() answer { return client.get("/other/x") }, answer{403, "AccessDenied"}},
		{"copy from other's bucket", "neither by a detour", func() answer {
			return client.put("/backup/y", "", "--header", "x-amz-copy-source: /other/x")
		}, answer{403, "AccessDenied"}},
		{"no bucket", "", func() answer { return client.get("/missing/x") }, answer{404, "NoSuchBucket"}},
		{"all buckets", "", func() answer { return client.get("/") }, answer{403, "AccessDenied"}},
		{"body", "what arrives is not what was sent", func() answer {
			return client.do("/backup/z", "--request", "PUT", "--data-binary", "other", "--header", "x-amz-content-sha256: "+hash("text"))
		}, answer{400, "XAmzContentSHA256Mismatch"}},
		{"clock", "a request cannot be sent again later", func() answer {
			clock.Advance(16 * time.Minute)
			return client.get("/backup/x")
		}, answer{403, "RequestTimeTooSkewed"}},
		{"end", "", func() answer {
			clock.Advance(time.Hour)
			return client.get("/backup/x")
		}, answer{400, "ExpiredToken"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.ask()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestStorageFaults(t *testing.T) {
	c, faults, client := newStorage(t, hostClock().Now)
	if a := client.put("/backup/x", "text"); a.Status != 200 {
		t.Fatalf("put: %+v", a)
	}
	tests := []struct {
		name, reason string
		service      cloud.Service
		fault        cloud.Fault
		read, write  answer
	}{
		{"away", "", cloud.StorageService, cloud.Fault{Status: 503}, answer{503, "SlowDown"}, answer{503, "SlowDown"}},
		{"forbidden", "", cloud.StorageService, cloud.Fault{Status: 403}, answer{403, "AccessDenied"}, answer{403, "AccessDenied"}},
		{"broken", "", cloud.StorageService, cloud.Fault{Status: 500}, answer{500, "InternalError"}, answer{500, "InternalError"}},
		{"full", "what is there can be read", cloud.StorageWrites, cloud.Fault{Status: 507}, answer{200, "text"}, answer{507, "InsufficientStorage"}},
		{"slow", "", cloud.StorageService, cloud.Fault{Delay: 100 * time.Millisecond}, answer{200, "text"}, answer{200, ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := faults.Set(tt.service, tt.fault); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			read, write := client.get("/backup/x"), client.put("/backup/y", "text")
			if took := time.Since(start); took < 2*tt.fault.Delay {
				t.Errorf("took %v, want 2 delays of %v at least", took, tt.fault.Delay)
			}
			if diff := cmp.Diff([]answer{tt.read, tt.write}, []answer{read, write}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
			if err := faults.Set(tt.service, cloud.Fault{}); err != nil {
				t.Fatal(err)
			}
			if a := client.put("/backup/y", "text"); a.Status != 200 {
				t.Errorf("after the fault: %+v", a)
			}
		})
	}
	testkit.OK(t, faults.Set(cloud.StorageWrites, cloud.Fault{Status: 507}))
	segment := strings.NewReader(strings.Repeat("x", 1<<20))
	w := httptest.NewRecorder()
	c.Storage().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/backup/z", segment))
	if w.Code != 507 || segment.Len() > 0 {
		t.Errorf("%d with %d bytes not read: a client that is still sending does not hear the answer", w.Code, segment.Len())
	}
	if err := faults.Set(cloud.IAMService, cloud.Fault{Status: 503}); err != nil {
		t.Fatal(err)
	}
	want := answer{503, `{"code":14,"message":"the iam service fails on purpose","details":[]}`}
	if diff := cmp.Diff(want, askIAM(t, c.IAM(), "POST", keysPath, "", "")); diff != "" {
		t.Errorf("IAM (-want +got):\n%s", diff)
	}
	if a := client.get("/backup/x"); a.Status != 200 {
		t.Errorf("with IAM away: %+v, want that a key which is there goes on", a)
	}
}

// Two clouds with the same buckets: what one wrote the other has, as far as it
// may be read there.
func TestSharedBuckets(t *testing.T) {
	buckets := cloud.NewBuckets(hostClock().Now)
	client := func(editor string) (*cloud.Cloud, s3) {
		c := cloud.New(hostClock().Now, rand.Reader, nil, buckets)
		testkit.OK(t, c.Put(etcd1()))
		testkit.OK(t, c.PutBucket("backup", editor))
		return c, s3{t, serve(t, c.Storage()), newKey(t, c, `{"sessionName":"demo-pg-1","duration":"3600s"}`)}
	}
	_, one := client("ajeetcd")
	if a := one.put("/backup/x", "kept"); a.Status != 200 {
		t.Fatalf("put: %+v", a)
	}
	c, other := client("ajeetcd")
	if diff := cmp.Diff(answer{200, "kept"}, other.get("/backup/x")); diff != "" {
		t.Errorf("by the other cloud (-want +got):\n%s", diff)
	}
	before, err := c.Objects("backup")
	testkit.OK(t, err)
	one.put("/backup/x", "changed")
	if after, err := c.Objects("backup"); err != nil || len(after) != 1 || after["x"] == before["x"] {
		t.Errorf("objects %q before and %q, %v after x was written: want another hash", before, after, err)
	}
	_, refused := client("ajeother")
	if a := refused.get("/backup/x"); a.Status != 403 {
		t.Errorf("where the account has no right: %+v, want 403", a)
	}
}

func TestBucketErrors(t *testing.T) {
	c := newCloud(t, newClock().Now)
	if err := c.PutBucket("backup"); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		`bucket "No_Bucket"`:             c.PutBucket("No_Bucket"),
		`object "x" in bucket "backup"`:  c.CorruptObject("backup", "x"),
		`object "x" in bucket "missing"`: c.CorruptObject("missing", "x"),
		`bucket "missing"`:               func() error { _, err := c.Objects("missing"); return err }(),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("error %v, want one of %s", err, name)
		}
	}
}

func hash(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:])
}

// code is the code of an answer in XML.
func code(body string) string {
	_, rest, _ := strings.Cut(body, "<Code>")
	code, _, _ := strings.Cut(rest, "<")
	return code
}

// limited are so many random bytes, and no more.
func limited(n int64) io.Reader { return io.LimitReader(rand.Reader, n) }
