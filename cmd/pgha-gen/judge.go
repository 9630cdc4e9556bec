package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// patience is how long a program may take to check its configuration.
const patience = 10 * time.Second

// judge lets programs that this host has check what the spec adds to their
// configuration. What they find are warnings: the machines may have another
// version than this host. A program that is not here says nothing.
func judge(file string, src []byte, c *role.Cluster) (specfile.Problems, error) {
	var all specfile.Problems
	for _, g := range c.Groups {
		j := g.Plan.Judge
		if j == nil {
			continue
		}
		said, err := ask(j)
		if err != nil {
			return nil, err
		}
		if said == "" {
			continue
		}
		doc := specfile.Parse(file, src)
		at := doc.Root().Key("roles").Key(g.Name)
		lines := strings.Split(string(j.Files[j.Main]), "\n")
		complaints := regexp.MustCompile(j.OfLine).FindAllStringSubmatch(said, -1)
		if whole := regexp.MustCompile(j.OfFile).FindStringSubmatch(said); whole != nil && len(complaints) == 0 {
			at.Warn("the %s of this host refuses what the spec makes of it: %s", j.Program[0], whole[1])
		}
		for _, found := range complaints {
			n, err := strconv.Atoi(found[1])
			if err != nil || n < 1 || n > len(lines) {
				continue
			}
			line := strings.TrimSpace(lines[n-1])
			place := at
			for _, key := range j.Written[line] {
				place = place.Key(key)
			}
			place.Warn("the %s of this host refuses %q: %s", j.Program[0], line, found[2])
		}
		_, warnings := doc.Problems()
		all = append(all, warnings...)
	}
	return all, nil
}

// ask runs a program over its files, and gives what it has against them.
func ask(j *role.Judge) (said string, err error) {
	program, err := exec.LookPath(j.Program[0])
	if err != nil {
		return "", nil
	}
	dir, err := os.MkdirTemp("", "pgha-gen-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for name, data := range j.Files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, j.Program[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		return "", nil
	}
	return string(out), nil
}
