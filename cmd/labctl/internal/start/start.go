// Package start writes the first file of a lab: one of a few that are sound, small, and meant to be changed.
//
// It must not know where the file goes, nor ask anybody anything.
package start

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.cue
var files embed.FS

// Kind is what a first lab is like.
type Kind struct {
	Name    string
	Summary string
}

// Kinds are those that there are, the usual one first.
func Kinds() []Kind {
	return []Kind{
		{"pair", "two machines: one with a page and a way out, one behind it"},
		{"single", "one machine that reaches the world"},
		{"routed", "two routers, a jumpbox, a web server and a database, with a policy that is proven"},
	}
}

// Choice is what a lab's author says before there is a lab.
type Choice struct {
	Kind  string // of Kinds
	Name  string // a DNS label
	Image string // of every machine
	// Provider is that of the only target.
	Provider string
}

// Lab is the text of a lab's file.
func Lab(c Choice) ([]byte, error) {
	text, err := files.ReadFile(c.Kind + ".cue")
	if err != nil {
		var known []string
		for _, k := range Kinds() {
			known = append(known, k.Name)
		}
		return nil, fmt.Errorf("there is no kind of lab called %q; there are %s", c.Kind, strings.Join(known, ", "))
	}
	return []byte(strings.NewReplacer("LABNAME", c.Name, "LABIMAGE", c.Image, "LABPROVIDER", c.Provider).Replace(string(text))), nil
}
