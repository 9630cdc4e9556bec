package main

import (
	"context"
	"errors"
	"os/exec"
	"strings"

	"google.golang.org/grpc"

	"pgha-gen/deploy/yandex"
)

// connect is one with the credentials that people have.
func connect(getenv func(string) string) connector {
	return func(ctx context.Context) (grpc.ClientConnInterface, error) {
		account := account(getenv)
		if yc, err := exec.LookPath("yc"); err == nil {
			account.Profile = func(ctx context.Context) (string, error) { return createToken(ctx, yc) }
		}
		credentials, err := account.Credentials(ctx)
		if err != nil {
			return nil, err
		}
		return yandex.Connect(ctx, credentials)
	}
}

// account is the one whose credentials are in the environment.
func account(getenv func(string) string) yandex.Account {
	return yandex.Account{Token: getenv("YC_TOKEN"), KeyFile: getenv("YC_SERVICE_ACCOUNT_KEY_FILE")}
}

func createToken(ctx context.Context, yc string) (string, error) {
	var said strings.Builder
	cmd := exec.CommandContext(ctx, yc, "iam", "create-token")
	cmd.Stderr = &said
	token, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		if last := lines[len(lines)-1]; last != "" {
			return "", errors.New(last)
		}
		return "", err
	}
	return string(token), nil
}
