package cloud

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const contentHash = "X-Amz-Content-Sha256"

// maxSkew is how far the clock of who signs may be off.
const maxSkew = 15 * time.Minute

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$`)

// signedBy is the service account whose ephemeral key signed a request:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
func (c *Cloud) signedBy(r *http.Request) (string, error) {
	part := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if part == nil {
		return "", storageError{http.StatusForbidden, "AccessDenied", "Access Denied"}
	}
	id, day, region, headers, signature := part[1], part[2], part[3], strings.Split(part[4], ";"), part[5]
	c.mu.Lock()
	key, ok := c.keys[id]
	c.mu.Unlock()
	now := c.now()
	signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	switch {
	case !ok:
		return "", storageError{http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records"}
	case !now.Before(key.expires):
		return "", storageError{http.StatusBadRequest, "ExpiredToken", "The provided token has expired"}
	case !hmac.Equal([]byte(key.session), []byte(r.Header.Get("X-Amz-Security-Token"))):
		return "", storageError{http.StatusBadRequest, "InvalidToken", "The provided token is malformed or otherwise not valid"}
	case err != nil || now.Sub(signed).Abs() > maxSkew:
		return "", storageError{http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large"}
	}
	secret := []byte("AWS4" + key.secret)
	for _, part := range []string{day, region, "s3", "aws4_request"} {
		secret = mac(secret, part)
	}
	sum := sha256.Sum256([]byte(canonical(r, headers)))
	want := mac(secret, strings.Join([]string{
		"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), day + "/" + region + "/s3/aws4_request", hex.EncodeToString(sum[:]),
	}, "\n"))
	if !slices.Contains(headers, "host") || !slices.Contains(headers, "x-amz-date") || !hmac.Equal([]byte(hex.EncodeToString(want)), []byte(signature)) {
		return "", storageError{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided"}
	}
	return key.account, nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonical is the text of a request that is signed.
func canonical(r *http.Request, headers []string) string {
	var b strings.Builder
	for _, line := range []string{r.Method, escape(r.URL.Path, "/"), canonicalQuery(r.URL.Query())} {
		b.WriteString(line + "\n")
	}
	for _, name := range headers {
		var value string
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		default:
			var all []string
			for _, v := range r.Header.Values(name) {
				all = append(all, strings.Join(strings.Fields(v), " "))
			}
			value = strings.Join(all, ",")
		}
		b.WriteString(name + ":" + value + "\n")
	}
	b.WriteString("\n" + strings.Join(headers, ";") + "\n" + r.Header.Get(contentHash))
	return b.String()
}

func canonicalQuery(q url.Values) string {
	var all []string
	for name, values := range q {
		for _, v := range values {
			all = append(all, escape(name, "")+"="+escape(v, ""))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "&")
}

// escape is AWS's form of percent encoding: all but RFC 3986's unreserved
// characters, and those in spare.
func escape(s, spare string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~"+spare, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	return b.String()
}
