package cloud

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Buckets are what object storage holds, in memory. Several clouds may have the
// same ones, with rights of their own.
type Buckets struct {
	objects *s3mem.Backend
	server  http.Handler
}

// NewBuckets are none. Objects are as old as now's clock says.
func NewBuckets(now func() time.Time) *Buckets {
	objects := s3mem.New(s3mem.WithTimeSource(source(now)))
	return &Buckets{objects, gofakes3.New(objects, gofakes3.WithTimeSource(source(now)), gofakes3.WithIntegrityCheck(true)).Server()}
}

// source is a clock as gofakes3 wants it.
type source func() time.Time

func (s source) Now() time.Time                  { return s() }
func (s source) Since(t time.Time) time.Duration { return s().Sub(t) }

// PutBucket makes a bucket, and lets these service accounts read and write all
// of it, and nobody else anything. A bucket that is there keeps its objects.
func (c *Cloud) PutBucket(name string, editors ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := gofakes3.ValidateBucketName(name); err != nil {
		return fmt.Errorf("bucket %q: %w", name, err)
	}
	if err := c.buckets.objects.CreateBucket(name); err != nil && !gofakes3.IsAlreadyExists(err) {
		return fmt.Errorf("bucket %q: %w", name, err)
	}
	c.editors[name] = slices.Clone(editors)
	return nil
}

// SetEditors has find say which buckets there are, and which service accounts may
// read and write each, in the place of PutBucket.
func (c *Cloud) SetEditors(find func(bucket string) (editors []string, ok bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findEditors = find
}

// mayEditBucket are the accounts that may read and write a bucket, if it is there.
func (c *Cloud) mayEditBucket(bucket string) (editors []string, ok bool, err error) {
	c.mu.Lock()
	find := c.findEditors
	editors, made := c.editors[bucket]
	c.mu.Unlock()
	if find == nil {
		return editors, made, nil
	}
	if editors, ok = find(bucket); ok && !made {
		err = c.PutBucket(bucket)
	}
	return editors, ok, err
}

// Objects are those in a bucket, by their keys, each with its content's hash.
func (c *Cloud) Objects(bucket string) (map[string]string, error) {
	list, err := c.buckets.objects.ListBucket(bucket, nil, gofakes3.ListBucketPage{})
	if err != nil {
		return nil, fmt.Errorf("bucket %q: %w", bucket, err)
	}
	all := map[string]string{}
	for _, o := range list.Contents {
		all[o.Key] = o.ETag
	}
	return all, nil
}

// CorruptObject inverts the byte in the middle of an object, as a bad disk
// might, and nothing tells of it.
func (c *Cloud) CorruptObject(bucket, key string) error {
	object, err := c.buckets.objects.GetObject(bucket, key, nil)
	if err != nil {
		return fmt.Errorf("object %q in bucket %q: %w", key, bucket, err)
	}
	defer object.Contents.Close()
	data, err := io.ReadAll(object.Contents)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return fmt.Errorf("object %q in bucket %q is empty", key, bucket)
	}
	data[len(data)/2] ^= 0xff
	_, err = c.buckets.objects.PutObject(bucket, key, object.Metadata, bytes.NewReader(data), int64(len(data)), nil)
	return err
}

// Storage is object storage, to be served with TLS as storage.yandexcloud.net.
// Requests are in path style and signed in their headers (AWS signature version
// 4), with an ephemeral key of IAM that has not ended. Presigned requests,
// chunked signatures, anonymous access and a list of all buckets there are not.
func (c *Cloud) Storage() http.Handler { return http.HandlerFunc(c.serveStorage) }

func (c *Cloud) serveStorage(w http.ResponseWriter, r *http.Request) {
	status, err := c.delay(r.Context(), StorageService)
	if err != nil {
		return
	}
	if status == 0 && r.Method != http.MethodGet && r.Method != http.MethodHead {
		if status, err = c.delay(r.Context(), StorageWrites); err != nil {
			return
		}
	}
	if status != 0 {
		giveS3Error(w, r, storageError{status, faultCode(status), "object storage fails on purpose"})
		return
	}
	account, err := c.signedBy(r)
	if err == nil {
		err = c.mayEdit(account, r)
	}
	if err == nil {
		err = checkBody(r)
	}
	var refused storageError
	switch {
	case errors.As(err, &refused):
		giveS3Error(w, r, refused)
	case err != nil:
		giveS3Error(w, r, storageError{http.StatusBadRequest, "IncompleteBody", err.Error()})
	default:
		c.buckets.server.ServeHTTP(w, r)
	}
}

// mayEdit says whether an account may do what it asks for.
func (c *Cloud) mayEdit(account string, r *http.Request) error {
	buckets := []string{r.URL.Path}
	if from := r.Header.Get("X-Amz-Copy-Source"); from != "" {
		buckets = append(buckets, from)
	}
	for _, path := range buckets {
		bucket, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		editors, ok, err := c.mayEditBucket(bucket)
		if err != nil {
			return err
		}
		if !ok && bucket != "" {
			return storageError{http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist"}
		}
		if !slices.Contains(editors, account) {
			return storageError{http.StatusForbidden, "AccessDenied", "Access Denied"}
		}
	}
	return nil
}

// checkBody reads the body and compares it with the hash that was signed.
func checkBody(r *http.Request) error {
	want := r.Header.Get(contentHash)
	if want == "UNSIGNED-PAYLOAD" {
		return nil
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want {
		return storageError{http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed"}
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	return nil
}

// storageError is an answer of object storage that refuses.
type storageError struct {
	status        int
	code, message string
}

func (e storageError) Error() string { return e.code + ": " + e.message }

// faultCode is the code that clients judge by, whether to try again.
func faultCode(status int) string {
	switch status {
	case http.StatusForbidden:
		return "AccessDenied"
	case http.StatusNotFound:
		return "NoSuchBucket"
	case http.StatusServiceUnavailable:
		return "SlowDown"
	case http.StatusInternalServerError:
		return "InternalError"
	}
	return strings.ReplaceAll(http.StatusText(status), " ", "")
}

// giveS3Error reads what the client still sends first: otherwise the connection would be
// reset before it heard the answer (RFC 9112, 9.6).
func giveS3Error(w http.ResponseWriter, r *http.Request, e storageError) {
	const most = 64 << 20
	io.Copy(io.Discard, io.LimitReader(r.Body, most))
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(e.status)
	io.WriteString(w, xml.Header)
	xml.NewEncoder(w).Encode(struct {
		XMLName struct{} `xml:"Error"`
		Code    string
		Message string
	}{Code: e.code, Message: e.message})
}
