// Package manual writes what a command line says about itself as pages of the manual, in the language of man(7).
//
// It must not know what the commands do.
package manual

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Page is one page: the name of its file, such as "labctl-apply.1", and its text.
type Page struct {
	Name string
	Text []byte
}

// Pages are those of a command and of all below it that are not hidden, the command's own first. They hold no date, so that
// they are the same whenever they are made.
func Pages(c *cobra.Command) []Page {
	out := []Page{{dashed(c) + ".1", page(c)}}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			out = append(out, Pages(sub)...)
		}
	}
	return out
}

// dashed is a command's name as its page's: "labctl-image-ls".
func dashed(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func page(c *cobra.Command) []byte {
	var b strings.Builder
	root := c.Root().Name()
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s\" \"%s manual\"\n.nh\n.ad l\n", quoted(strings.ToUpper(dashed(c))), root, root)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", escape(dashed(c)), escape(c.Short))
	b.WriteString(".SH SYNOPSIS\n")
	fmt.Fprintf(&b, "\\fB%s\\fR%s\n", escape(c.CommandPath()), escape(strings.TrimPrefix(c.UseLine(), c.CommandPath())))
	if c.Long != "" {
		b.WriteString(".SH DESCRIPTION\n")
		paragraphs(&b, c.Long)
	}
	if c.HasAvailableSubCommands() {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n\\fB%s\\fR\n%s\n", escape(sub.Name()), escape(sub.Short))
			}
		}
	}
	flags(&b, "OPTIONS", c.NonInheritedFlags())
	flags(&b, "OPTIONS OF ALL VERBS", c.InheritedFlags())
	if c.Example != "" {
		b.WriteString(".SH EXAMPLES\n.nf\n" + verbatim(c.Example) + ".fi\n")
	}
	seeAlso(&b, c)
	return []byte(b.String())
}

// paragraphs are text with empty lines between; what is indented stays as it is.
func paragraphs(b *strings.Builder, text string) {
	for _, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		b.WriteString(".PP\n")
		loose := true // lines flow
		for _, line := range strings.Split(p, "\n") {
			if indented := strings.HasPrefix(line, " "); indented == loose {
				if loose = !indented; loose {
					b.WriteString(".fi\n")
				} else {
					b.WriteString(".nf\n")
				}
			}
			b.WriteString(verbatim(line))
		}
		if !loose {
			b.WriteString(".fi\n")
		}
	}
}

func flags(b *strings.Builder, title string, all *pflag.FlagSet) {
	if !all.HasAvailableFlags() {
		return
	}
	b.WriteString(".SH " + quoted(title) + "\n")
	all.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "\\fB" + escape("--"+f.Name) + "\\fR"
		if f.Shorthand != "" {
			name = "\\fB" + escape("-"+f.Shorthand) + "\\fR, " + name
		}
		if kind != "" {
			name += " \\fI" + escape(kind) + "\\fR"
		}
		fmt.Fprintf(b, ".TP\n%s\n%s", name, verbatim(usage))
	})
}

// seeAlso names the pages above and below, and those of one folder.
func seeAlso(b *strings.Builder, c *cobra.Command) {
	var names []string
	if c.HasParent() {
		names = append(names, dashed(c.Parent()))
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			names = append(names, dashed(sub))
		}
	}
	for i, n := range names {
		names[i] = "\\fB" + escape(n) + "\\fR(1)"
	}
	if len(names) > 0 {
		b.WriteString(".SH SEE ALSO\n" + strings.Join(names, ",\n") + "\n")
	}
}

func quoted(s string) string { return `"` + escape(s) + `"` }

// escape keeps text from being read as requests and escapes.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(s)
}

// verbatim are lines as they are; one that begins as a request does is kept from being one.
func verbatim(s string) string {
	var b strings.Builder
	for _, line := range strings.Split(s, "\n") {
		line = escape(line)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
