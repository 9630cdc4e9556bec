package cloud

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Secret is a secret of Lockbox.
type Secret struct {
	Readers  []string  // the service accounts that hold lockbox.payloadViewer on it
	Versions []Version // oldest first: the last one is current
}

// Version is one version of a secret. Its payload may have 64 KB.
type Version struct {
	ID      string
	Entries []Entry
}

// Entry is one key of a payload.
type Entry struct {
	Key  string `json:"key"`
	Text string `json:"textValue"`
}

const maxPayload = 64 << 10

// PutSecret adds a secret, or replaces the one with its id. It keeps a copy. It
// refuses one without a version, a version without an id or with another's, and
// a payload over Lockbox's limit.
func (c *Cloud) PutSecret(id string, s Secret) error {
	if id == "" || strings.Contains(id, "/") {
		return fmt.Errorf("secret id %q is not a name", id)
	}
	if len(s.Versions) == 0 {
		return fmt.Errorf("secret %q has no version (give it one)", id)
	}
	kept := Secret{Readers: slices.Clone(s.Readers)}
	for _, v := range s.Versions {
		if v.ID == "" || slices.ContainsFunc(kept.Versions, func(k Version) bool { return k.ID == v.ID }) {
			return fmt.Errorf("secret %q: version id %q is empty or there twice", id, v.ID)
		}
		size := 0
		for _, e := range v.Entries {
			size += len(e.Key) + len(e.Text)
		}
		if size > maxPayload {
			return fmt.Errorf("secret %q: version %q has %d bytes (at most %d)", id, v.ID, size, maxPayload)
		}
		// Never nil: a payload without entries is [], not null.
		kept.Versions = append(kept.Versions, Version{v.ID, append([]Entry{}, v.Entries...)})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secrets[id] = kept
	return nil
}

// SetSecrets has find say what each secret is, in the place of PutSecret. It may
// give one without a version, which nobody can read.
func (c *Cloud) SetSecrets(find func(id string) (Secret, bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findSecret = find
}

func (c *Cloud) secret(id string) (Secret, bool) {
	c.mu.Lock()
	find := c.findSecret
	s, ok := c.secrets[id]
	c.mu.Unlock()
	if find != nil {
		return find(id)
	}
	return s, ok
}

// An IAM token lives at most 12 hours. How early Yandex Cloud hands out the
// next one is not documented; the lab leaves a machine an hour at least.
const (
	tokenLife  = 12 * time.Hour
	tokenSpare = time.Hour
)

type token struct {
	account string
	expires time.Time
}

// issue gives the service account's token: the same one until its last hour.
func (c *Cloud) issue(account string) (value string, left time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if value, ok := c.latest[account]; ok {
		if left := c.tokens[value].expires.Sub(now); left > tokenSpare {
			return value, left, nil
		}
	}
	// The shape that Yandex Cloud documents for those who scan for leaks:
	// t1.<anything in base64>.<64 bytes in base64>
	raw := make([]byte, 32+64)
	if _, err := io.ReadFull(c.random, raw); err != nil {
		return "", 0, fmt.Errorf("cannot make a token: %w", err)
	}
	b64 := base64.RawURLEncoding
	value = "t1." + b64.EncodeToString(raw[:32]) + "." + b64.EncodeToString(raw[32:])
	c.tokens[value] = token{account, now.Add(tokenLife)}
	c.latest[account] = value
	return value, tokenLife, nil
}

func (c *Cloud) giveToken(w http.ResponseWriter, r *http.Request, account string) {
	if !c.healthy(w, r, TokenService) {
		return
	}
	value, left, err := c.issue(account)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("ETag", etagOf([]byte(value)))
	giveJSON(w, http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		TokenType   string `json:"token_type"`
	}{value, int(left / time.Second), "Bearer"})
}

// Lockbox is the payload service of Lockbox, to be served with TLS as
// payload.lockbox.api.cloud.yandex.net. It takes the tokens that the metadata
// service gave out, until they expire.
func (c *Cloud) Lockbox() http.Handler { return http.HandlerFunc(c.lockbox) }

func (c *Cloud) lockbox(w http.ResponseWriter, r *http.Request) {
	status, err := c.delay(r.Context(), LockboxService)
	if err != nil {
		return
	}
	if status != 0 {
		giveError(w, status, "the lockbox service fails on purpose")
		return
	}
	rest, okPrefix := strings.CutPrefix(r.URL.Path, "/lockbox/v1/secrets/")
	id, okSuffix := strings.CutSuffix(rest, "/payload")
	if !okPrefix || !okSuffix || id == "" || strings.Contains(id, "/") {
		giveError(w, http.StatusNotFound, "Not Found")
		return
	}
	if r.Method != http.MethodGet {
		giveError(w, http.StatusMethodNotAllowed, "Method Not Allowed")
		return
	}
	account, _, err := c.account(r.Header.Get("Authorization"))
	if err != nil {
		giveError(w, http.StatusUnauthorized, err.Error())
		return
	}
	secret, ok := c.secret(id)
	if !ok {
		giveError(w, http.StatusNotFound, fmt.Sprintf("secret %q not found", id))
		return
	}
	if !slices.Contains(secret.Readers, account) {
		giveError(w, http.StatusForbidden, fmt.Sprintf("permission denied to payload of secret %q", id))
		return
	}
	if len(secret.Versions) == 0 {
		giveError(w, http.StatusNotFound, fmt.Sprintf("secret %q has no version", id))
		return
	}
	current := secret.Versions[len(secret.Versions)-1]
	if want := r.URL.Query().Get("versionId"); want != "" {
		i := slices.IndexFunc(secret.Versions, func(v Version) bool { return v.ID == want })
		if i < 0 {
			giveError(w, http.StatusNotFound, fmt.Sprintf("version %q of secret %q not found", want, id))
			return
		}
		current = secret.Versions[i]
	}
	giveJSON(w, http.StatusOK, struct {
		VersionID string  `json:"versionId"`
		Entries   []Entry `json:"entries"`
	}{current.ID, current.Entries})
}

// account is the service account that an Authorization header speaks for, and
// until when.
func (c *Cloud) account(header string) (string, time.Time, error) {
	scheme, value, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || value == "" {
		return "", time.Time{}, errors.New("want the header Authorization: Bearer and an IAM token")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.tokens[value]
	if !ok {
		return "", time.Time{}, errors.New("the token is unknown")
	}
	if !c.now().Before(t.expires) {
		return "", time.Time{}, errors.New("the token has expired")
	}
	return t.account, t.expires, nil
}

// giveError answers as grpc-gateway does: the body has gRPC's code for the
// status, https://github.com/grpc/grpc/blob/master/doc/statuscodes.md.
func giveError(w http.ResponseWriter, status int, message string) {
	code := 2 // unknown
	switch status {
	case http.StatusBadRequest:
		code = 3
	case http.StatusNotFound:
		code = 5
	case http.StatusForbidden:
		code = 7
	case http.StatusTooManyRequests:
		code = 8
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		code = 12
	case http.StatusInternalServerError:
		code = 13
	case http.StatusServiceUnavailable:
		code = 14
	case http.StatusUnauthorized:
		code = 16
	}
	giveJSON(w, status, struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Details []any  `json:"details"`
	}{code, message, []any{}})
}

func giveJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(toJSON(v))
}
