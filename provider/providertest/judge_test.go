package providertest_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/memory"
	"github.com/labctl-dev/labctl/provider/providertest"
)

// broken is the memory provider with one promise broken.
type broken struct {
	provider.Provider
	how     string
	options provider.Options
	calls   atomic.Int64
}

// faults are the promises to break, and what the judge then says.
var faults = map[string]string{
	"expand: moody":           "Expand gives the same answer for the same lab",
	"expand: impure":          "Expand is pure",
	"expand: leaks":           "nothing secret of a seed is in a resource",
	"expand: seed":            "Expand leaves the seed to the engine",
	"expand: undescribed":     "Expand names only what the description does",
	"expand: dangling":        "what is needed exists in the lab",
	"expand: not normal":      "attributes are in normal form",
	"expand: machine":         "Machine is one of the lab's",
	"expand: owner":           "Lab is the owner's name",
	"expand: no routers":      "Expand knows this lab",
	"adopt: anybody's":        "what one lab has adopted another cannot",
	"adopt: keeps":            "Delete gives back what was adopted",
	"observe: forgets":        "the law: after creating everything",
	"observe: unsorted":       "what is observed is sorted by address",
	"observe: any lab":        "Observe returns what is owned for the lab's name",
	"observe: spec only":      "Observe returns also what is no longer in the spec",
	"observe: deaf":           "a canceled call says so: Observe",
	"create: not twice":       "repeating Create is no error",
	"create: deaf":            "a canceled call says so: Create",
	"update: nothing":         "the law: after the change",
	"update: reboots":         "an impact is a promise",
	"update: of nobody":       "Update of a machine that is absent is not-found",
	"delete: not twice":       "Delete of what is absent is success",
	"delete: leaves":          "a thing is gone when Delete returns",
	"delete: leaves files":    "nothing is left after the last object is deleted",
	"description: impact":     "every attribute has a known impact",
	"description: twice":      "kinds have unique names",
	"description: remade":     "a kind is remade with kinds that come before it",
	"description: unreached":  "no edit changes disk.unreached",
	"description: ability":    "a provider implements the optional interfaces that it announces",
	"description: options":    "Options is CUE text",
	"console: many clients":   "a console has one client at a time",
	"console: of nobody":      "Console of a machine that does not exist is not-found",
	"observe: another prefix": "the law: after creating everything",
	"protect: loses":          "Delete keeps the data of what is protected",
	"protect: silent":         "Delete keeps the data of what is protected",
	"capacity: nobody runs":   "a machine that runs is among those that take from their host",
	"capacity: all is free":   "no more memory is free than there is",
	"installs: strangers":     "installations are of the lab's machines",
	"start: of nobody":        "StartOnce of a machine that does not exist is not-found",
	"prices: of strangers":    "a price is of a thing that was asked about",
	"prices: any table":       "a table that makes no sense is invalid",
	"prices: undated":         "prices have a currency and a date",
	"expired: deaf":           "a canceled call says so: Expired",
	"filter: elsewhere":       "a filter is on the lab's networks",
	"quota: deaf":             "a canceled call says so: Quotas",
	"start: drifts":           "the law: after a start",
	"snapshot: any name":      "TakeSnapshot under a name that is none is invalid",
	"snapshot: again":         "TakeSnapshot under a name that is taken is invalid",
	"snapshot: whole":         "RestoreSnapshot of one that has lost nothing brings it back",
	"snapshot: drift":         "the law: after a snapshot was taken",
	"snapshot: says nothing":  "RestoreSnapshot names what it leaves alone",
	"snapshot: stays on":      "RestoreSnapshot powers machines off",
	"snapshot: knows better":  "RestoreSnapshot makes disks, and what is known of the insides",
	"snapshot: takes all":     "RestoreSnapshot leaves alone what the snapshot does not hold",
	"snapshot: torn":          "RestoreSnapshot of one that lost a part is invalid",
	"snapshot: stays":         "Snapshots lists those of the lab",
}

// TestJudgeCanFail breaks each promise in a process of its own.
func TestJudgeCanFail(t *testing.T) {
	for how, says := range faults {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestBroken$")
			cmd.Env = append(os.Environ(), "PROVIDERTEST_BROKEN="+how)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), says) {
				t.Errorf("the judge does not say %q: %v\n%s", says, err, out)
			}
		})
	}
}

// TestBroken is what TestJudgeCanFail runs; by itself it judges the memory provider with nothing broken.
func TestBroken(t *testing.T) {
	how := os.Getenv("PROVIDERTEST_BROKEN")
	p := memory.Plugin()
	d := &p.Description
	switch how {
	case "description: impact":
		d.Kinds[1].Attrs["mtu"] = provider.Attr{}
	case "description: twice":
		d.Kinds = append(d.Kinds, d.Kinds[0])
	case "description: remade":
		d.Kinds[0].RemadeWith = []string{"machine"}
	case "description: unreached":
		d.Kinds[2].Attrs["unreached"] = provider.Attr{Impact: provider.Live}
	case "description: ability":
		d.Abilities = append(d.Abilities, provider.Dials)
	case "description: options":
		d.Options += "}"
	}
	p.New = func(o provider.Options) (provider.Provider, error) {
		inner, err := memory.Plugin().New(o)
		if err != nil || strings.HasPrefix(how, "description") && how != "description: ability" || how == "" {
			return inner, err
		}
		return &broken{Provider: inner, how: how, options: o}, nil
	}
	providertest.Test(t, providertest.Options{
		Plugin: p,
		Options: func(t *testing.T) provider.Options {
			return provider.Options{Home: t.TempDir(), Target: "test", Values: map[string]any{"host": map[string]any{"cpus": 4, "memory": float64(16 * lab.GiB)}}}
		},
		Fixed: map[string]string{
			"network.lab": "owner", "disk.lab": "owner", "machine.lab": "owner", "guest.lab": "owner", "machine.arch": "tested with memory", "disk.pool": "tested with memory",
		},
		Foreign: func(t *testing.T, o provider.Options) {
			dir := filepath.Join(o.Home, "host", o.Target)
			text := `{"memory.machine/db": {"addr":{"provider":"memory","kind":"machine","name":"db"},"attrs":{"cpus":1,"memory":1073741824,"power":"on"}}}`
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "world.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		BootID: func(t *testing.T, p provider.Provider, l lab.Lab, machine string) string {
			found, _ := p.Observe(t.Context(), l)
			for _, o := range found {
				if o.Addr.Kind == "machine" && o.Machine == machine {
					return o.Outputs["boots"]
				}
			}
			return ""
		},
	})
}

func (b *broken) Expand(l lab.Lab, seeds map[string]lab.Seed) ([]provider.Resource, error) {
	rs, err := b.Provider.Expand(l, seeds)
	if err != nil || len(rs) == 0 {
		return rs, err
	}
	last := &rs[len(rs)-1]
	switch b.how {
	case "expand: no routers":
		for _, m := range l.Machines {
			if m.Routing != nil {
				return nil, &provider.Error{Op: "expand", Code: provider.Unsupported, Text: "no routers here"}
			}
		}
	case "expand: moody":
		if b.calls.Add(1)%2 == 0 {
			rs[0], *last = *last, rs[0]
		}
	case "expand: impure":
		l.Machines[0].CPUs++
	case "expand: leaks":
		last.Attrs["digest"] = string(seeds[last.Machine].Guest)
	case "expand: seed":
		last.Seed = &lab.Seed{}
	case "expand: undescribed":
		last.Attrs["surprise"] = true
	case "expand: dangling":
		last.Needs = append(last.Needs, provider.Addr{Provider: "memory", Kind: "machine", Name: "nobody"})
	case "expand: not normal":
		last.Attrs["digest"] = 1
	case "expand: machine":
		last.Machine = "nobody"
	case "expand: owner":
		last.Lab = ""
	}
	return rs, nil
}

func (b *broken) Observe(ctx context.Context, l lab.Lab) ([]provider.Observed, error) {
	if b.how == "observe: deaf" {
		ctx = context.WithoutCancel(ctx)
	}
	name := l.Name
	if b.how == "observe: any lab" {
		l.Name = providertest.Lab().Name
	}
	found, err := b.Provider.Observe(ctx, l)
	if err != nil || len(found) == 0 {
		return found, err
	}
	switch b.how {
	case "observe: forgets":
		delete(found[0].Attrs, "digest")
		found[len(found)-1].Attrs["mtu"] = 1.0
	case "observe: unsorted":
		found[0], found[len(found)-1] = found[len(found)-1], found[0]
	case "observe: spec only":
		var some []provider.Observed
		for _, o := range found {
			if _, ok := l.Machine(o.Machine); ok || o.Machine == "" {
				some = append(some, o)
			}
		}
		return some, nil
	case "observe: another prefix":
		found[len(found)-1].Addr.Name += "-" + name
	}
	return found, nil
}

func (b *broken) Create(ctx context.Context, r provider.Resource, p provider.Progress) error {
	switch b.how {
	case "adopt: anybody's":
		if r.Adopted && strings.HasSuffix(r.Lab, "-other") {
			return nil
		}
	case "create: deaf":
		ctx = context.WithoutCancel(ctx)
	case "create: not twice":
		if b.exists(r.Addr) {
			return &provider.Error{Code: provider.InUse, Text: "exists"}
		}
	}
	return b.Provider.Create(ctx, r, p)
}

func (b *broken) Update(ctx context.Context, o provider.Observed, r provider.Resource, p provider.Progress) error {
	switch b.how {
	case "update: nothing":
		return nil
	case "update: of nobody":
		if !b.exists(r.Addr) {
			return nil
		}
	case "update: reboots":
		if err := b.Provider.Delete(ctx, o, p); err != nil {
			return err
		}
		if err := b.Provider.Create(ctx, r, p); err != nil || r.Addr.Kind != "machine" {
			return err
		}
		off := r
		off.Attrs = provider.Attrs{"power": "off"}
		if err := b.Provider.Update(ctx, o, off, p); err != nil {
			return err
		}
	}
	return b.Provider.Update(ctx, o, r, p)
}

func (b *broken) Delete(ctx context.Context, o provider.Observed, p provider.Progress) error {
	switch b.how {
	case "adopt: keeps":
		if o.Adopted {
			return nil
		}
	case "delete: not twice":
		if !b.exists(o.Addr) {
			return &provider.Error{Code: provider.NotFound, Text: "no such thing"}
		}
	case "delete: leaves":
		if o.Addr.Kind == "network" {
			return nil
		}
	case "delete: leaves files":
		defer os.MkdirAll(filepath.Join(b.options.Home, "labs", providertest.Lab().Name, "targets", b.options.Target), 0o700)
	case "protect: loses":
		delete(o.Attrs, "protect")
	case "protect: silent":
		p = provider.Silent
	}
	return b.Provider.Delete(ctx, o, p)
}

func (b *broken) exists(a provider.Addr) bool {
	found, _ := b.Provider.Observe(context.Background(), providertest.Lab())
	for _, o := range found {
		if o.Addr == a {
			return true
		}
	}
	return false
}

// Console and Log are part of memory's abilities.
func (b *broken) Console(ctx context.Context, l lab.Lab, machine string) (io.ReadWriteCloser, error) {
	c := b.Provider.(provider.Consoler)
	switch {
	case b.how == "console: of nobody" && machine == "nobody":
		return nothing{}, nil
	case b.how == "console: many clients":
		return nothing{}, nil
	}
	return c.Console(ctx, l, machine)
}

func (b *broken) Log(ctx context.Context, l lab.Lab, machine string, follow bool) (io.ReadCloser, error) {
	return b.Provider.(provider.Consoler).Log(ctx, l, machine, follow)
}

func (b *broken) Adoptable(ctx context.Context, l lab.Lab) ([]provider.Candidate, error) {
	return b.Provider.(provider.Adopter).Adoptable(ctx, l)
}

func (b *broken) Doctor(ctx context.Context) ([]provider.Diagnosis, error) {
	return b.Provider.(provider.Doctor).Doctor(ctx)
}

// nothing is a console on which nothing happens.
type nothing struct{}

func (nothing) Read([]byte) (int, error)    { return 0, io.EOF }
func (nothing) Write(b []byte) (int, error) { return len(b), nil }
func (nothing) Close() error                { return nil }

func (b *broken) Capacity(ctx context.Context, l lab.Lab) (provider.Capacity, error) {
	c, err := b.Provider.(provider.Measurer).Capacity(ctx, l)
	switch b.how {
	case "capacity: nobody runs":
		c.Uses = nil
	case "capacity: all is free":
		c.Free = c.Memory + 1
	}
	return c, err
}

func (b *broken) Filter(l lab.Lab) (provider.Filter, error) {
	f, err := b.Provider.(provider.Filterer).Filter(l)
	if b.how == "filter: elsewhere" {
		f.Networks = append(f.Networks, "elsewhere")
	}
	return f, err
}

func (b *broken) Quotas(ctx context.Context, q provider.QuotaQuery) (provider.Quotas, error) {
	if b.how == "quota: deaf" {
		ctx = context.WithoutCancel(ctx)
	}
	return b.Provider.(provider.Quoter).Quotas(ctx, q)
}
