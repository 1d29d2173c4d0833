package memory

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// What is heard of installations stands in $LABCTL_HOME/host/TARGET/installations.json, a list which tests write: nothing
// runs here that could be installed.

// Installations implements provider.Installer.
func (p *memory) Installations(ctx context.Context, l lab.Lab) ([]provider.Installation, error) {
	after, err := p.faults.at(ctx, "installations")
	if err != nil {
		return nil, provider.Wrap("ask how far installations are", provider.Addr{}, err)
	}
	defer after()
	b, err := os.ReadFile(filepath.Join(p.host().folder, "installations.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all, of []provider.Installation
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		return nil, provider.Wrap("ask how far installations are", provider.Addr{}, err)
	}
	for _, i := range all {
		if _, ok := l.Machine(i.Machine); ok {
			of = append(of, i)
		}
	}
	return of, nil
}

// StartOnce implements provider.Starter: a machine boots once more, and what from is nowhere to be seen.
func (p *memory) StartOnce(ctx context.Context, l lab.Lab, s provider.Start, progress provider.Progress) error {
	a := addr(machine, s.Machine)
	m, _ := l.Machine(s.Machine)
	return p.change(ctx, "start", a, l.Name, progress, func(objects map[string]provider.Observed) error {
		o, ok := objects[a.String()]
		if !ok {
			return &provider.Error{Code: provider.NotFound, Text: "it does not exist"}
		}
		if _, network := s.From.Network(m); network && o.Attrs["firmware"] == string(lab.Kernel) {
			return &provider.Error{Code: provider.Unsupported, Text: "its firmware \"kernel\" starts a kernel and asks for nothing else; \"bios\" and \"uefi\" do"}
		}
		n, _ := strconv.Atoi(o.Outputs["boots"])
		o.Outputs = boots(n)
		objects[a.String()] = o
		return nil
	})
}
