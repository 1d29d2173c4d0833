package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// A machine has a control group of its own in all hierarchies: the unified one, and those of version 1 where the host has
// that. In the unified one it has limits, where the host lets it. Below its groups it may make more (box.Plan): Docker
// inside does.

// hierarchies are where the host has them mounted.
func hierarchies() (unified string, all []string) {
	b, _ := os.ReadFile("/proc/self/mounts")
	for _, line := range strings.Split(string(b), "\n") {
		w := strings.Fields(line)
		switch {
		case len(w) < 4:
		case w[2] == "cgroup2":
			unified, all = w[1], append(all, w[1])
		case w[2] == "cgroup":
			all = append(all, w[1])
		}
	}
	return unified, all
}

// group is a machine's group within a hierarchy.
func (ds dirs) group(hierarchy, machine string) string {
	return filepath.Join(hierarchy, "labctl", key(ds.data)+"-"+machine)
}

// makeGroups makes a machine's control groups with its limits.
func makeGroups(ds dirs, d definition) ([]string, error) {
	_, all := hierarchies()
	var groups []string
	for _, h := range all {
		g := ds.group(h, d.Machine)
		if err := os.MkdirAll(g, 0o755); err != nil {
			return nil, failure.File(err)
		}
		for _, dir := range []string{filepath.Dir(g), g} {
			if err := inherit(dir); err != nil {
				return nil, failure.File(err)
			}
		}
		groups = append(groups, g)
	}
	return groups, limit(ds, d)
}

// inherit gives a group the processors and memory nodes of its parent: in version 1 one without takes no process.
func inherit(g string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(g), name))
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(strings.TrimSpace(string(value))) == 0 {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(g, name), value, 0o644)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // of the unified hierarchy the root alone has some of them
			return err
		}
	}
	return nil
}

// limit sets what a machine may use, where this host can: a host with version 1 cannot.
func limit(ds dirs, d definition) error {
	unified, _ := hierarchies()
	if unified == "" || !controls(unified) {
		return nil
	}
	g := ds.group(unified, d.Machine)
	for _, parent := range []string{unified, filepath.Dir(g)} {
		for _, c := range []string{"+memory", "+cpu"} { // one that is on already is no error
			if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte(c), 0o644); err != nil {
				return nil
			}
		}
	}
	for file, value := range map[string]string{
		"memory.max": strconv.FormatUint(uint64(d.Attrs.Memory), 10),
		"cpu.max":    fmt.Sprintf("%d 100000", 100000*d.Attrs.CPUs),
	} {
		if err := os.WriteFile(filepath.Join(g, file), []byte(value), 0o644); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failure.File(err)
		}
	}
	return nil
}

// controls says whether memory and processors can be limited in the unified hierarchy.
func controls(unified string) bool {
	b, err := os.ReadFile(filepath.Join(unified, "cgroup.controllers"))
	words := " " + strings.TrimSpace(string(b)) + " "
	return err == nil && strings.Contains(words, " memory ") && strings.Contains(words, " cpu ")
}

// removeGroups removes a machine's control groups and what still runs in them.
func removeGroups(ctx context.Context, ds dirs, machine string) error {
	_, all := hierarchies()
	for _, h := range all {
		g := ds.group(h, machine)
		if !within(ctx, killDeadline, func() bool { return removeGroup(g) }) {
			if ctx.Err() != nil {
				return failure.File(ctx.Err())
			}
			return &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("machine %s: processes in control group %s do not end within %s", machine, g, killDeadline)}
		}
		os.Remove(filepath.Dir(g)) // labctl's own, if this was the last
	}
	return nil
}

// removeGroup kills what is in a group, which is one machine's own, and removes it; false if it is not gone yet.
func removeGroup(g string) bool {
	var folders []string
	_ = filepath.WalkDir(g, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, path)
		}
		return nil
	})
	for i := len(folders) - 1; i >= 0; i-- {
		b, _ := os.ReadFile(filepath.Join(folders[i], "cgroup.procs"))
		for _, w := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(w); err == nil && pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_ = os.Remove(folders[i])
	}
	return !exists(g)
}
