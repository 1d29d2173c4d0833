package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/schema"
)

// labFlags say which lab, where.
type labFlags struct {
	path   string // file or folder; set from the arguments
	tags   []string
	target string
	direct bool // past the lab's jumpbox; of verbs with addDirect
}

func (f *labFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.tags, "define", "D", nil, "`tag=value` for a field of the lab with @tag(tag); repeatable")
	cmd.Flags().StringVarP(&f.target, "target", "t", "", "`name` of the target; by default the only one, or the one called \"local\"")
	must(cmd.RegisterFlagCompletionFunc("target", f.completeNames(targetNames)))
	completeLabs(cmd)
}

func (f *labFlags) addDirect(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.direct, "direct", false, "past the lab's jumpbox, the way that labctl's own work takes")
}

// planFlags say what is planned.
type planFlags struct {
	only, allow []string
	deep        bool
	prices      []byte // the user's own table
}

func (f *planFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.only, "only", nil, "only what has this `name` (machine, resource or address) and what it needs; repeatable")
	cmd.Flags().StringSliceVar(&f.allow, "allow", nil, "do not refuse to reinstall, replace or delete what has this `name`; repeatable")
	completeMachineFlags(cmd, "only", "allow")
}

func (f *planFlags) addDeep(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.deep, "deep", false, "also look into each running machine, and mend what differs there")
}

// runFlags say how a plan is executed.
type runFlags struct {
	parallel      int
	timeout, wait time.Duration
	noTest        bool // of apply: what was changed is not tested
}

func (f *runFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.parallel, "parallel", parallel(runtime.NumCPU()), "changes at once; by default one for each processor, 2 to 10")
	f.addTimes(cmd)
}

// addTimes is add for a verb that makes one change only.
func (f *runFlags) addTimes(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long one change may take, besides what a machine's \"ready\" allows")
	cmd.Flags().DurationVar(&f.wait, "wait", 0, "how long to wait for another labctl that changes the lab; by default not at all")
}

func (f *runFlags) check(cmd *cobra.Command) error {
	switch {
	case f.parallel < 1:
		return usage(cmd, "--parallel %d: at least 1", f.parallel)
	case f.timeout <= 0:
		return usage(cmd, "--timeout %s: more than nothing", f.timeout)
	case f.wait < 0:
		return usage(cmd, "--wait %s: not less than nothing", f.wait)
	}
	return nil
}

// parallel is how many changes run at once by default: machines that boot under emulation need a processor each, and
// with fewer than that all of them may miss their deadlines.
func parallel(cpus int) int { return min(max(cpus, 2), 10) }

// findLab is the lab that an argument names; "" is the default one.
func findLab(arg string) (string, error) {
	if arg != "" {
		return arg, nil
	}
	if env := os.Getenv("LABCTL_LAB"); env != "" {
		return env, nil
	}
	if _, err := os.Stat("lab.cue"); err != nil {
		return "", fmt.Errorf("no lab: name a .cue file or a folder, set LABCTL_LAB, or work where there is a lab.cue; 'labctl init' writes one")
	}
	return "lab.cue", nil
}

// one sets the lab from at most one argument.
func (f *labFlags) one(args []string) (err error) {
	f.path, err = findLab(strings.Join(args, ""))
	return err
}

// before sets the lab from args in front of n others that a verb needs, and returns those.
func (f *labFlags) before(n int, args []string) (rest []string, err error) {
	arg := ""
	if len(args) > n {
		arg, args = args[0], args[1:]
	}
	f.path, err = findLab(arg)
	return args, err
}

// first sets the lab from the first of args if that looks like one, and returns the others.
func (f *labFlags) first(args []string) (rest []string, err error) {
	arg := ""
	if len(args) > 0 && looksLikeLab(args[0]) {
		arg, args = args[0], args[1:]
	}
	f.path, err = findLab(arg)
	return args, err
}

// looksLikeLab tells a file or folder from the name of a machine, which has neither dots nor slashes.
func looksLikeLab(arg string) bool {
	if strings.ContainsAny(arg, "./"+string(filepath.Separator)) {
		return true
	}
	info, err := os.Stat(arg)
	return err == nil && info.IsDir()
}

// load reads the lab.
func (f *labFlags) load() (*schema.Spec, error) {
	return schema.Load(schema.Options{Args: []string{f.path}, Tags: f.tags, Target: f.target})
}

// folder is where the lab's file is: what it names by relative path is looked for there.
func (f *labFlags) folder() string {
	if info, err := os.Stat(f.path); err == nil && info.IsDir() {
		return f.path
	}
	return filepath.Dir(f.path)
}

// choose finds the target that was asked for.
func (f *labFlags) choose(l lab.Lab) (lab.Target, error) {
	want := f.target
	if want == "" && len(l.Targets) == 1 {
		return l.Targets[0], nil
	}
	if want == "" {
		want = "local"
	}
	var names []string
	for _, t := range l.Targets {
		if t.Name == want {
			return t, nil
		}
		names = append(names, t.Name)
	}
	if f.target == "" {
		return lab.Target{}, fmt.Errorf("%s has several targets: choose one with -t: %s", f.path, strings.Join(names, ", "))
	}
	return lab.Target{}, fmt.Errorf("%s has no target %q; it has %s", f.path, want, strings.Join(names, ", "))
}

// singleDash lets long flags that read like words be written with one dash, as in `plan -out FILE`.
func singleDash(args []string) []string {
	out := append([]string(nil), args...)
	for i, a := range out {
		if a == "--" {
			break
		}
		name, _, _ := strings.Cut(a, "=")
		switch name {
		case "-out", "-only", "-target", "-allow", "-deep", "-parallel", "-timeout", "-wait", "-network", "-domain", "-write", "-yes":
			out[i] = "-" + a
		}
	}
	return out
}
