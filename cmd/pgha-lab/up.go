//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/generator/emit"
	"pgha-gen/lab/session"
)

func (a *app) upCommand() *cobra.Command {
	s := &source{}
	foreground := false
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Boot the whole cluster, and wait until it takes writes",
		Long: `Bake the images that are missing, power all machines on, and wait until each says
that it is ready and a write through HAProxy was acknowledged. Then print how to
connect. Each up makes a new cluster. The lab stays up in the background until
pgha-lab down; an interrupt before it is up takes everything down.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.config(s)
			if err != nil {
				return err
			}
			pid, err := c.Folder.Keeper()
			if err != nil {
				return err
			}
			if pid != 0 {
				return &session.TakenError{What: "a lab is up in " + string(c.Folder), PID: pid}
			}
			if foreground {
				return a.upHere(cmd.Context(), c)
			}
			return a.upBehind(cmd.Context(), c, s)
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&foreground, "foreground", false, "keep the lab up in this process, until it is interrupted")
	return cmd
}

// keepCommand is what up runs in the background.
func (a *app) keepCommand() *cobra.Command {
	s := &source{}
	cmd := &cobra.Command{
		Use:    "keep",
		Short:  "Keep a lab up (started by up)",
		Hidden: true,
		Args:   cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.config(s)
			if err != nil {
				return err
			}
			return session.Run(cmd.Context(), c)
		},
	}
	s.flags(cmd)
	return cmd
}

func (a *app) upHere(ctx context.Context, c session.Config) error {
	ended := make(chan error, 1)
	go func() { ended <- session.Run(ctx, c) }()
	r, err := a.follow(ctx, c.Folder, c.PID, ended)
	if err != nil {
		return err
	}
	if err := a.sayUp(c.Folder, r); err != nil {
		return err
	}
	fmt.Fprintln(a.Err, "an interrupt (Ctrl-C) takes it down")
	return <-ended
}

// upBehind starts the lab's own process: in a session of its own, so that
// neither an interrupt typed here nor the end of the terminal reaches it.
func (a *app) upBehind(ctx context.Context, c session.Config, s *source) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(c.Folder.Log(), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "keep", "--dir", string(c.Folder), "--cache", c.Cache, "--network", c.Network, "--etcd", c.Program, "-f", "-")
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(s.text)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	r, err := a.follow(ctx, c.Folder, cmd.Process.Pid, ended)
	if err != nil {
		if said, _ := io.ReadAll(io.NewSectionReader(log, before, 1<<20)); len(said) > 0 {
			a.Err.Write(said) // its own sentences
			return cli.Reported(err)
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("the lab's process %d ended before it was up (%w; %s down removes what it left)", exit.Pid(), err, a.self())
		}
		return err
	}
	return a.sayUp(c.Folder, r)
}

// follow shows the progress of the lab that a process brings up, until it is
// up, or has ended.
func (a *app) follow(ctx context.Context, f session.Folder, pid int, ended <-chan error) (session.Record, error) {
	p := a.progress()
	defer p.close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		r, ok, err := f.Load()
		if err != nil {
			return r, err
		}
		if ok && r.PID == pid {
			p.show(r, time.Now())
			if r.Phase == session.Up {
				return r, nil
			}
		}
		select {
		case <-tick.C:
		case err := <-ended:
			switch {
			case ctx.Err() != nil && err == nil:
				err = errors.New("interrupted, and everything was taken down")
			case err == nil:
				err = errors.New("the lab was taken down before it was up")
			}
			return r, err
		}
	}
}

func (a *app) sayUp(f session.Folder, r session.Record) error {
	psql := func(replicas bool) (string, error) {
		return emit.Shell("ip", "netns", "exec", r.Network, "psql", f.Conninfo(r, replicas))
	}
	write, err := psql(false)
	if err != nil {
		return err
	}
	read, err := psql(true)
	if err != nil {
		return err
	}
	if a.Width() == 0 { // there it is on the screen
		fmt.Fprint(a.Out, r.Table(0))
	}
	_, err = fmt.Fprintf(a.Out, `
first acknowledged write: %.1f s after power-on (all machines ready: %.1f s)

write  %s psql
read   %[3]s psql --replicas
or     %[4]s
       %[5]s
look   %[3]s status
       %[6]s
end    %[3]s down
`, r.FirstWrite.Sub(r.PoweredOn).Seconds(), r.AllReady().Sub(r.PoweredOn).Seconds(), a.self(), write, read, f.Timeline())
	return err
}
