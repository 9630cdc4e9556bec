package yandex

import (
	"context"
	"errors"
	"fmt"
	"strings"

	sdk "github.com/yandex-cloud/go-sdk/v2/pkg/errors"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// again is what to do where the cause may be gone the next time.
const again = "run this again: it goes on where it stopped"

// trouble is an error of the API in one sentence: what could not be done, why,
// and what to do.
func trouble(what string, err error) error {
	var auth *sdk.AuthError
	if errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled {
		return fmt.Errorf("cannot %s: %w", what, context.Canceled)
	}
	said := strings.TrimRight(strings.Join(strings.Fields(message(err)), " "), ".")
	code := status.Code(err)
	if errors.As(err, &auth) {
		code = codes.Unauthenticated
		said = "no token is to be had"
	}
	instead := again
	switch code {
	case codes.Unauthenticated:
		instead = "the token has ended or is none of this cloud's: set YC_TOKEN or YC_SERVICE_ACCOUNT_KEY_FILE, or run yc init, and then this again"
	case codes.PermissionDenied:
		instead = "see cloud.folder_id, and whether the account has the role admin there, or compute.editor and the others that the cluster's README.md names"
	case codes.ResourceExhausted:
		instead = "ask for a higher quota in the console, or want less in the spec; then " + again
	case codes.Unavailable, codes.DeadlineExceeded:
		instead = "the API does not answer; " + again
	case codes.InvalidArgument:
		instead = "change it in the spec"
	}
	return fmt.Errorf("cannot %s: %s (%s)", what, said, instead)
}

func message(err error) string {
	if s, ok := status.FromError(err); ok {
		return s.Message()
	}
	return err.Error()
}
