package engine

import (
	"context"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/engine/room"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// room measures the host for what p starts and makes. A plan that does neither asks nobody.
func (e Engine) room(ctx context.Context, l lab.Lab, p plan.Plan) (*room.Verdict, error) {
	in := room.Input{Lab: l, Starts: map[string]bool{}, Ends: map[string]bool{}}
	for _, c := range p.Changes {
		k, _ := e.Description.Kind(c.Addr.Kind)
		switch {
		case k.Machine && c.Action == plan.Delete:
			in.Ends[c.Machine] = true
		case k.Machine && c.Action.Puts() && c.Action != plan.Adopt:
			in.Starts[c.Machine] = true
		case k.Data && (c.Action == plan.Create || c.Action == plan.Replace):
			if d, ok := diskOf(l, c.Addr); ok {
				in.Disks = append(in.Disks, d)
			}
		}
	}
	return e.judge(ctx, in)
}

// Room measures the host for all of the lab, as if nothing of it existed but what runs; nil where that is not known.
func (e Engine) Room(ctx context.Context, l lab.Lab) (*room.Verdict, error) {
	in := room.Input{Lab: l, Starts: map[string]bool{}}
	for _, m := range l.Machines {
		in.Starts[m.Name] = true
	}
	return e.judge(ctx, in)
}

func (e Engine) judge(ctx context.Context, in room.Input) (*room.Verdict, error) {
	m, ok := e.Provider.(provider.Measurer)
	if !ok || !e.Description.Has(provider.Measures) || len(in.Starts)+len(in.Disks) == 0 {
		return nil, nil
	}
	c, err := m.Capacity(ctx, in.Lab.Within())
	if err != nil {
		return nil, about("measure the host of lab "+in.Lab.Name, err)
	}
	in.Capacity = c
	return room.Judge(in), nil
}

// diskOf is the lab's disk at an address.
func diskOf(l lab.Lab, a provider.Addr) (room.Disk, bool) {
	machine, name, err := a.Disk()
	if err != nil {
		return room.Disk{}, false
	}
	m, _ := l.Machine(machine)
	for i, d := range m.Disks {
		if d.Name == name {
			return room.Disk{Name: a.Name, Pool: d.Pool, Size: d.Size, Root: i == 0}, true
		}
	}
	return room.Disk{}, false
}

// NoRoomError says what the host has too little of for a plan.
type NoRoomError struct{ Problems []room.Problem }

func (e *NoRoomError) Error() string {
	text := "the host has no room for this plan:"
	for i, p := range e.Problems {
		if i > 0 {
			text += ";"
		}
		text += " " + p.Text
	}
	return text
}
