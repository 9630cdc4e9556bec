package operate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// most is the most that an answer may have; Patroni's and HAProxy's have some
// kilobytes.
const most = 4 << 20

// refusal is an answer with a status that is not that of success.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string {
	if r.text == "" {
		return fmt.Sprintf("answers %d %s", r.status, http.StatusText(r.status))
	}
	return fmt.Sprintf("answers %d: %s", r.status, r.text)
}

// ask sends a question, with a body unless it is nil, and reads the answer as
// JSON into into, or as text if that is a *[]byte.
func (c *Client) ask(ctx context.Context, method, url string, body, into any) error {
	return c.send(ctx, c.world.Patience, method, url, body, into)
}

func (c *Client) send(ctx context.Context, limit time.Duration, method, url string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var data io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		data = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, data)
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if request.URL.Scheme == "https" && method != http.MethodGet {
		request.SetBasicAuth(user, c.operator.password)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return why(err, limit)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return why(err, limit)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return &refusal{response.StatusCode, sentence(answer)}
	}
	if text, ok := into.(*[]byte); ok {
		*text = answer
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("answers with something else than JSON of the kind that was asked for (%w)", err)
	}
	return nil
}

// sentence is the text of an answer that says what is wrong, in one line. A
// page of HTML says no more than its status.
func sentence(answer []byte) string {
	text := strings.Join(strings.Fields(string(answer)), " ")
	if strings.HasPrefix(text, "<") || strings.HasPrefix(text, "{") {
		return ""
	}
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	return text
}

// why says in a few words why there was no answer.
func why(err error, limit time.Duration) error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	var timeout net.Error
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var certificate *tls.CertificateVerificationError
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no answer within %v", limit)
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return errors.New("cannot be reached from here: no route")
	case errors.As(err, &host):
		return fmt.Errorf("shows a certificate that is not for %s", host.Host)
	case errors.As(err, &unknown):
		return fmt.Errorf("shows a certificate that %s of the operator's folder did not sign", caFile)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && strings.Contains(invalid.Detail, " is after "):
		return fmt.Errorf("shows a certificate that ended on %s (run pgha-gen secrets generate)", invalid.Cert.NotAfter.UTC().Format(time.DateOnly))
	case errors.As(err, &certificate):
		return fmt.Errorf("shows a certificate that does not count: %w", certificate.Err)
	case errors.As(err, &dns):
		return fmt.Errorf("its name is not known here: %s", dns.Name)
	case errors.As(err, &op) && op.Op == "remote error":
		return fmt.Errorf("does not take the operator's certificate: %w", op.Err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("closed the connection without an answer")
	}
	return err
}
