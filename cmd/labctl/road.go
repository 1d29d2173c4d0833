package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/brought"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/inside"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/secret"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/rpc"
	"github.com/labctl-dev/labctl/schema"
)

// road is a lab on its way: read, checked, its target chosen and that target's plugin running.
type road struct {
	*cli
	flags  labFlags
	spec   *schema.Spec
	lab    lab.Lab // with its target's name
	home   string
	plugin *rpc.Client
	engine engine.Engine
	guests *inside.Guests

	servers servers // of the lab that install others
}

// openProven opens a lab for a verb that makes or judges what its policy says: that is proven first, behind
// its target's own filter too, and warnings are said.
func (c *cli) openProven(ctx context.Context, f labFlags) (*road, error) {
	spec, err := f.load()
	if err != nil {
		return nil, err
	}
	found, _ := vetLab(spec)
	if err := c.warn(found); err != nil {
		return nil, err
	}
	t, err := f.choose(spec.Lab)
	if err != nil {
		return nil, err
	}
	if found := check.On(spec.Lab, t); found != nil {
		return nil, &findingsError{findings(spec, found)}
	}
	r, err := c.travel(ctx, f, spec)
	if err != nil {
		return nil, err
	}
	if err := r.filtered(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// open opens a lab for a verb that deals with what exists. An expectation that does not hold, or a warning, is no reason
// to leave somebody without a way in or out, so only that is refused which makes no sense by itself.
func (c *cli) open(ctx context.Context, f labFlags) (*road, error) {
	spec, err := f.load()
	if err != nil {
		return nil, err
	}
	if found := check.Vet(spec.Lab); wrong(found) {
		return nil, &findingsError{findings(spec, found)}
	}
	return c.travel(ctx, f, spec)
}

// travel chooses the target and launches its plugin. Nothing is written anywhere.
func (c *cli) travel(ctx context.Context, f labFlags, spec *schema.Spec) (*road, error) {
	t, err := f.choose(spec.Lab)
	if err != nil {
		return nil, err
	}
	r := &road{cli: c, flags: f, spec: spec, lab: spec.Lab}
	r.lab.Target = t.Name
	if r.home, err = home(); err != nil {
		return nil, err
	}
	if r.lab, err = r.brings().Identify(r.lab); err != nil {
		return nil, err
	}
	return r, r.launch(ctx, t)
}

// brings has at hand what labctl brings into machines.
func (r *road) brings() brought.Source {
	seeds := &lastMoment{road: r}
	return brought.Source{
		Lab: r.lab, Store: image.Store{Dir: r.imagesFolder()}, Folder: r.flags.folder(), Programs: pluginDirs(r.home),
		Program: func(name string, arch lab.Arch) ([]byte, error) { return program(r.home, name, arch) },
		Seed:    func(_ context.Context, machine string) (lab.Seed, error) { return seeds.seed(machine) },
	}
}

// warn says the warnings among findings on stderr; if there are errors, they are all returned as one.
func (c *cli) warn(found []view.LocatedFinding) error {
	var warnings []view.LocatedFinding
	for _, x := range found {
		if !x.Warning {
			return &findingsError{found}
		}
		warnings = append(warnings, x)
	}
	if len(warnings) == 0 || c.quiet {
		return nil
	}
	return view.Findings(c.err, warnings, screen(c.err))
}

// launch starts the plugin of t and makes its provider.
func (r *road) launch(ctx context.Context, t lab.Target) error {
	client, err := launch(ctx, r.cli, r.home, t.Provider)
	if err != nil {
		return err
	}
	p, err := provide(r.spec, client, r.home, t)
	if err != nil {
		client.Close()
		return err
	}
	r.plugin = client
	r.engine = engine.Engine{Description: client.Description, Provider: p, Bases: r.bases}
	r.engine.Installing = func(ctx context.Context, l lab.Lab) ([]provider.Installation, error) { return r.installing(ctx, p, l) }
	r.guests = &inside.Guests{Lab: r.lab, Identity: func() (access.Identity, error) {
		return identity(r.secretsFolder(), r.lab.Name)
	}, Keep: secret.Store(r.secretsFolder()).Keep, Pack: r.brings().Pack}
	if d, ok := p.(provider.Dialer); ok && client.Description.Has(provider.Dials) {
		r.guests.Dialer = d
		r.engine.Guests = r.guests
	}
	return nil
}

// close ends the plugin.
func (r *road) close() {
	r.servers.close()
	r.plugin.Close()
}

// launch starts the plugin of a provider.
func launch(ctx context.Context, c *cli, home, name string) (*rpc.Client, error) {
	return rpc.Launch(ctx, rpc.Launcher{Name: name, Dirs: pluginDirs(home), Log: c.log()})
}

// provide checks the target's options and makes its provider.
func provide(spec *schema.Spec, client *rpc.Client, home string, t lab.Target) (provider.Provider, error) {
	if t.TTL() != "" && !client.Description.Has(provider.Expires) {
		return nil, spec.Locate(schema.Errors{{Path: lab.Path("targets", t.Name, "ttl"), Message: fmt.Sprintf(
			"machines of the provider %s have no time to live: nothing ends them when labctl does not run; leave it out", t.Provider)}})
	}
	values, err := schema.CheckOptions(client.Description.Options, t)
	if err != nil {
		return nil, spec.Locate(err)
	}
	p, err := client.New(provider.Options{Home: home, Target: t.Name, Values: values})
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	return p, nil
}

// pluginDirs are searched for plugins before PATH is.
func pluginDirs(home string) []string {
	dirs := []string{filepath.Join(home, "plugins")}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dirs = append([]string{filepath.Dir(exe)}, dirs...)
	}
	return dirs
}

// planOptions are those of a plan of the whole lab; its seeds hold neither keys nor secrets.
func (r *road) planOptions(ctx context.Context, f planFlags) (engine.PlanOptions, error) {
	why, err := r.edit()
	if err != nil {
		return engine.PlanOptions{}, err
	}
	seeds, err := guest.Seeds(r.lab, guest.Keys{}, nil)
	if err != nil {
		return engine.PlanOptions{}, err
	}
	if err := r.believe(ctx, seeds); err != nil {
		return engine.PlanOptions{}, err
	}
	return engine.PlanOptions{Seeds: seeds, Only: f.only, Allow: f.allow, Why: why}, nil
}

// labFolder is where everything is that labctl keeps of the lab.
func (r *road) labFolder() string { return filepath.Join(r.home, "labs", r.lab.Name) }

// targetFolder belongs to the target's provider.
func (r *road) targetFolder() string { return filepath.Join(r.labFolder(), "targets", r.lab.Target) }

// imagesFolder is where images are kept, for all labs.
func (r *road) imagesFolder() string { return filepath.Join(r.home, "images") }

func (r *road) secretsFolder() string { return filepath.Join(r.labFolder(), "secrets") }
