package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/imageuse"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/schema"
)

func (c *cli) imageCommand() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "image",
		Short: "List, get, build and remove operating system images",
		Long: `Images are kept below $LABCTL_HOME/images for all labs. apply gets those it needs by itself. The well-known images can
be named anywhere; with --lab those of that lab, too.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return usage(cmd, "say ls, pull, build or rm") },
	}
	cmd.PersistentFlags().StringVar(&f.path, "lab", "", "also the images of this `LAB`")
	cmd.PersistentFlags().StringArrayVarP(&f.tags, "define", "D", nil, "`tag=value` for a field of the lab with @tag(tag); repeatable")
	cmd.AddCommand(c.imageLsCommand(&f), c.imagePullCommand(&f), c.imageBuildCommand(&f), c.imageRmCommand())
	return cmd
}

func (c *cli) imageLsCommand(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List images: those on this host, and the others that can be named",
		Args:  between(0, 0),
		RunE: func(*cobra.Command, []string) error {
			known, err := knownImages(f)
			if err != nil {
				return err
			}
			s, err := imageStore()
			if err != nil {
				return err
			}
			rows, err := imageRows(s, known)
			if err != nil {
				return err
			}
			return c.show(rows, func(w io.Writer, o view.Options) error { return view.Images(w, rows, o) })
		},
	}
}

func (c *cli) imagePullCommand(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:               "pull NAME...",
		Short:             "Get images onto this host: downloaded, or built, and verified",
		ValidArgsFunction: completeImages(f),
		Args:              between(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.getImages(cmd.Context(), f, args, image.Store.Ensure)
		},
	}
}

func (c *cli) imageBuildCommand(f *labFlags) *cobra.Command {
	var force, roles bool
	cmd := &cobra.Command{
		Use:   "build NAME... | build --with-roles LAB",
		Short: "Build images anew, with the packages of today",
		Long: `Build images from a distribution's packages, also if they are there already. An image that machines' disks were made
from is refused, for those disks would be lost; --force does it all the same.

With --with-roles the images are those of a lab, each with the packages that its machines need: new machines are made from
them and install nothing. Those that are there are left alone, unless --force. See docs/images.md.

"pxeboot" is no operating system but the container that the role provisioner runs (docs/netboot.md): what is built is a file
for 'docker load'. apply builds it by itself where it is needed. "pxeboot-arm64" is the one for machines of arm64.`,
		Example: "  labctl image build debian-12-minimal\n  labctl image build --with-roles labs/roles.cue",
		Args:    between(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case roles && len(args) > 1:
				return usage(cmd, "--with-roles takes one lab")
			case roles:
				if err := f.one(args); err != nil {
					return err
				}
				return c.bake(cmd.Context(), *f, force)
			case len(args) == 0:
				return usage(cmd, "usage is '%s'", cmd.UseLine())
			}
			return c.getImages(cmd.Context(), f, args, func(s image.Store, ctx context.Context, i lab.Image, p func(string, int64, int64)) (image.Local, error) {
				if i.Build != nil && !force {
					if err := imageuse.Free(s, i); err != nil {
						return image.Local{}, err
					}
				}
				return s.Build(ctx, i, p)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if machines' disks were made from it, which are lost")
	cmd.Flags().BoolVar(&roles, "with-roles", false, "the images of a lab, with the packages that its machines need")
	cmd.Flags().StringVarP(&f.target, "target", "t", "", "with --with-roles: `name` of the lab's target")
	must(cmd.RegisterFlagCompletionFunc("target", f.completeNames(targetNames)))
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if roles {
			return []string{"cue"}, cobra.ShellCompDirectiveFilterFileExt
		}
		return completeImages(f)(cmd, args, word)
	}
	return cmd
}

func (c *cli) imageRmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove images from this host, by name or the beginning of the ID",
		Long: `Remove images from this host. An image that machines' disks were made from is refused, for those disks would be lost;
--force does it all the same.`,
		Args: between(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := imageStore()
			if err != nil {
				return err
			}
			for _, name := range args {
				if !force {
					if err := imageuse.Removable(s, name); err != nil {
						return err
					}
				}
				if err := s.Remove(cmd.Context(), name); err != nil {
					return err
				}
			}
			return c.show(map[string][]string{"removed": args}, func(w io.Writer, _ view.Options) error {
				_, err := fmt.Fprintf(w, "Removed %s.\n", strings.Join(args, ", "))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if machines' disks were made from it, which are lost")
	cmd.ValidArgsFunction = completeImages(&labFlags{})
	return cmd
}

func imageStore() (image.Store, error) {
	dir, err := home()
	return image.Store{Dir: filepath.Join(dir, "images")}, err
}

// knownImages are those that can be named: the lab's, then the well-known ones.
func knownImages(f *labFlags) ([]lab.Image, error) {
	var all []lab.Image
	if f.path != "" {
		spec, err := f.load()
		if err != nil {
			return nil, err
		}
		all = slices.Clone(spec.Lab.Images)
	}
	catalogue, err := schema.Catalogue()
	if err != nil {
		return nil, err
	}
	for _, i := range catalogue {
		if !slices.ContainsFunc(all, func(j lab.Image) bool { return j.Name == i.Name }) {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b lab.Image) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// imageRows are the known images and then what else is on this host.
func imageRows(s image.Store, known []lab.Image) ([]view.Image, error) {
	rows := []view.Image{}
	listed := map[string]bool{}
	for _, i := range known {
		row := view.Image{Name: i.Name, Arch: i.Arch, State: "absent", Source: imageSource(i), Digest: image.ID(i)}
		listed[image.ID(i)] = true
		switch l, ok, err := s.Find(i); {
		case err != nil:
			row.State, row.Problem = "broken", err.Error()
		case ok:
			row.State, row.Size, row.UsedBy = "ready", l.Bytes, imageuse.Labs(s, l)
		}
		rows = append(rows, row)
	}
	have, err := s.List()
	var one *image.Error
	if err != nil && (!errors.As(err, &one) || one.Code != image.Corrupt) {
		return nil, err
	}
	for _, l := range have {
		if !listed[l.ID] {
			rows = append(rows, view.Image{Name: l.Name, Arch: l.Arch, State: "ready", Size: l.Bytes, Digest: l.ID, UsedBy: imageuse.Labs(s, l)})
		}
	}
	return rows, nil
}

func imageSource(i lab.Image) string {
	if i.Build != nil {
		return "build " + i.Build.Distribution + " " + i.Build.Release
	}
	return i.URL
}

// gotImage is the result of pull and build for one image.
type gotImage struct {
	image.Local
	Seconds float64 `json:"seconds"`
}

type getter func(s image.Store, ctx context.Context, i lab.Image, progress func(string, int64, int64)) (image.Local, error)

// getImages gets the images called names, one after the other, with progress.
func (c *cli) getImages(ctx context.Context, f *labFlags, names []string, get getter) error {
	known, err := knownImages(f)
	if err != nil {
		return err
	}
	var list []lab.Image
	for _, n := range names {
		i := slices.IndexFunc(known, func(i lab.Image) bool { return i.Name == n })
		if name, arch, ok := boxed(n); ok {
			list = append(list, lab.Image{Name: name, Arch: arch})
			continue
		}
		if i < 0 {
			var names []string
			for _, k := range known {
				names = append(names, k.Name)
			}
			return fmt.Errorf("there is no image called %q%s; 'labctl image ls' lists them", n, lab.Meant(n, names))
		}
		list = append(list, known[i])
	}
	s, err := imageStore()
	if err != nil {
		return err
	}
	var got []gotImage
	for _, i := range list {
		began, get := time.Now(), get
		if slices.Contains(image.Containers(), i.Name) {
			get = buildContainer
		}
		l, err := c.getImage(ctx, s, i, get)
		if err != nil {
			return err
		}
		got = append(got, gotImage{l, time.Since(began).Seconds()})
	}
	return c.show(got, func(w io.Writer, _ view.Options) error {
		for _, g := range got {
			if _, err := fmt.Fprintf(w, "%s is ready: %s\n", g.Name, g.Disk); err != nil {
				return err
			}
		}
		return nil
	})
}

// getImage shows the progress of one image as that of a change.
func (c *cli) getImage(ctx context.Context, s image.Store, i lab.Image, get getter) (image.Local, error) {
	tell := func(apply.Event) {}
	if !c.quiet {
		p := view.NewProgress(c.err, c.progressOptions())
		defer p.Close()
		tell = p.Event
	}
	e := apply.Event{Addr: provider.Addr{Provider: "labctl", Kind: "image", Name: i.Name}, Action: plan.Create, State: apply.Started}
	began := time.Now()
	tell(e)
	l, err := get(s, ctx, i, func(phase string, done, total int64) {
		e.State, e.Step = apply.Running, &provider.Step{Phase: phase, Done: done, Total: total}
		tell(e)
	})
	e.State, e.Step, e.Elapsed = apply.Done, nil, time.Since(began)
	if err != nil {
		e.State, e.Error = apply.Failed, err.Error()
	}
	tell(e)
	return l, err
}
