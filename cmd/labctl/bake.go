package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/golden"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/imageuse"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
)

// bakedImage is the result of baking one image.
type bakedImage struct {
	gotImage
	From     string   `json:"from"`
	Packages []string `json:"packages"`
	Machines []string `json:"machines"`
	Made     bool     `json:"made"` // false: it was there
}

// bake makes the images that the lab's machines would gain by.
func (c *cli) bake(ctx context.Context, f labFlags, force bool) error {
	spec, err := f.load()
	if err != nil {
		return err
	}
	found, _ := vetLab(spec)
	if err := c.warn(found); err != nil {
		return err
	}
	r := &road{cli: c, flags: f, spec: spec, lab: spec.Lab}
	if r.home, err = home(); err != nil {
		return err
	}
	wants, err := r.wants(r.lab)
	if err != nil {
		return err
	}
	made := []bakedImage{}
	for _, w := range wants {
		b, err := r.bakeOne(ctx, w, force)
		if err != nil {
			return err
		}
		made = append(made, b)
	}
	return c.show(made, func(w io.Writer, _ view.Options) error { return tellBaked(w, r.lab.Name, made) })
}

func tellBaked(w io.Writer, name string, made []bakedImage) error {
	if len(made) == 0 {
		_, err := fmt.Fprintf(w, "The machines of lab %s need no packages that their images have not.\n", name)
		return err
	}
	for _, b := range made {
		how := "is there"
		if b.Made {
			how = "is ready"
		}
		if _, err := fmt.Fprintf(w, "%s %s: %s with %s, for %s\n", b.Name, how, b.From, strings.Join(b.Packages, ", "), strings.Join(b.Machines, ", ")); err != nil {
			return err
		}
	}
	return nil
}

// bakeOne makes one image, if it is not there.
func (r *road) bakeOne(ctx context.Context, w golden.Want, force bool) (bakedImage, error) {
	s, began := image.Store{Dir: r.imagesFolder()}, time.Now()
	b := bakedImage{From: w.Base.Name, Packages: w.Bake.Packages, Machines: w.Machines}
	local, ok, err := s.Find(w.Image())
	if err == nil && ok && !force {
		b.Local = local
		return b, nil
	}
	if ok && !force { // damaged
		if err := imageuse.Free(s, w.Image()); err != nil {
			return b, err
		}
	}
	b.Local, err = r.getImage(ctx, s, w.Image(), func(s image.Store, ctx context.Context, _ lab.Image, p func(string, int64, int64)) (image.Local, error) {
		if w.Base.Build != nil && len(w.Bake.Sources) == 0 {
			return s.Bake(ctx, w.Base, w.Bake, p)
		}
		return r.bakeRunning(ctx, s, w, p)
	})
	b.Made, b.Seconds = true, time.Since(began).Seconds()
	return b, err
}
