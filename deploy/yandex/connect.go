// Package yandex makes a planned cluster exist, by the API of Yandex Cloud.
package yandex

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	ycsdk "github.com/yandex-cloud/go-sdk/v2"
	"github.com/yandex-cloud/go-sdk/v2/credentials"
	wait "github.com/yandex-cloud/go-sdk/v2/pkg/operation"
	"github.com/yandex-cloud/go-sdk/v2/pkg/options"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Account is where the caller's credentials are. The first that is there is
// used.
type Account struct {
	Token   string                                // an IAM token: YC_TOKEN
	KeyFile string                                // of a service account: YC_SERVICE_ACCOUNT_KEY_FILE
	Profile func(context.Context) (string, error) // gives an IAM token by yc's own profile; nil: there is no yc
}

// Credentials are those of the account, or of the machine's own account if none
// is there. No error has any of them in it.
func (a Account) Credentials(ctx context.Context) (credentials.Credentials, error) {
	switch {
	case a.Token != "":
		return ofToken(a.Token, "YC_TOKEN", "yc iam create-token gives one")
	case a.KeyFile != "":
		found, err := credentials.ServiceAccountKeyFile(a.KeyFile)
		if err != nil {
			// Its own error may quote the file.
			return nil, fmt.Errorf("YC_SERVICE_ACCOUNT_KEY_FILE: cannot use %q as the key of a service account (yc iam key create --output writes one)", a.KeyFile)
		}
		return found, nil
	case a.Profile != nil:
		token, err := a.Profile(ctx)
		if err != nil {
			return nil, fmt.Errorf("yc iam create-token: %w (run yc init, or set YC_TOKEN or YC_SERVICE_ACCOUNT_KEY_FILE)", err)
		}
		return ofToken(strings.TrimSpace(token), "yc iam create-token", "run yc init")
	}
	return credentials.InstanceServiceAccount(), nil
}

func ofToken(token, from, instead string) (credentials.Credentials, error) {
	// The cloud takes no OAuth token any more from 2027 on.
	if !strings.HasPrefix(token, "t1.") || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("%s: what is there is no IAM token (%s)", from, instead)
	}
	return credentials.IAMToken(token), nil
}

// Connect gives the connection of all clients of the API.
func Connect(ctx context.Context, c credentials.Credentials, opts ...options.Option) (grpc.ClientConnInterface, error) {
	sdk, err := ycsdk.Build(ctx, append([]options.Option{options.WithCredentials(c)}, opts...)...)
	if err != nil {
		return nil, trouble("connect to the API", err)
	}
	return conn{sdk}, nil
}

// conn makes the SDK, which has a connection for each service, one that the
// generated clients take.
type conn struct{ *ycsdk.SDK }

func (c conn) Invoke(ctx context.Context, method string, in, out any, opts ...grpc.CallOption) error {
	cc, err := c.GetConnection(ctx, fullName(method), opts...)
	if err != nil {
		return err
	}
	return cc.Invoke(ctx, method, in, out, opts...)
}

func (c conn) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	cc, err := c.GetConnection(ctx, fullName(method), opts...)
	if err != nil {
		return nil, err
	}
	return cc.NewStream(ctx, d, method, opts...)
}

// fullName is that of a method, such as /yandex.cloud.vpc.v1.SubnetService/Get.
func fullName(method string) protoreflect.FullName {
	return protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
}

// done waits for an operation that a call began, and gives what it answers.
func done[R proto.Message](ctx context.Context, cc grpc.ClientConnInterface, op *operation.Operation, err error) (answer R, _ error) {
	if err != nil {
		return answer, err
	}
	operations := operation.NewOperationServiceClient(cc)
	end, err := wait.PollUntilDone(ctx, op.Id, func(ctx context.Context, id string, opts ...grpc.CallOption) (wait.YCOperation, error) {
		return operations.Get(ctx, &operation.GetOperationRequest{OperationId: id}, opts...)
	}, func(attempt int) time.Duration { return min(time.Duration(attempt+1)*20*time.Millisecond, time.Second) })
	if err == nil {
		err = wait.Error(end)
	}
	if err != nil {
		return answer, err
	}
	m, err := wait.Response(end)
	if err != nil {
		return answer, err
	}
	answer, ok := m.(R)
	if !ok {
		return answer, fmt.Errorf("operation %s answers with a %T", op.Id, m)
	}
	return answer, nil
}
