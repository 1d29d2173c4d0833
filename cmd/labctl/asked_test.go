package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/inside"
	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/memory"
	"github.com/labctl-dev/labctl/schema"
)

// nobody is a way into machines that nobody takes.
type nobody struct{ provider.Provider }

func (nobody) Dial(context.Context, provider.Endpoint) (io.ReadWriteCloser, error) {
	return nil, io.ErrClosedPipe
}

// TestAsked: what labctl test asks machines, and which answer is right, is proven behind the filter of the target's host.
func TestAsked(t *testing.T) {
	dir := t.TempDir()
	const text = `
name: "filtered"
networks: front: cidr: "10.1.0.0/24"
networks: inside: cidr: "10.2.0.0/24"
routers: core: nics: {front: {}, inside: {}}
servers: web: nics: front: ip: "10.1.0.10"
servers: db: nics: inside: ip: "10.2.0.10"
services: sql: "tcp/3306"
policy: sql: {from: "web", to: "db", allow: "sql"}
`
	file := filepath.Join(dir, "lab.cue")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	spec, err := schema.Load(schema.Options{Args: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	lan := map[string]any{"name": "lan", "network": "inside", "priority": 1000, "from": []string{"10.2.0.0/24"}, "services": []string{"any"}}
	for name, values := range map[string]map[string]any{
		"open":   {},
		"narrow": {"filter": map[string]any{"networks": []string{"inside"}, "rules": []any{lan}}},
	} {
		plugin := memory.Plugin()
		p, err := plugin.New(provider.Options{Home: dir, Target: name, Values: values})
		if err != nil {
			t.Fatal(err)
		}
		r := &road{cli: &cli{}, spec: spec, lab: spec.Lab, engine: engine.Engine{Description: plugin.Description, Provider: p}}
		r.lab.Target = name
		r.guests = &inside.Guests{Lab: r.lab, Dialer: nobody{p}}
		asked, err := r.tester(testFlags{noChecks: true}, live.Scope{From: "web", To: "db"})
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, q := range asked.set.Questions {
			if q.Packet.Proto == string(lab.TCP) && q.Packet.Dport == 3306 {
				found = true
				if q.Open != (name == "open") {
					t.Errorf("target %s: 3306 is to be open: %v, by %s", name, q.Open, q.Decision)
				}
			}
		}
		if !found {
			t.Errorf("target %s: nobody asks for 3306: %+v", name, asked.set.Questions)
		}
	}
}
