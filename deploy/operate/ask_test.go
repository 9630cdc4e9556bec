package operate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Why a machine did not answer, in few words.
func TestWhy(t *testing.T) {
	remote := &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}
	tests := []struct {
		name, reason string
		err          error
		want         string
	}{
		{"timeout", "how long we waited", context.DeadlineExceeded, "no answer within 1.5s"},
		{"timeout of the kernel", "the same", &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, "no answer within 1.5s"},
		{"interrupted", "is no fault of the machine", context.Canceled, "context canceled"},
		{"refused", "nothing listens", syscall.ECONNREFUSED, "connection refused"},
		{"no route", "another network", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}, "cannot be reached from here: no route"},
		{"host is off", "the gateway says so", syscall.EHOSTUNREACH, "cannot be reached from here: no route"},
		{"other name", "another machine has the address", &tls.CertificateVerificationError{Err: x509.HostnameError{Host: "pg-1.x"}}, "shows a certificate that is not for pg-1.x"},
		{"other authority", "another cluster, or a replaced one", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "shows a certificate that ca.crt of the operator's folder did not sign"},
		{"certificate ended", "when, and what to do", verified(noon.AddDate(0, 0, -800), noon.AddDate(0, 0, -70)), "shows a certificate that ended on 2026-09-22 (run pgha-gen secrets generate)"},
		{"certificate of tomorrow", "a new one would be no better", verified(noon.AddDate(0, 0, 1), noon.AddDate(0, 0, 800)), "shows a certificate that does not count: x509: certificate has expired or is not yet valid: current time 2026-12-01T12:00:00Z is before 2026-12-02T12:00:00Z"},
		{"certificate for something else", "what is wrong with it", &tls.CertificateVerificationError{Err: errors.New("it is a client's")}, "shows a certificate that does not count: it is a client's"},
		{"our certificate", "it does not know our authority", remote, "does not take the operator's certificate: tls: bad certificate"},
		{"no such name", "no DNS of the cloud here", &net.DNSError{Name: "pg-1.x", Err: "no such host"}, "its name is not known here: pg-1.x"},
		{"closed", "a firewall, or a full thread pool", io.EOF, "closed the connection without an answer"},
		{"reset", "the same", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, "closed the connection without an answer"},
		{"something else", "as it is", errors.New("what"), "what"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := why(&url.Error{Op: "Get", URL: "https://x", Err: test.err}, 1500*time.Millisecond)
			if got.Error() != test.want {
				t.Errorf("%s: have %s, want %s", test.reason, got, test.want)
			}
		})
	}
}

// verified is what verifying a certificate of that time fails with, at noon.
func verified(from, to time.Time) error {
	_, err := (&x509.Certificate{Raw: []byte("x"), NotBefore: from, NotAfter: to}).Verify(x509.VerifyOptions{Roots: x509.NewCertPool(), CurrentTime: noon})
	return &tls.CertificateVerificationError{Err: err}
}

func TestSentence(t *testing.T) {
	for answer, want := range map[string]string{
		" I am the leader,\n can not reinitialize ": "I am the leader, can not reinitialize",
		"<html><h1>503": "", `{"pause": true}`: "", "": "",
		strings.Repeat("x", 201): strings.Repeat("x", 200) + "...",
	} {
		if got := sentence([]byte(answer)); got != want {
			t.Errorf("%q: have %q, want %q", answer, got, want)
		}
	}
}
