package gce

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/plugins/gce/gcetest"
	"github.com/labctl-dev/labctl/provider"
)

// TestLog reads a console in pieces, follows it, loses what nobody read in time, and ends with its machine.
func TestLog(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	x := newTown(t, deployment(t, "deploy0"), gcetest.Options{})
	x.mustApply(x.options())
	l, s, p := x.lab, x.server, x.engine().Provider.(provider.Consoler)
	machine := l.Machines[0].Name
	name := api.Base(x.find(kindMachine, machine))
	long := strings.Repeat("0123456789abcde\n", 20000) // five pieces
	s.Print(name, long)
	log, err := p.Log(ctx, l, machine, false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(log)
	if err != nil || !strings.HasSuffix(string(b), long) || !strings.HasPrefix(string(b), "SeaBIOS") {
		t.Fatalf("read %d bytes: %v", len(b), err)
	}
	log.Close()
	if log, err = p.Log(ctx, l, machine, true); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(log, b); err != nil {
		t.Fatal(err)
	}
	s.Print(name, "more")
	more := make([]byte, 4)
	if _, err := io.ReadFull(log, more); err != nil || string(more) != "more" {
		t.Fatalf("%q: %v", more, err)
	}
	s.Print(name, strings.Repeat("x", 3<<20)) // the API keeps one
	lost := make([]byte, 60)
	if _, err := io.ReadFull(log, lost); err != nil || !strings.Contains(string(lost), "bytes were printed faster") {
		t.Fatalf("%q: %v", lost, err)
	}
	log.Close()
	if _, err := p.Log(ctx, l, "nobody", false); provider.CodeOf(err) != provider.NotFound {
		t.Error(err)
	}
	_, err = p.Console(ctx, l, machine)
	if provider.CodeOf(err) != provider.Unsupported || !strings.Contains(err.Error(), "gcloud compute connect-to-serial-port "+name) {
		t.Error(err)
	}
}
