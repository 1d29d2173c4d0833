package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
)

// cli is one run of labctl.
type cli struct {
	in       io.Reader
	out, err io.Writer
	signals  *signals
	now      time.Time // when it began
	output   string    // "text", "json", and for some verbs more: see formats
	quiet    bool
	debug    bool
}

// rootCommand is the whole command line.
func (c *cli) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "labctl",
		Short: "Make the lab that one CUE file describes, and keep it so",
		Long: `labctl compares the lab that a CUE file describes with what exists, and makes the difference go away.

Most verbs take a LAB: a .cue file, or a folder that holds a CUE package. Without one, $LABCTL_LAB is taken,
else lab.cue in the working folder. What labctl keeps is below $LABCTL_HOME, by default ~/.labctl.

Exit codes: 0 done, 1 an error, also of the command line; drift, diff and plan --exit-code return 2 when there are
differences; ssh and exec return what the remote command returned; 130 after Ctrl-C, 143 after SIGTERM.`,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return c.prepare(cmd) },
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				return usage(cmd, "unknown verb %q; did you mean %s?", args[0], strings.Join(near, " or "))
			}
			return usage(cmd, "unknown verb %q", args[0])
		},
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SuggestionsMinimumDistance: 2,
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%v", err) })
	f := root.PersistentFlags()
	f.StringVarP(&c.output, "output", "o", "text", "how results are printed: text or json; some verbs also markdown, junit, sarif")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "no progress on stderr")
	f.BoolVarP(&c.debug, "debug", "v", false, "a log of what happens on stderr")
	must(root.RegisterFlagCompletionFunc("output", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return outputs(cmd), cobra.ShellCompDirectiveNoFileComp
	}))
	root.AddCommand(
		c.vetCommand(), c.planCommand(), c.applyCommand(), c.reinstallCommand(), c.destroyCommand(), c.driftCommand(), c.statusCommand(), c.testCommand(),
		c.sshCommand(), c.sshConfigCommand(), c.sshKeyCommand(), c.secretCommand(), c.execCommand(), c.cpCommand(), c.proxyCommand(), c.logsCommand(), c.consoleCommand(),
		c.startCommand(), c.stopCommand(), c.bootCommand(), c.suspendCommand(), c.resumeCommand(), c.saveCommand(), c.restoreCommand(), c.snapshotCommand(),
		c.systemCommand(),
		c.adoptCommand(), c.imageCommand(), c.doctorCommand(), c.schemaCommand(), c.roleCommand(),
		c.fmtCommand(), c.hookCommand(), c.policyCommand(), c.reachCommand(), c.diffCommand(), c.graphCommand(), c.exportCommand(), c.versionCommand(), c.completionCommand(),
		c.initCommand(), c.envCommand(), c.watchCommand(), c.manCommand(), c.targetsCommand(), c.gcCommand(),
	)
	byTask(root)
	c.explain(root)
	return root
}

// must is for what only a mistake in this package can break.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// formats annotates the verbs whose -o takes more than "text" and "json" with what else, blanks between.
const formats = "formats"

// The formats that others than labctl read.
const (
	markdown = "markdown" // GitHub's, for review comments
	junit    = "junit"    // the XML that continuous integration shows as tests
	sarif    = "sarif"    // SARIF 2.1.0, which code scanning shows beside the lines
)

// more is the annotation of a verb with these formats.
func more(all ...string) map[string]string { return map[string]string{formats: strings.Join(all, " ")} }

func (c *cli) prepare(cmd *cobra.Command) error {
	all := outputs(cmd)
	if slices.Contains(all, c.output) {
		return nil
	}
	return usage(cmd, "-o %s: it is %s or %s", c.output, strings.Join(all[:len(all)-1], ", "), all[len(all)-1])
}

// outputs are the formats of a verb.
func outputs(cmd *cobra.Command) []string {
	return append([]string{"text", "json"}, strings.Fields(cmd.Annotations[formats])...)
}

// usage is an error about the command line.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return fmt.Errorf("%s; see '%s --help'", strings.TrimSpace(fmt.Sprintf(format, args...)), cmd.CommandPath())
}

// between takes from low to high arguments (high of -1: any number) and says what they should be.
func between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		n := len(args)
		if dash := cmd.ArgsLenAtDash(); dash >= 0 && strings.Contains(cmd.Use, "--") {
			n = dash
		}
		if n < low || high >= 0 && n > high {
			return usage(cmd, "usage is '%s'", cmd.UseLine())
		}
		return nil
	}
}

// json says whether results are to be JSON.
func (c *cli) json() bool { return c.output == "json" }

// show prints a result: v as JSON, or what text writes.
func (c *cli) show(v any, text func(io.Writer, view.Options) error) error {
	if c.json() {
		return view.JSON(c.out, v)
	}
	return text(c.out, screen(c.out))
}

// writers are how a result is written in the formats of its verb.
type writers map[string]func(io.Writer) error

// showAs prints a result in the format that was asked for: one of ws, or as show does.
func (c *cli) showAs(v any, text func(io.Writer, view.Options) error, ws writers) error {
	if write, ok := ws[c.output]; ok {
		return write(c.out)
	}
	return c.show(v, text)
}

// screen says what a writer can show.
func screen(w io.Writer) view.Options {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return view.Options{Color: colours(false)}
	}
	return view.Options{Color: colours(true), Width: columns(f)}
}

// colours says whether output is coloured. NO_COLOR (https://no-color.org) goes before all; then CLICOLOR_FORCE, which
// wants colours anywhere, a pipe included; then TERM=dumb and CLICOLOR=0 (https://bixense.com/clicolors).
func colours(terminal bool) bool {
	force := os.Getenv("CLICOLOR_FORCE")
	switch {
	case os.Getenv("NO_COLOR") != "":
		return false
	case force != "" && force != "0":
		return true
	}
	return terminal && os.Getenv("TERM") != "dumb" && os.Getenv("CLICOLOR") != "0"
}

// columns is how wide a terminal is: as it says itself, else $COLUMNS (a serial line knows no size), else 80.
func columns(f *os.File) int {
	if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
		return n
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return 80
}

// note tells the user something beside the result.
func (c *cli) note(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(c.err, "labctl: "+format+"\n", args...)
	}
}

// log is where libraries log to.
func (c *cli) log() *slog.Logger {
	if !c.debug {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// home is $LABCTL_HOME, absolute. It need not exist.
func home() (string, error) {
	dir := os.Getenv("LABCTL_HOME")
	if dir == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("cannot find the home folder: %w; set LABCTL_HOME", err)
		}
		dir = filepath.Join(user, ".labctl")
	}
	return filepath.Abs(dir)
}
