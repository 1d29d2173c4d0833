package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"
)

// Installer installs one machine.
type Installer struct {
	// Connect brings the network up: from then on the order can be fetched.
	Connect func(context.Context) error
	// Server is the URL below which this machine's business is: SERVER/order is its Order, SERVER/report takes Reports.
	Server string
	// Console takes a line for each thing that happens.
	Console io.Writer
	// Sys and Dev are where sysfs and devices are: /sys and /dev.
	Sys, Dev string
	// Settle is how long a disk is waited for, whose driver may take a moment; 0 is 30 s.
	Settle time.Duration
	// Wait is how long it is waited before a connection is made again for the first time, and doubles from there; 0 is 0.5 s.
	Wait time.Duration

	http   *http.Client
	report *reporter
}

// orderWait is how long an order is waited for: a provisioner may come up beside its targets.
const orderWait = 10 * time.Minute

// Run installs, and returns what is to follow. When it fails the disk does not boot: with the network behind it in the
// machine's boot order the installation is begun anew at the next start.
func (in *Installer) Run(ctx context.Context) (After, error) {
	in.http = &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: silence, DisableCompression: true}}
	if in.Wait == 0 {
		in.Wait = firstWait
	}
	in.report = newReporter(in.http, in.Server+"/report", in.Console)
	alive, stop := context.WithCancel(ctx)
	var beating sync.WaitGroup
	beating.Go(func() { in.report.beat(alive) })
	o, err := in.run(ctx)
	stop()
	beating.Wait()
	in.report.end(ctx, err)
	return o.After, err
}

// run installs. A mistake of ours ends as any other failure does, in the phase that it is in.
func (in *Installer) run(ctx context.Context) (o Order, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a mistake in the installer: %v", p)
			in.report.note("%s", debug.Stack())
		}
	}()
	in.report.begin(ctx, Network)
	if err := in.Connect(ctx); err != nil {
		return Order{}, err
	}
	in.report.begin(ctx, Fetch)
	if o, err = in.order(ctx); err != nil {
		return o, err
	}
	in.report.machine(o.Machine)
	in.report.begin(ctx, Choose)
	f, err := in.disk(ctx, o.Disk)
	if err != nil {
		return o, err
	}
	in.report.note("writing to disk %s", f)
	to, err := openDisk(filepath.Join(in.Dev, f.name), f.sectors)
	if err != nil {
		return o, err
	}
	return o, errors.Join(in.write(ctx, to, o), to.Close())
}

// write makes the disk what the order says.
func (in *Installer) write(ctx context.Context, to medium, o Order) error {
	in.report.begin(ctx, Write)
	head, err := in.image(ctx, to, o.Image, o.Seed.Length)
	if err != nil {
		return err
	}
	in.report.begin(ctx, Grow)
	l, err := arrange(head, to.Sectors(), o.Seed.Length)
	if err != nil {
		return err
	}
	in.report.note("partition %d of the image grows to %d MiB", l.parts[l.grown].Number, l.parts[l.grown].Count*sector>>20)
	in.report.begin(ctx, Plant)
	if err := in.seed(ctx, to, l, o.Seed); err != nil {
		return err
	}
	in.report.begin(ctx, Finish)
	first, last, err := l.table(head)
	if err != nil {
		return err
	}
	if _, err := to.WriteAt(last, int64(to.Sectors())*sector-int64(len(last))); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	if _, err := to.WriteAt(first, 0); err != nil { // from here on it boots
		return err
	}
	return to.Sync()
}

func (in *Installer) seed(ctx context.Context, to medium, l layout, src Source) error {
	s := open(ctx, in.http, src, in.Wait, func(err error) { in.report.retried("seed", err) })
	defer s.Close()
	b, err := io.ReadAll(s)
	if err != nil {
		return err
	}
	at := int64(l.seed.Start) * sector
	if err := to.Zero(at, int64(l.seed.Count)*sector); err != nil {
		return err
	}
	if _, err := to.WriteAt(b, at); err != nil {
		return fmt.Errorf("writing the seed: %w", err)
	}
	return to.Sync()
}

// order fetches what is to be done. A machine that the server does not know (404) is told so at once; a server that
// does not answer may come up yet.
func (in *Installer) order(ctx context.Context) (Order, error) {
	ctx, cancel := context.WithTimeout(ctx, orderWait)
	defer cancel()
	for wait := in.Wait; ; wait = min(2*wait, mostWait) {
		o, again, err := in.ask(ctx)
		if err == nil || !again {
			return o, err
		}
		in.report.retried("order", err)
		select {
		case <-ctx.Done():
			return o, fmt.Errorf("no order within %s: %w", orderWait, err)
		case <-time.After(wait):
		}
	}
}

func (in *Installer) ask(ctx context.Context) (o Order, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, in.Server+"/order", nil)
	if err != nil {
		return o, false, err
	}
	resp, err := in.http.Do(req)
	if err != nil {
		return o, true, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return o, true, err
	case resp.StatusCode == http.StatusNotFound:
		return o, false, fmt.Errorf("%s/order: the server knows no such machine", in.Server)
	case resp.StatusCode != http.StatusOK:
		return o, resp.StatusCode >= 500, fmt.Errorf("%s/order: the server answers %s: %.200s", in.Server, resp.Status, bytes.TrimSpace(body))
	}
	o, err = ReadOrder(bytes.NewReader(body))
	return o, false, err
}

// disk waits for the disk that is meant: its driver may take a moment.
func (in *Installer) disk(ctx context.Context, want Disk) (found, error) {
	settle := in.Settle
	if settle == 0 {
		settle = 30 * time.Second
	}
	deadline := time.Now().Add(settle)
	for {
		all, err := disks(in.Sys)
		if err != nil {
			return found{}, err
		}
		f, err := choose(all, want)
		if err == nil || time.Now().After(deadline) || len(all) > 0 && !errors.Is(err, errNone) && want.Serial == "" {
			return f, err
		}
		select {
		case <-ctx.Done():
			return found{}, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
