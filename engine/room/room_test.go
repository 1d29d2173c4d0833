package room_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/engine/room"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

func demo() lab.Lab {
	m := func(name string, cpus int, memory lab.Bytes, p lab.Power) lab.Machine {
		return lab.Machine{Name: name, CPUs: cpus, Memory: memory, Power: p}
	}
	return lab.Lab{Name: "demo", Target: "t", Machines: []lab.Machine{
		m("db", 2, 8*lab.GiB, lab.On), m("idle", 64, lab.TiB, lab.Off), m("web", 4, 2*lab.GiB, lab.On),
	}}
}

// TestJudge: a demand, a host, and what is said of them.
func TestJudge(t *testing.T) {
	all := map[string]bool{"db": true, "idle": true, "web": true}
	host := func(edit func(*provider.Capacity)) provider.Capacity {
		c := provider.Capacity{CPUs: 4, Memory: 32 * lab.GiB, Free: 16 * lab.GiB}
		if edit != nil {
			edit(&c)
		}
		return c
	}
	use := func(owner, machine string, memory, resident lab.Bytes) provider.Use {
		u := provider.Use{Name: machine, Lab: owner, Machine: machine, CPUs: 1, Memory: memory, Resident: resident}
		if owner != "" {
			u.Target = "t"
		}
		return u
	}
	tests := map[string]struct {
		in   room.Input
		want []string // "refused" or "warning", what, and a part of the text
	}{
		"fits":              {room.Input{Starts: all, Capacity: host(nil)}, nil},
		"off takes nothing": {room.Input{Starts: map[string]bool{"idle": true}, Capacity: host(nil)}, nil},
		"memory": {room.Input{Starts: all, Capacity: host(func(c *provider.Capacity) { c.Free = 9 * lab.GiB })}, []string{
			"refused memory: needs 10 GiB of memory; this host has 32 GiB, of which 9 GiB are free: db 8 GiB, web 2 GiB",
		}},
		"a warning is asked for": {room.Input{Starts: all, Capacity: host(func(c *provider.Capacity) { c.Free, c.Limits.Judge = lab.GiB, provider.Warn })}, []string{
			"warning memory: needs 10 GiB",
		}},
		"promised to others": {room.Input{Starts: all, Capacity: host(func(c *provider.Capacity) { c.Uses = []provider.Use{use("", "vm", 8*lab.GiB, lab.GiB)} })}, []string{
			"warning memory: needs 10 GiB of memory; this host has 32 GiB, of which 16 GiB are free, but machines that run may still take 7 GiB of that; others have vm 8 GiB",
		}},
		"what runs has its own": {room.Input{Starts: all, Capacity: host(func(c *provider.Capacity) {
			c.Free, c.Uses = 3*lab.GiB, []provider.Use{use("demo", "db", 8*lab.GiB, 8*lab.GiB)}
		})}, nil},
		"what grows needs the difference": {room.Input{Starts: all, Capacity: host(func(c *provider.Capacity) {
			c.Free, c.Uses = lab.GiB, []provider.Use{use("demo", "db", 6*lab.GiB, 6*lab.GiB), use("demo", "web", 2*lab.GiB, 2*lab.GiB)}
		})}, []string{"refused memory: needs 2 GiB of memory; this host has 32 GiB, of which 1 GiB are free: db 2 GiB"}},
		"what goes makes room": {room.Input{Starts: all, Ends: map[string]bool{"old": true}, Capacity: host(func(c *provider.Capacity) {
			c.Free, c.Uses = 4*lab.GiB, []provider.Use{use("demo", "old", 8*lab.GiB, 8*lab.GiB)}
		})}, nil},
		"a lab of the name elsewhere is another": {room.Input{Starts: all, Capacity: host(func(c *provider.Capacity) {
			c.Free, c.Uses = lab.GiB, []provider.Use{{Name: "x", Lab: "demo", Target: "else", Machine: "db", CPUs: 2, Memory: 8 * lab.GiB, Resident: lab.GiB}}
		})}, []string{"refused memory: needs 10 GiB"}},
		"processors": {room.Input{Starts: all, Capacity: host(func(c *provider.Capacity) {
			c.Limits.Overcommit, c.Uses = 1.5, []provider.Use{use("shop", "till", lab.GiB, lab.GiB)}
		})}, []string{
			"refused cpus: needs 6 virtual processors; this host has 4 processors, for 1.5 of which there may be 6 in machines (the target's option overcommit), and 1 are in use: web 4, db 2; others have lab shop 1",
		}},
		"nothing is known": {room.Input{Starts: all}, nil},
		"disks share a device": {room.Input{
			Disks: []room.Disk{{Name: "a/root", Size: 2 * lab.GiB, Root: true}, {Name: "b/root", Pool: "fast", Size: 2 * lab.GiB, Root: true}},
			Capacity: provider.Capacity{Stores: []provider.Store{
				{Pools: []string{""}, Path: "/a", Device: "1", Free: 900 * lab.MiB}, {Pools: []string{"fast"}, Path: "/b", Device: "1", Free: 900 * lab.MiB},
			}},
		}, []string{"refused disk: needs 1 GiB of disk at once in /a, /b on this host, where 900 MiB are free: a/root 2 GiB, b/root 2 GiB"}},
		"disks are thin": {room.Input{
			Disks:    []room.Disk{{Name: "a/data", Size: lab.TiB}},
			Capacity: provider.Capacity{Host: "big", Stores: []provider.Store{{Pools: []string{""}, Path: "/a", Device: "1", Free: lab.TiB, Promised: lab.GiB}}},
		}, []string{"warning disk: disks grow as they are written to: new ones to 1024 GiB in /a on host big, where 1024 GiB are free and those that are there may still take 1 GiB: a/data 1024 GiB"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.in.Lab = demo()
			v := room.Judge(test.in)
			var got []string
			if v != nil {
				for _, p := range v.Problems {
					got = append(got, map[bool]string{true: "refused ", false: "warning "}[p.Refused]+p.What+": "+p.Text)
				}
			}
			for i := range test.want { // a part will do
				if i < len(got) && strings.HasPrefix(got[i], test.want[i]) {
					got[i] = test.want[i]
				}
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestUnasked: a target may want none of it.
func TestUnasked(t *testing.T) {
	c := provider.Capacity{CPUs: 1, Memory: 1, Limits: provider.Limits{Judge: provider.Unasked}}
	if v := room.Judge(room.Input{Lab: demo(), Starts: map[string]bool{"db": true}, Capacity: c}); v != nil {
		t.Errorf("judged: %+v", v)
	}
}
