package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/start"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/schema"
)

func (c *cli) initCommand() *cobra.Command {
	var choice start.Choice
	var yes bool
	cmd := &cobra.Command{
		Use:   "init [FILE|FOLDER]",
		Short: "Write the first file of a lab",
		Long: `Write a lab.cue that vets and applies as it is, to begin with. On a terminal it asks for what the flags do not say, three
questions; elsewhere, and with --yes, the usual answers are taken. A file that is there is never overwritten.

` + initKinds(),
		Example: "  labctl init\n  labctl init shop --kind routed --provider libvirt\n  labctl init --yes demo.cue",
		Args:    between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.initLab(strings.Join(args, ""), choice, !yes && c.asks())
		},
	}
	cmd.Flags().StringVar(&choice.Kind, "kind", "", "what the lab is like")
	cmd.Flags().StringVar(&choice.Name, "name", "", "the lab's name, a `text`; by default the folder's or file's")
	cmd.Flags().StringVar(&choice.Provider, "provider", "", "where it is made; by default qemu")
	cmd.Flags().StringVar(&choice.Image, "image", "", "what its machines run; by default Debian 12")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "ask nothing")
	var kinds []string
	for _, k := range start.Kinds() {
		kinds = append(kinds, k.Name+"\t"+k.Summary)
	}
	must(cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("provider", completePlugins))
	must(cmd.RegisterFlagCompletionFunc("image", completeImages(&labFlags{})))
	completeFolders(cmd)
	return cmd
}

func initKinds() string {
	var b strings.Builder
	b.WriteString("The kinds of labs:")
	for _, k := range start.Kinds() {
		fmt.Fprintf(&b, "\n  %-8s %s", k.Name, k.Summary)
	}
	return b.String()
}

// asks says whether there is somebody to ask.
func (c *cli) asks() bool {
	return !c.json() && terminal(c.in) && terminal(c.err)
}

// terminal says whether a stream of this process is one.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// initLab writes a lab to where, asking for what is not chosen if there is somebody to ask.
func (c *cli) initLab(where string, choice start.Choice, ask bool) error {
	file := initFile(where)
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("there is a %s already, and it is not overwritten: name another file or folder", file)
	}
	usual, err := usualChoice(file)
	if err != nil {
		return err
	}
	in := bufio.NewReader(c.in)
	for _, q := range []struct {
		text    string
		answer  *string
		usual   string
		options []string
	}{
		{"What is it called?", &choice.Name, usual.Name, nil},
		{"What is it like? " + strings.ReplaceAll(initKinds(), "The kinds of labs:", "") + "\n ", &choice.Kind, usual.Kind, nil},
		{"Where is it made? (" + strings.Join(c.providers(), ", ") + ")", &choice.Provider, usual.Provider, nil},
		{"", &choice.Image, usual.Image, nil},
	} {
		if *q.answer == "" && ask && q.text != "" {
			fmt.Fprintf(c.err, "%s [%s] ", q.text, q.usual)
			line, err := in.ReadString('\n')
			if err != nil {
				fmt.Fprintln(c.err)
				return fmt.Errorf("no answer, so nothing is written")
			}
			*q.answer = strings.TrimSpace(line)
		}
		if *q.answer == "" {
			*q.answer = q.usual
		}
	}
	return c.writeLab(file, choice)
}

// providers are those whose plugins are here.
func (c *cli) providers() []string {
	dir, err := home()
	if err != nil {
		return nil
	}
	names := pluginNames(dir)
	slices.Sort(names)
	return names
}

// initFile is the file that an argument of init means.
func initFile(where string) string {
	switch {
	case where == "":
		return "lab.cue"
	case filepath.Ext(where) == ".cue":
		return where
	}
	return filepath.Join(where, "lab.cue")
}

// usualChoice is what is chosen unless something else is said. Images that are built on the host start faster, and need
// programs that not every host has.
func usualChoice(file string) (start.Choice, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return start.Choice{}, err
	}
	name := strings.TrimSuffix(filepath.Base(path), ".cue")
	if name == "lab" {
		name = filepath.Base(filepath.Dir(path))
	}
	c := start.Choice{Kind: start.Kinds()[0].Name, Name: label(name), Provider: "qemu", Image: "debian-12"}
	if _, err := exec.LookPath("mmdebstrap"); err == nil {
		c.Image = "debian-12-minimal"
	}
	return c, nil
}

// label makes a DNS label of a file's name.
func label(name string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name)
	clean = strings.Trim(clean[:min(len(clean), 32)], "-")
	if clean == "" {
		return "lab"
	}
	return clean
}

// writeLab writes a lab's file, once it has been read as one: what it would hold is a lab, or nothing is written.
func (c *cli) writeLab(file string, choice start.Choice) error {
	if choice.Name != label(choice.Name) {
		return fmt.Errorf("cannot call a lab %q: a name has 1 to 32 of a-z, 0-9 and \"-\", neither first nor last a \"-\"; %q would do", choice.Name, label(choice.Name))
	}
	if !providerName(choice.Provider) {
		return fmt.Errorf("%q is no name of a provider; here are %s", choice.Provider, strings.Join(c.providers(), ", "))
	}
	text, err := start.Lab(choice)
	if err != nil {
		return err
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	if err := soundLab(text); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	made, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make the folder: %w", err)
		}
	case err != nil:
		return err
	case !made.IsDir():
		return fmt.Errorf("cannot write %s: %s is no folder", file, filepath.Dir(file))
	}
	if err := (labFile{path: path, name: file, text: text}).write(); err != nil {
		return err
	}
	facts := map[string]string{"file": file, "name": choice.Name, "kind": choice.Kind, "provider": choice.Provider, "image": choice.Image}
	return c.show(facts, func(w io.Writer, _ view.Options) error {
		lab := ""
		if file != "lab.cue" {
			lab = " " + shellWord(file)
		}
		_, err := fmt.Fprintf(w, "Wrote %s: lab %s.\n\n", file, choice.Name)
		for _, next := range [][2]string{{"vet" + lab, "does it make sense?"}, {"graph --open" + lab, "look at it"}, {"plan" + lab, "what would be made"}, {"apply" + lab, "make it"}} {
			if err == nil {
				_, err = fmt.Fprintf(w, "  labctl %-*s   %s\n", len("graph --open"+lab), next[0], next[1])
			}
		}
		return err
	})
}

// soundLab says why a text is no lab.
func soundLab(text []byte) error {
	dir, err := os.MkdirTemp("", "labctl-init-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "lab.cue")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	spec, err := schema.Load(schema.Options{Args: []string{file}})
	var es schema.Errors
	switch {
	case errors.As(err, &es):
		return fmt.Errorf("cannot make such a lab: %s", es[0].Message)
	case err != nil:
		return err
	}
	if found := check.Vet(spec.Lab); wrong(found) {
		return fmt.Errorf("cannot make such a lab: %s", found[0].Text)
	}
	return nil
}

// shellWord is a word that a shell reads as s.
func shellWord(s string) string {
	if strings.ContainsAny(s, " \t\n'\"\\$`&|;()<>*?[]#~!{}") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// providerName says whether s can be part of the name of a plugin's program.
func providerName(s string) bool { return s != "" && s == label(s) }
