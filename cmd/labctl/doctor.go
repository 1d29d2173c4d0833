package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) doctorCommand() *cobra.Command {
	var f labFlags
	var name string
	cmd := &cobra.Command{
		Use:   "doctor [LAB]",
		Short: "Say what this host can do, and the command that mends what it cannot",
		Long: `Ask the provider of a lab's target, or with --provider that provider with its default options, what its host can do,
and whether it has room for the lab. Where there is no lab either, QEMU is asked. Nothing is changed. Of a libvirt host over ssh it says what is wrong there,
and what with the way to it. Exit code: 0, or 1 if labctl cannot work like this.`,
		Example: "  labctl doctor -t cuda labs/deploy3.cue\n  labctl doctor --provider libvirt",
		Args:    between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			asked := len(args) == 1 || f.target != "" || len(f.tags) > 0
			if asked && name != "" {
				return usage(cmd, "name a lab or a provider, not both")
			}
			if name == "" {
				err := f.one(args)
				if err != nil && asked {
					return err
				}
				if err != nil { // there is no lab
					name = "qemu"
				}
			}
			ds, err := c.diagnose(cmd.Context(), f, name)
			if err != nil {
				return err
			}
			if err := c.show(ds, func(w io.Writer, o view.Options) error { return view.Doctor(w, ds, o) }); err != nil {
				return err
			}
			for _, d := range ds {
				if d.Status == provider.Broken {
					return &exitError{1}
				}
			}
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&name, "provider", "", "`name` of a provider")
	must(cmd.RegisterFlagCompletionFunc("provider", completePlugins))
	return cmd
}

// diagnose asks the lab's target, or the provider called name with its default options.
func (c *cli) diagnose(ctx context.Context, f labFlags, name string) ([]provider.Diagnosis, error) {
	if name == "" {
		r, err := c.open(ctx, f)
		if err != nil {
			return nil, err
		}
		defer r.close()
		d, ok := r.engine.Provider.(provider.Doctor)
		if !ok || !r.engine.Description.Has(provider.Diagnoses) {
			return nil, r.cannot(provider.Diagnoses)
		}
		ds, err := d.Doctor(ctx)
		if err != nil {
			return nil, err
		}
		return append(append(diagnoseHome(r.home), ds...), r.diagnoseRoom(ctx)...), nil
	}
	dir, err := home()
	if err != nil {
		return nil, err
	}
	client, err := launch(ctx, c, dir, name)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	r := &road{cli: c, lab: lab.Lab{Target: "local"}}
	r.engine.Description = client.Description
	p, err := client.New(provider.Options{Home: dir, Target: "local"})
	if err != nil {
		return nil, err
	}
	d, ok := p.(provider.Doctor)
	if !ok || !r.engine.Description.Has(provider.Diagnoses) {
		return nil, r.cannot(provider.Diagnoses)
	}
	ds, err := d.Doctor(ctx)
	if err != nil {
		return nil, err
	}
	return append(diagnoseHome(dir), ds...), nil
}

// diagnoseHome says whether labctl can keep anything below dir, its home. Nothing is made to find that out.
func diagnoseHome(dir string) []provider.Diagnosis {
	d := provider.Diagnosis{Name: "home", Status: provider.Good, Detail: dir}
	at := dir
	info, err := os.Stat(at)
	for errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
		d.Detail = dir + ", made when it is needed"
		info, err = os.Stat(at)
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", at)
	} else if err == nil {
		if e := unix.Access(at, unix.W_OK|unix.X_OK); e != nil {
			err = fmt.Errorf("cannot write to %s: %w", at, e)
		}
	}
	if err != nil {
		d.Status, d.Detail, d.Fix = provider.Broken, err.Error(), "export LABCTL_HOME=FOLDER   # one that is yours to write"
	}
	return []provider.Diagnosis{d}
}

// diagnoseRoom says whether the host has room for all of the lab. A host that does not answer has been diagnosed.
func (r *road) diagnoseRoom(ctx context.Context) []provider.Diagnosis {
	v, err := r.engine.Room(ctx, r.lab)
	if err != nil || v == nil {
		return nil
	}
	name := "room for " + r.lab.Name
	if len(v.Problems) == 0 {
		return []provider.Diagnosis{{Name: name, Status: provider.Good, Detail: strings.TrimPrefix(view.RoomLines(v)[0], "Room: ")}}
	}
	var ds []provider.Diagnosis
	for _, p := range v.Problems {
		ds = append(ds, provider.Diagnosis{Name: name, Status: provider.Warning, Detail: p.Text})
	}
	return ds
}
