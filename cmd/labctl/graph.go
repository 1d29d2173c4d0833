package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/picture"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/picture/marks"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/guest"
)

// graphFlags say what is drawn, how and where to.
type graphFlags struct {
	format, file string
	plan, drift  bool
	deep         bool
	timeout      time.Duration
	reach        string
	open         bool
}

func (c *cli) graphCommand() *cobra.Command {
	var f labFlags
	var g graphFlags
	cmd := &cobra.Command{
		Use:   "graph [LAB]",
		Short: "Draw the lab: networks as wires, routers between them, servers on them",
		Long: `Draw the lab as network people do. SVG and HTML need no other program; dot is for Graphviz, mermaid for Markdown.
Without --plan or --drift nothing but the lab's files is read, and no hypervisor is needed.

--plan colours what apply would change and says what it costs, --drift what has moved, and --reach whom FROM (a
machine, a network, or "world") reaches by the policy, by which services and on which way.`,
		Example: "  labctl graph labs/deploy3.cue -w lab.svg\n  labctl graph --reach jumpbox -w reach.html labs/deploy3.cue",
		Args:    between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.one(args); err != nil {
				return err
			}
			format, err := g.check(cmd)
			if err != nil {
				return err
			}
			p, err := c.picture(cmd.Context(), f, g)
			if err != nil {
				return err
			}
			if g.open {
				return c.drawAndOpen(cmd.Context(), p, format, g)
			}
			return c.draw(p, format, g.file)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&g.format, "format", "f", "", "svg, html, dot or mermaid; by default what the name of the file says, else svg")
	cmd.Flags().StringVarP(&g.file, "write", "w", "", "write to `file` instead of stdout")
	cmd.Flags().BoolVar(&g.plan, "plan", false, "colour what would change")
	cmd.Flags().BoolVar(&g.drift, "drift", false, "colour what has moved")
	cmd.Flags().BoolVar(&g.deep, "deep", false, "with --drift: also ask inside each running machine what differs")
	cmd.Flags().DurationVar(&g.timeout, "timeout", 5*time.Minute, "how long --deep may take for one machine")
	cmd.Flags().StringVar(&g.reach, "reach", "", "colour whom `FROM` reaches")
	cmd.Flags().BoolVar(&g.open, "open", false, "show the picture in the browser; without -w it is an HTML page in a temporary folder")
	formats := []string{string(picture.SVG), string(picture.HTML), string(picture.Dot), string(picture.Mermaid)}
	must(cmd.RegisterFlagCompletionFunc("reach", f.completeNames(endNames)))
	must(cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// check finds the format, and what does not go together.
func (g graphFlags) check(cmd *cobra.Command) (picture.Format, error) {
	views := 0
	for _, on := range []bool{g.plan, g.drift, cmd.Flags().Changed("reach")} {
		if on {
			views++
		}
	}
	switch {
	case views > 1:
		return "", usage(cmd, "a picture shows one of --plan, --drift and --reach")
	case g.deep && !g.drift:
		return "", usage(cmd, "--deep goes with --drift")
	case g.timeout <= 0:
		return "", usage(cmd, "--timeout %s: more than nothing", g.timeout)
	case g.open && g.file == "-":
		return "", usage(cmd, "--open shows a file, and -w - is none")
	case g.open && g.file == "" && !cmd.Flags().Changed("format"):
		return picture.HTML, nil
	case cmd.Flags().Changed("reach") && g.reach == "":
		return "", usage(cmd, "--reach wants a machine, a network or \"world\"")
	case cmd.Flags().Changed("format"):
		f := picture.Format(g.format)
		if _, known := picture.Formats()[f]; !known {
			return "", usage(cmd, "-f %s: it is svg, html, dot or mermaid", g.format)
		}
		return f, nil
	case g.file == "" || g.file == "-":
		return picture.SVG, nil
	}
	f, known := picture.FormatOf(g.file)
	if !known {
		return "", usage(cmd, "-w %s: its name ends in none of .svg, .html, .dot and .mmd, so -f must say what to write", g.file)
	}
	return f, nil
}

// picture is what is to be drawn.
func (c *cli) picture(ctx context.Context, f labFlags, g graphFlags) (picture.Picture, error) {
	switch {
	case g.reach != "":
		return c.reachPicture(ctx, f, g.reach)
	case g.plan, g.drift:
		return c.worldPicture(ctx, f, g)
	}
	spec, err := f.load()
	if err != nil {
		return picture.Picture{}, err
	}
	if f.target != "" {
		if _, err := f.choose(spec.Lab); err != nil {
			return picture.Picture{}, err
		}
	}
	// Expectations that do not hold hinder nobody from looking at the lab.
	if err := c.warn(findings(spec, check.Vet(spec.Lab))); err != nil {
		return picture.Picture{}, err
	}
	return picture.Picture{Lab: spec.Lab}, nil
}

// reachPicture is whom one end reaches, by the proof.
func (c *cli) reachPicture(ctx context.Context, f labFlags, from string) (picture.Picture, error) {
	known, err := c.proof(ctx, f)
	if err != nil {
		return picture.Picture{}, err
	}
	return marks.Reach(known.spec.Lab, known.proof, from)
}

// worldPicture is the lab against what exists.
func (c *cli) worldPicture(ctx context.Context, f labFlags, g graphFlags) (picture.Picture, error) {
	r, err := c.open(ctx, f)
	if err != nil {
		return picture.Picture{}, err
	}
	defer r.close()
	o, err := r.planOptions(ctx, planFlags{})
	if err != nil {
		return picture.Picture{}, err
	}
	p, err := r.engine.Plan(ctx, r.lab, o)
	if err != nil {
		return picture.Picture{}, err
	}
	if g.plan {
		return marks.Plan(r.lab, r.engine.Description, p), nil
	}
	var inside map[string][]guest.Difference
	if g.deep {
		if inside, err = r.differences(ctx, g.timeout); err != nil {
			return picture.Picture{}, err
		}
	}
	return marks.Drift(r.lab, r.engine.Description, p, inside), nil
}

// draw writes a picture to a file, or to stdout. A file is written whole or not at all.
func (c *cli) draw(p picture.Picture, f picture.Format, file string) error {
	var b bytes.Buffer
	if c.json() {
		if err := view.JSON(&b, picture.FactsOf(p)); err != nil {
			return err
		}
	} else if err := picture.Write(&b, p, f); err != nil {
		return err
	}
	if file == "" || file == "-" {
		_, err := c.out.Write(b.Bytes())
		return err
	}
	if err := replaceFile(file, b.Bytes()); err != nil {
		return fmt.Errorf("cannot write the picture: %w", err)
	}
	return nil
}

// replaceFile writes a file that others may read, so that a crash leaves the old one or the new one.
func replaceFile(file string, text []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".graph-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.Write(text); err == nil {
		err = tmp.Chmod(0o644)
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
