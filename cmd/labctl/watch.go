package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
)

func (c *cli) watchCommand() *cobra.Command {
	var f labFlags
	var noProbe bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "watch [LAB]",
		Short: "Show the lab's machines and networks as they are now, again and again",
		Long: `Show what 'labctl status' shows, drawn anew in place until Ctrl-C. Where stdout is no terminal it is one line for each
change, and with -o json a whole status on a line for each. What cannot be found out for a while is said, and tried again.`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if every < 100*time.Millisecond {
				return usage(cmd, "-n %s: at least 100ms", every)
			}
			if err := f.one(args); err != nil {
				return err
			}
			r, err := c.open(cmd.Context(), f)
			if err != nil {
				return err
			}
			defer r.close()
			return r.watch(cmd.Context(), every, !noProbe)
		},
	}
	f.add(cmd)
	cmd.Flags().DurationVarP(&every, "interval", "n", 2*time.Second, "how long to wait between two looks")
	cmd.Flags().BoolVar(&noProbe, "no-probe", false, "do not ask the machines themselves how they are")
	return cmd
}

// watch looks until the user has seen enough.
func (r *road) watch(ctx context.Context, every time.Duration, probe bool) error {
	show := r.tell()
	if terminal(r.out) && !r.json() {
		var done func()
		show, done = r.redraw(every)
		defer done()
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	for {
		s, err := r.status(ctx, probe)
		if ctx.Err() != nil {
			return nil
		}
		if err := show(s, err); err != nil {
			return err
		}
		for next := time.After(every); next != nil; {
			select {
			case <-ctx.Done():
				return nil
			case <-resized:
				if err := show(s, err); err != nil {
					return err
				}
			case <-next:
				next = nil
			}
		}
	}
}

// tell writes what changed since the last time, one line each.
func (r *road) tell() func(view.LabStatus, error) error {
	var last view.LabStatus
	trouble := ""
	return func(s view.LabStatus, err error) error {
		now := fmt.Sprint(err)
		switch {
		case err != nil && now != trouble:
			trouble = now
			r.note("%v", err)
			return nil
		case err != nil:
			return nil
		}
		trouble = ""
		changes := view.StatusChanges(last, s)
		last = s
		if len(changes) == 0 {
			return nil
		}
		if r.json() {
			return view.JSONLine(r.out, s)
		}
		for _, line := range changes {
			if _, err := fmt.Fprintf(r.out, "%s %s\n", time.Now().Format(time.TimeOnly), line); err != nil {
				return err
			}
		}
		return nil
	}
}

// Control sequences of terminals (ECMA-48, and xterm's for the second screen).
const (
	secondScreen = "\x1b[?1049h\x1b[?25l" // without a cursor
	firstScreen  = "\x1b[?25h\x1b[?1049l"
)

// redraw draws the status in place on a screen of its own; done gives the user's back.
func (r *road) redraw(every time.Duration) (show func(view.LabStatus, error) error, done func()) {
	_, _ = io.WriteString(r.out, secondScreen) // a terminal that is gone is noticed by show
	return func(s view.LabStatus, err error) error {
		var b bytes.Buffer
		o := screen(r.out)
		fmt.Fprintf(&b, "every %s, %s; Ctrl-C ends it\n\n", every, time.Now().Format(time.TimeOnly))
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
		} else if err := view.Status(&b, s, o); err != nil {
			return err
		}
		_, err = io.WriteString(r.out, view.Frame(b.String(), height(r.out)))
		return err
	}, func() { _, _ = io.WriteString(r.out, firstScreen) }
}

// height is how many lines a terminal has.
func height(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if _, n, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return 24
}
