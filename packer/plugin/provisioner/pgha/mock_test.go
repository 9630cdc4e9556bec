package pgha

import (
	"context"
	"os"
	"strings"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// mock is the SDK's, with an end for each command and all of them kept.
type mock struct {
	packersdk.MockCommunicator
	ends     []int
	refuse   error
	onBake   func()
	commands []string
	uploaded []string
}

func (m *mock) Start(ctx context.Context, cmd *packersdk.RemoteCmd) error {
	m.commands = append(m.commands, cmd.Command)
	if m.onBake != nil && strings.Contains(cmd.Command, "bake.sh") {
		m.onBake()
	}
	if len(m.ends) == 0 {
		return m.refuse
	}
	m.StartExitStatus, m.ends = m.ends[0], m.ends[1:]
	return m.MockCommunicator.Start(ctx, cmd)
}

func (m *mock) UploadDir(dst, src string, exclude []string) error {
	entries, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		m.uploaded = append(m.uploaded, entry.Name())
	}
	return m.MockCommunicator.UploadDir(dst, src, exclude)
}
