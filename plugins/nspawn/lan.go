package nspawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/labctl-dev/labctl/plugins/nspawn/room"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// putNetwork tells the lab's network process of a network, and starts that process if there is none.
func (s *nspawn) putNetwork(ctx context.Context, r provider.Resource) error {
	var a networkAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	for _, program := range needed(a.Network) {
		if _, err := exec.LookPath(program); err != nil {
			return &provider.Error{Code: provider.Missing, Text: program}
		}
	}
	ds := s.dirs(r.Lab)
	if err := ds.make(); err != nil {
		return err
	}
	if err := s.startRoom(ctx, ds); err != nil {
		return err
	}
	return roomError(ds.client().Set(ctx, a.Network))
}

// needed are the programs that a network takes.
func needed(n room.Network) []string {
	all := []string{"ip", "nft"}
	if n.Uplink {
		all = append(all, "slirp4netns", "nsenter")
	}
	if n.Uplink || n.DHCP != nil || len(n.Leases) > 0 {
		all = append(all, "dnsmasq")
	}
	return all
}

// startRoom makes sure that the lab's network process answers.
func (s *nspawn) startRoom(ctx context.Context, ds dirs) error {
	s.starting.Lock()
	defer s.starting.Unlock()
	_, err := ds.client().Status(ctx)
	if !errors.Is(err, room.ErrNotRunning) {
		return roomError(err)
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	host, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return failure.File(err)
	}
	defer host.Close()
	name := filepath.Join(ds.room(), "room.log")
	logFile, err := os.Create(name)
	if err != nil {
		return failure.File(err)
	}
	defer logFile.Close()
	cmd := exec.Command(exe, roomWord, ds.room())
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles, cmd.SysProcAttr = "/", logFile, logFile, []*os.File{host}, apart(false)
	if err := cmd.Start(); err != nil {
		return failure.File(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	failed := false
	up := within(ctx, startDeadline, func() bool {
		select {
		case <-ended:
			failed = true
		default:
			_, err = ds.client().Status(ctx)
		}
		return failed || err == nil
	})
	if up && !failed {
		return nil
	}
	out, _ := os.ReadFile(name)
	return &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("the lab's network process does not answer: %s", strings.TrimSpace(string(out)))}
}

func (s *nspawn) deleteNetwork(ctx context.Context, o provider.Observed) error {
	err := s.dirs(o.Lab).client().Remove(ctx, o.Addr.Name)
	if errors.Is(err, room.ErrNotRunning) {
		return nil
	}
	return roomError(err)
}

// stopRoom ends a network process that has no networks. It says whether none is left.
func (s *nspawn) stopRoom(ctx context.Context, ds dirs) (bool, error) {
	st, err := ds.client().Status(ctx)
	switch {
	case errors.Is(err, room.ErrNotRunning):
		return true, nil
	case err != nil:
		return false, roomError(err)
	case len(st.Networks) > 0:
		return false, nil
	}
	if err := ds.client().Stop(ctx); err != nil {
		return false, roomError(err)
	}
	start := began(st.PID)
	if start != "" && !gone(ctx, st.PID, start, killDeadline) {
		return false, &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("the lab's network process, %d, does not end within %s", st.PID, killDeadline)}
	}
	return true, nil
}

// roomError gives the network process's errors the provider's codes; nil stays nil.
func roomError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, room.ErrNotRunning):
		return &provider.Error{Code: provider.Unavailable, Text: err.Error()}
	case strings.Contains(err.Error(), "address already in use"):
		return &provider.Error{Code: provider.InUse, Text: err.Error()}
	}
	return failure.File(err)
}
