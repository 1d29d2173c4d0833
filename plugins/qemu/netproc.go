package qemu

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/labctl-dev/labctl/plugins/qemu/netd"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// networkDeadline is how long making a network may take, a network process that is just ending included.
const networkDeadline = 40 * time.Second

func (ds dirs) netd() netd.Paths { return netd.Paths{Dir: filepath.Join(ds.data, "netd"), Run: ds.run} }

func (ds dirs) lans() netd.Client { return netd.Client{Socket: ds.netd().Socket()} }

// putNetwork tells the network process of a network, and starts that process if there is none. Guests need nothing:
// their QEMUs listen, and are dialled.
func (q *qemu) putNetwork(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a networkAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	if err := canJoin(a.Join); err != nil {
		return err
	}
	ds := q.dirs(r.Lab)
	if err := ds.make(); err != nil {
		return err
	}
	if a.Netboot != nil {
		if err := q.provide(ctx, ds, a.Netboot.Targets, p); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, networkDeadline)
	defer cancel()
	for {
		err := q.startNetworks(ctx, ds)
		if err == nil {
			err = ds.lans().Set(ctx, a.Network)
		}
		switch netd.CodeOf(err) {
		case "":
			return nil
		case netd.Ending, netd.NotRunning: // it ends with its last network; the next one comes when it has gone
		default:
			return networkError(err)
		}
		select {
		case <-ctx.Done():
			return networkError(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// startNetworks makes sure that a network process of our version answers.
func (q *qemu) startNetworks(ctx context.Context, ds dirs) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	o := netd.StartOptions{Paths: ds.netd(), Exe: exe, Argv0: os.Args[0]}
	err = netd.Start(ctx, o)
	switch netd.CodeOf(err) {
	case netd.WrongServer: // of another release of labctl
	case netd.Timeout: // hangs
		if ctx.Err() != nil {
			return err
		}
	default:
		return err
	}
	if err := netd.Stop(ctx, ds.netd()); err != nil {
		return err
	}
	return netd.Start(ctx, o)
}

func (q *qemu) deleteNetwork(ctx context.Context, o provider.Observed) error {
	ds := q.dirs(o.Lab)
	err := ds.lans().Remove(ctx, o.Addr.Name)
	if c := netd.CodeOf(err); c == netd.NotRunning || c == netd.Ending {
		err = nil
	}
	if err != nil {
		return networkError(err)
	}
	os.Remove(filepath.Join(ds.run, "net", key(o.Addr.Name))) // if no machine's socket is in it
	return nil
}

// stopNetworks ends a network process that has no networks or hangs. It says whether none is left.
func stopNetworks(ctx context.Context, ds dirs) (bool, error) {
	st, err := ds.lans().Status(ctx)
	switch {
	case netd.CodeOf(err) == netd.NotRunning:
		return true, nil
	case err == nil && len(st.Networks) > 0:
		return false, nil
	}
	if err := netd.Stop(ctx, ds.netd()); err != nil {
		return false, networkError(err)
	}
	return true, nil
}

// networksOf asks the network process. One that does not run, hangs or is of another version has no networks: making
// them again mends all three.
func networksOf(ctx context.Context, ds dirs) (netd.Status, error) {
	st, err := ds.lans().Status(ctx)
	if err == nil {
		return st, nil
	}
	if ctx.Err() != nil {
		return st, failure.File(ctx.Err())
	}
	switch netd.CodeOf(err) {
	case netd.NotRunning, netd.Ending, netd.WrongServer, netd.Timeout:
		return netd.Status{}, nil
	}
	return st, networkError(err)
}

// networkError gives the network process's errors the provider's codes; nil stays nil.
func networkError(err error) error {
	if err == nil {
		return nil
	}
	codes := map[netd.Code]provider.Code{
		netd.NotRunning: provider.Unavailable, netd.Ending: provider.Busy, netd.WrongServer: provider.Unavailable, netd.InUse: provider.InUse,
		netd.Invalid: provider.Invalid, netd.NoNetwork: provider.NotFound, netd.Refused: provider.Unavailable, netd.Timeout: provider.Timeout,
		netd.Unreachable: provider.Unavailable, netd.Canceled: provider.Canceled,
	}
	code, ok := codes[netd.CodeOf(err)]
	if !ok {
		code = provider.CodeOf(failure.File(err))
	}
	return &provider.Error{Code: code, Text: err.Error()}
}
