package cloud

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"
)

// ephemeralKey is a key of object storage that ends by itself.
type ephemeralKey struct {
	account, secret, session string
	expires                  time.Time
}

// An ephemeral key lives as long as is asked for, within these limits, and no
// longer than the token that asks:
// https://yandex.cloud/en/docs/iam/concepts/authorization/ephemeral-keys
const (
	leastKeyLife = 15 * time.Minute
	mostKeyLife  = 12 * time.Hour
)

const (
	ephemeralKeys = "/iam/aws-compatibility/v1/ephemeralAccessKeys"
	maxKeyPolicy  = 2048
	maxKeyRequest = 64 << 10
	maxSubject    = 50
)

var sessionName = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)

// IAM is the identity service, to be served with TLS as
// iam.api.cloud.yandex.net. It changes an IAM token for an ephemeral key of
// object storage, and does nothing else. It refuses an inline policy: the lab's
// object storage would not keep it.
func (c *Cloud) IAM() http.Handler { return http.HandlerFunc(c.iam) }

func (c *Cloud) iam(w http.ResponseWriter, r *http.Request) {
	status, err := c.delay(r.Context(), IAMService)
	switch {
	case err != nil:
		return
	case status != 0:
		giveError(w, status, "the iam service fails on purpose")
		return
	case r.URL.Path != ephemeralKeys:
		giveError(w, http.StatusNotFound, "Not Found")
		return
	case r.Method != http.MethodPost:
		giveError(w, http.StatusMethodNotAllowed, "Method Not Allowed")
		return
	}
	account, tokenEnd, err := c.account(r.Header.Get("Authorization"))
	if err != nil {
		giveError(w, http.StatusUnauthorized, err.Error())
		return
	}
	life, err := readKeyRequest(http.MaxBytesReader(w, r.Body, maxKeyRequest), account)
	if err != nil {
		giveError(w, http.StatusBadRequest, err.Error())
		return
	}
	expires := c.now().Add(life)
	if expires.After(tokenEnd) {
		expires = tokenEnd
	}
	id, key, err := c.issueKey(account, expires)
	if err != nil {
		giveError(w, http.StatusInternalServerError, err.Error())
		return
	}
	giveJSON(w, http.StatusOK, struct {
		ID      string `json:"accessKeyId"`
		Secret  string `json:"secret"`
		Session string `json:"sessionToken"`
		Expires string `json:"expiresAt"`
	}{id, key.secret, key.session, expires.UTC().Format(time.RFC3339Nano)})
}

// readKeyRequest is how long the key may live: as long as is asked for, or as
// any.
func readKeyRequest(body io.Reader, account string) (time.Duration, error) {
	var asked struct {
		Subject  string `json:"subjectId"`
		Session  string `json:"sessionName"`
		Policy   string `json:"policy"`
		Duration string `json:"duration"`
	}
	if err := json.NewDecoder(body).Decode(&asked); err != nil {
		return 0, fmt.Errorf("the request is not JSON: %w", err)
	}
	if !sessionName.MatchString(asked.Session) {
		return 0, fmt.Errorf("sessionName %q (want 1 to 64 of letters, digits and _+=,.@-)", asked.Session)
	}
	if asked.Subject != "" && asked.Subject != account {
		return 0, fmt.Errorf("subjectId %.*q is not who asks", maxSubject, asked.Subject)
	}
	if len(asked.Policy) > maxKeyPolicy {
		return 0, fmt.Errorf("policy has %d bytes (at most %d)", len(asked.Policy), maxKeyPolicy)
	}
	if asked.Policy != "" {
		return 0, fmt.Errorf("policy %q (the lab's object storage knows none)", asked.Policy)
	}
	if asked.Duration == "" {
		return mostKeyLife, nil
	}
	life, err := time.ParseDuration(asked.Duration)
	if err != nil || life < leastKeyLife || life > mostKeyLife {
		return 0, fmt.Errorf("duration %q (want %.0fs to %.0fs)", asked.Duration, leastKeyLife.Seconds(), mostKeyLife.Seconds())
	}
	return life, nil
}

func (c *Cloud) issueKey(account string, expires time.Time) (id string, key ephemeralKey, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	raw := make([]byte, 10+31+211)
	if _, err := io.ReadFull(c.random, raw); err != nil {
		return "", key, fmt.Errorf("cannot make a key: %w", err)
	}
	b64 := base64.RawURLEncoding
	// The shapes that are documented: 20 characters, 43 of them, about 285.
	id = hex.EncodeToString(raw[:10])
	key = ephemeralKey{account, "YC" + b64.EncodeToString(raw[10:41])[:41], "s1." + b64.EncodeToString(raw[41:]), expires}
	c.keys[id] = key
	return id, key, nil
}
