// Package check says whether a lab makes sense: Vet before it exists, on the model alone.
//
// It must not know CUE, files or positions (a finding has the spec's path, and whoever loaded the spec knows where
// that stands), nor any hypervisor.
package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// Finding is one thing about a lab that is wrong or questionable.
type Finding struct {
	Severity Severity `json:"severity"`
	Path     string   `json:"path"`              // in the spec: servers.web.nics.office.ip
	Related  []string `json:"related,omitempty"` // other paths that have a part in it
	Text     string   `json:"text"`
}

// Severity is how bad a Finding is.
type Severity string

// The severities. A lab with an error is not planned or applied.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

func (f Finding) String() string {
	s := fmt.Sprintf("%s: %s: %s", f.Severity, f.Path, f.Text)
	if len(f.Related) > 0 {
		s += " (see " + strings.Join(f.Related, ", ") + ")"
	}
	return s
}

// Vet returns everything about a complete lab that is wrong or questionable, sorted by path; nil if nothing is. Its
// cost grows with the size of the lab, not with the number of pairs in it.
func Vet(l lab.Lab) []Finding {
	v := &vetter{lab: l, networks: map[string]lab.Network{}, images: map[string]lab.Image{}, secrets: map[string]lab.Secret{}}
	for _, n := range l.Networks {
		v.networks[n.Name] = n
	}
	for _, i := range l.Images {
		v.images[i.Name] = i
	}
	for _, s := range l.Secrets {
		v.secrets[s.Name] = s
	}
	v.names()
	v.nets()
	v.nics()
	v.routed()
	v.pools()
	v.devices()
	v.netboot()
	v.checks()
	v.kept()
	v.certificates()
	for _, m := range l.Machines {
		v.machine(m)
		v.hardware(m)
		v.install(m)
		v.inside(m)
	}
	v.sources()
	slices.SortFunc(v.found, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Text, b.Text), slices.Compare(a.Related, b.Related))
	})
	return v.found
}

// vetter collects the findings of one Vet.
type vetter struct {
	lab      lab.Lab
	networks map[string]lab.Network
	images   map[string]lab.Image
	secrets  map[string]lab.Secret
	found    []Finding
}

func (v *vetter) error(path, format string, args ...any) {
	v.found = append(v.found, Finding{Severity: Error, Path: path, Text: fmt.Sprintf(format, args...)})
}

func (v *vetter) warn(path, format string, args ...any) {
	v.found = append(v.found, Finding{Severity: Warning, Path: path, Text: fmt.Sprintf(format, args...)})
}

// clash is an error between two places of the spec.
func (v *vetter) clash(path, other, format string, args ...any) {
	v.found = append(v.found, Finding{Severity: Error, Path: path, Related: []string{other}, Text: fmt.Sprintf(format, args...)})
}
