package cloud_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloud"
)

// Yandex Cloud's own pattern, from its security standard.
var tokenShape = regexp.MustCompile(`^t1\.[A-Z0-9a-z_-]+[=]{0,2}\.[A-Z0-9a-z_-]{86}[=]{0,2}$`)

type token struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
	TokenType   string `json:"token_type"`
}

func getToken(t *testing.T, h http.Handler) token {
	t.Helper()
	w := call(t.Context(), h, "/computeMetadata/v1/instance/service-accounts/default/token")
	var got token
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%v: %d %s", err, w.Code, w.Body)
	}
	if !tokenShape.MatchString(got.AccessToken) || got.TokenType != "Bearer" {
		t.Errorf("token %+v is not of the documented shape", got)
	}
	return got
}

func payload(h http.Handler, method, path, authorization string) answer {
	r := httptest.NewRequest(method, path, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Body.String()}
}

func put(t *testing.T, c *cloud.Cloud) {
	t.Helper()
	for id, s := range map[string]cloud.Secret{
		"e6qa": {Readers: []string{"ajeother", "ajeetcd"}, Versions: []cloud.Version{
			{ID: "e6qv1", Entries: []cloud.Entry{{Key: "password", Text: "old"}}},
			{ID: "e6qv2", Entries: []cloud.Entry{{Key: "password", Text: "new"}, {Key: "ca.crt", Text: "-----BEGIN\n"}}},
		}},
		"e6qb": {Readers: []string{"ajeother"}, Versions: []cloud.Version{{ID: "e6qw1"}}},
		"e6qc": {Readers: []string{"ajeetcd"}, Versions: []cloud.Version{{ID: "e6qx1"}}},
	} {
		if err := c.PutSecret(id, s); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLockbox(t *testing.T) {
	const path = "/lockbox/v1/secrets/e6qa/payload"
	tests := []struct {
		name   string
		reason string
		method string
		path   string
		header string // $TOKEN stands for the machine's own
		want   answer
	}{
		{"current", "the last version", "GET", path, "Bearer $TOKEN", answer{200, `{"versionId":"e6qv2","entries":[{"key":"password","textValue":"new"},{"key":"ca.crt","textValue":"-----BEGIN\n"}]}`}},
		{"older", "the version that is asked for", "GET", path + "?versionId=e6qv1", "Bearer $TOKEN", answer{200, `{"versionId":"e6qv1","entries":[{"key":"password","textValue":"old"}]}`}},
		{"empty", "a list of nothing, not null", "GET", "/lockbox/v1/secrets/e6qc/payload", "bearer $TOKEN", answer{200, `{"versionId":"e6qx1","entries":[]}`}},
		{"no header", "", "GET", path, "", answer{401, `{"code":16,"message":"want the header Authorization: Bearer and an IAM token","details":[]}`}},
		{"no token", "", "GET", path, "Bearer ", answer{401, `{"code":16,"message":"want the header Authorization: Bearer and an IAM token","details":[]}`}},
		{"wrong scheme", "", "GET", path, "Basic $TOKEN", answer{401, `{"code":16,"message":"want the header Authorization: Bearer and an IAM token","details":[]}`}},
		{"unknown token", "only the metadata service's are good", "GET", path, "Bearer t1.x", answer{401, `{"code":16,"message":"the token is unknown","details":[]}`}},
		{"unknown secret and token", "a stranger is not told what there is", "GET", "/lockbox/v1/secrets/e6qz/payload", "Bearer t1.x", answer{401, `{"code":16,"message":"the token is unknown","details":[]}`}},
		{"another's secret", "each role reads its own", "GET", "/lockbox/v1/secrets/e6qb/payload", "Bearer $TOKEN", answer{403, `{"code":7,"message":"permission denied to payload of secret \"e6qb\"","details":[]}`}},
		{"unknown secret", "", "GET", "/lockbox/v1/secrets/e6qz/payload", "Bearer $TOKEN", answer{404, `{"code":5,"message":"secret \"e6qz\" not found","details":[]}`}},
		{"unknown version", "", "GET", path + "?versionId=x", "Bearer $TOKEN", answer{404, `{"code":5,"message":"version \"x\" of secret \"e6qa\" not found","details":[]}`}},
		{"another path", "", "GET", "/lockbox/v1/secrets/e6qa", "Bearer $TOKEN", answer{404, `{"code":5,"message":"Not Found","details":[]}`}},
		{"no id", "", "GET", "/lockbox/v1/secrets//payload", "Bearer $TOKEN", answer{404, `{"code":5,"message":"Not Found","details":[]}`}},
		{"two ids", "", "GET", "/lockbox/v1/secrets/a/b/payload", "Bearer $TOKEN", answer{404, `{"code":5,"message":"Not Found","details":[]}`}},
		{"write", "", "POST", path, "Bearer $TOKEN", answer{405, `{"code":12,"message":"Method Not Allowed","details":[]}`}},
	}
	c := newCloud(t, newClock().Now, etcd1())
	put(t, c)
	own := getToken(t, c.Metadata()).AccessToken
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := payload(c.Lockbox(), tt.method, tt.path, strings.ReplaceAll(tt.header, "$TOKEN", own))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestTokenLife(t *testing.T) {
	clock := newClock()
	c := newCloud(t, clock.Now, etcd1())
	put(t, c)
	read := func(tok token) int {
		return payload(c.Lockbox(), "GET", "/lockbox/v1/secrets/e6qa/payload", "Bearer "+tok.AccessToken).Status
	}
	first := getToken(t, c.Metadata())
	if first.ExpiresIn != 12*60*60 {
		t.Errorf("a new token lives %d s, want 12 h", first.ExpiresIn)
	}
	clock.Advance(11*time.Hour - 1500*time.Millisecond)
	again := getToken(t, c.Metadata())
	if again.AccessToken != first.AccessToken || again.ExpiresIn != 60*60+1 {
		t.Errorf("the token before its last hour: %+v, want the first, with 3601 s left", again)
	}
	clock.Advance(1500 * time.Millisecond)
	second := getToken(t, c.Metadata())
	if second.AccessToken == first.AccessToken || second.ExpiresIn != 12*60*60 {
		t.Errorf("the token in its last hour: %+v, want a new one", second)
	}
	clock.Advance(time.Hour - time.Nanosecond)
	if got := read(first); got != 200 {
		t.Errorf("an old token, in its last moment: %d, want 200", got)
	}
	clock.Advance(time.Nanosecond)
	got := payload(c.Lockbox(), "GET", "/lockbox/v1/secrets/e6qa/payload", "Bearer "+first.AccessToken)
	if want := (answer{401, `{"code":16,"message":"the token has expired","details":[]}`}); got != want {
		t.Errorf("an expired token: %v, want %v", got, want)
	}
	if got := read(second); got != 200 {
		t.Errorf("the token after it: %d, want 200", got)
	}

	// Another service account, another token; the old one is still good.
	in := etcd1()
	in.ServiceAccountID = "ajeother"
	if err := c.Put(in); err != nil {
		t.Fatal(err)
	}
	if third := getToken(t, c.Metadata()); third.AccessToken == second.AccessToken || read(second) != 200 {
		t.Error("a token belongs to its service account, not to the machine")
	}
}

func TestTokenWithoutRandom(t *testing.T) {
	c := cloud.New(newClock().Now, brokenRandom(), nil, nil)
	if err := c.Put(etcd1()); err != nil {
		t.Fatal(err)
	}
	w := call(t.Context(), c.Metadata(), "/computeMetadata/v1/instance/service-accounts/default/token?wait_for_change=true")
	if want := "cannot make a token: EOF\n"; w.Code != 500 || w.Body.String() != want {
		t.Errorf("got %d %q, want 500 %q", w.Code, w.Body, want)
	}
}

func TestPutSecretRefuses(t *testing.T) {
	long := strings.Repeat("x", 64<<10-3)
	version := cloud.Version{ID: "v", Entries: []cloud.Entry{{Key: "key", Text: long}}}
	tests := []struct {
		name   string
		reason string
		id     string
		secret cloud.Secret
		want   string
	}{
		{"at the limit", "64 KB are allowed", "e6q", cloud.Secret{Versions: []cloud.Version{version}}, ""},
		{"no id", "no path could name it", "", cloud.Secret{Versions: []cloud.Version{version}}, `secret id "" is not a name`},
		{"slash", "no path could name it", "a/b", cloud.Secret{Versions: []cloud.Version{version}}, `secret id "a/b" is not a name`},
		{"no version", "there is no payload to read", "e6q", cloud.Secret{}, `secret "e6q" has no version (give it one)`},
		{"version without id", "", "e6q", cloud.Secret{Versions: []cloud.Version{{}}}, `secret "e6q": version id "" is empty or there twice`},
		{"version twice", "", "e6q", cloud.Secret{Versions: []cloud.Version{version, version}}, `secret "e6q": version id "v" is empty or there twice`},
		{"over the limit", "Lockbox refuses it", "e6q", cloud.Secret{Versions: []cloud.Version{{ID: "v", Entries: []cloud.Entry{{Key: "key1", Text: long}}}}}, `secret "e6q": version "v" has 65537 bytes (at most 65536)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := newCloud(t, newClock().Now).PutSecret(tt.id, tt.secret); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("error %q, want %q: %s", got, tt.want, tt.reason)
			}
		})
	}
}

func TestSecretRotation(t *testing.T) {
	c := newCloud(t, newClock().Now, etcd1())
	s := cloud.Secret{Readers: []string{"ajeetcd"}, Versions: []cloud.Version{{ID: "v1", Entries: []cloud.Entry{{Key: "k", Text: "1"}}}}}
	bearer := "Bearer " + getToken(t, c.Metadata()).AccessToken
	for i, want := range []string{`{"versionId":"v1","entries":[{"key":"k","textValue":"1"}]}`, `{"versionId":"v2","entries":[{"key":"k","textValue":"2"}]}`} {
		if err := c.PutSecret("e6q", s); err != nil {
			t.Fatal(err)
		}
		// Later writes are not seen before the next PutSecret.
		s.Versions[0].Entries[0].Text = "written"
		s.Readers[0] = "written"
		if got := payload(c.Lockbox(), "GET", "/lockbox/v1/secrets/e6q/payload", bearer); got != (answer{200, want}) {
			t.Errorf("round %d: %v, want %s", i, got, want)
		}
		s.Readers[0] = "ajeetcd"
		s.Versions = append(s.Versions, cloud.Version{ID: "v2", Entries: []cloud.Entry{{Key: "k", Text: "2"}}})
	}
}

// Secrets that are kept elsewhere: what is there now is read, and PutSecret's is
// not.
func TestSetSecrets(t *testing.T) {
	c := newCloud(t, newClock().Now, etcd1())
	put(t, c)
	there := map[string]cloud.Secret{"e6qnew": {Readers: []string{"ajeetcd"}}}
	c.SetSecrets(func(id string) (cloud.Secret, bool) { s, ok := there[id]; return s, ok })
	bearer := "Bearer " + getToken(t, c.Metadata()).AccessToken
	version := []cloud.Version{{ID: "v1", Entries: []cloud.Entry{{Key: "k", Text: "1"}}}}
	for _, step := range []struct {
		reason, id string
		becomes    cloud.Secret
		want       answer
	}{
		{"PutSecret's counts no more", "e6qa", cloud.Secret{}, answer{404, `{"code":5,"message":"secret \"e6qa\" not found","details":[]}`}},
		{"it was just created", "e6qnew", there["e6qnew"], answer{404, `{"code":5,"message":"secret \"e6qnew\" has no version","details":[]}`}},
		{"it got a version", "e6qnew", cloud.Secret{Readers: []string{"ajeetcd"}, Versions: version}, answer{200, `{"versionId":"v1","entries":[{"key":"k","textValue":"1"}]}`}},
		{"the right was taken back", "e6qnew", cloud.Secret{Versions: version}, answer{403, `{"code":7,"message":"permission denied to payload of secret \"e6qnew\"","details":[]}`}},
	} {
		if _, ok := there[step.id]; ok {
			there[step.id] = step.becomes
		}
		if got := payload(c.Lockbox(), "GET", "/lockbox/v1/secrets/"+step.id+"/payload", bearer); got != step.want {
			t.Errorf("%s: %v, want %v", step.reason, got, step.want)
		}
	}
}

// What pgha-secrets does, with its tools: token, then payload, over TLS.
func TestCurlLockbox(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		testkit.Missing(t, "curl is not installed")
	}
	c := newCloud(t, newClock().Now, etcd1())
	put(t, c)
	server := httptest.NewTLSServer(c.Lockbox())
	t.Cleanup(server.Close)
	bearer := "Authorization: Bearer " + getToken(t, c.Metadata()).AccessToken
	cmd := exec.CommandContext(t.Context(), curl, "-sSk", "--noproxy", "*", "--max-time", "20", "-w", " %{http_code} %{content_type}",
		"-H", bearer, server.URL+"/lockbox/v1/secrets/e6qa/payload?versionId=e6qv1")
	out, err := cmd.CombinedOutput()
	if want := `{"versionId":"e6qv1","entries":[{"key":"password","textValue":"old"}]} 200 application/json`; err != nil || string(out) != want {
		t.Errorf("got %s (%v), want %s", out, err, want)
	}
}
