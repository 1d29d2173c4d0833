package image

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/image/recipe"
)

// apt is how this host's own apt reaches the archive: what is needed to get packages here, and is not the image's.
type apt struct {
	options  []string // apt.conf lines: proxies, certificates
	sources  []recipe.Source
	mirrored bool // sources are the host's, not the recipe's
}

// passed are the settings of the host's apt that say how hosts are reached.
var passed = []string{"acquire::http::", "acquire::https::", "acquire::retries", "acquire::forceipv4", "acquire::forceipv6"}

// hostApt asks apt-config; a host without apt has no such settings, and environment variables such as http_proxy reach
// apt by themselves.
func hostApt(ctx context.Context, r recipe.Recipe) (apt, error) {
	a := apt{sources: r.Sources}
	if list := hostSources("/etc/apt", r, recipe.Archives()); list != nil {
		a.sources, a.mirrored = list, true
	}
	path, ok := look("apt-config")
	if !ok {
		return a, nil
	}
	out, err := exec.CommandContext(ctx, path, "dump").Output()
	if err != nil {
		return a, ctx.Err() // a broken apt.conf will be mmdebstrap's to report
	}
	a.options = aptOptions(out)
	return a, nil
}

// aptOptions picks from "apt-config dump" the lines that building uses too.
func aptOptions(dump []byte) []string {
	var list []string
	s := bufio.NewScanner(bytes.NewReader(dump))
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		lower := strings.ToLower(line)
		if strings.HasSuffix(line, `"";`) {
			continue // a bare section
		}
		if slices.ContainsFunc(passed, func(p string) bool { return strings.HasPrefix(lower, p) }) {
			list = append(list, line)
		}
	}
	return list
}

// hostSources are the archives that this host itself takes packages of that release from, so that a build uses the
// mirror next door. It is nil unless the recipe uses the distribution's own archive and the host has all of its suites.
func hostSources(etc string, r recipe.Recipe, own []string) []recipe.Source {
	if !slices.Contains(own, r.Sources[0].URI) {
		return nil // a mirror stands in the lab: that one is meant
	}
	have := map[string]string{} // suite to URI
	for _, e := range aptEntries(etc) {
		if slices.Contains(e.Components, "main") && have[e.Suite] == "" {
			have[e.Suite] = e.URI
		}
	}
	list := slices.Clone(r.Sources)
	same := true
	for n, s := range list {
		uri, ok := have[s.Suite]
		if !ok {
			return nil
		}
		same = same && strings.TrimSuffix(uri, "/") == s.URI
		list[n].URI = strings.TrimSuffix(uri, "/")
	}
	if same {
		return nil
	}
	return list
}

// aptEntries reads sources.list and sources.list.d in both of their formats: sources.list(5).
func aptEntries(etc string) []recipe.Source {
	var list []recipe.Source
	lines, _ := filepath.Glob(filepath.Join(etc, "sources.list.d", "*.list"))
	for _, name := range append([]string{filepath.Join(etc, "sources.list")}, lines...) {
		b, _ := os.ReadFile(name)
		for line := range strings.Lines(string(b)) {
			if i := strings.IndexByte(line, '['); i >= 0 {
				_, rest, _ := strings.Cut(line[i:], "]")
				line = line[:i] + rest
			}
			if f := strings.Fields(line); len(f) >= 4 && f[0] == "deb" {
				list = append(list, recipe.Source{URI: f[1], Suite: f[2], Components: f[3:]})
			}
		}
	}
	stanzas, _ := filepath.Glob(filepath.Join(etc, "sources.list.d", "*.sources"))
	for _, name := range stanzas {
		b, _ := os.ReadFile(name)
		for stanza := range strings.SplitSeq(string(b), "\n\n") {
			list = append(list, deb822(stanza)...)
		}
	}
	return list
}

func deb822(stanza string) []recipe.Source {
	field := map[string][]string{}
	for line := range strings.Lines(stanza) {
		if key, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, " ") {
			field[strings.ToLower(key)] = strings.Fields(value)
		}
	}
	if !slices.Contains(field["types"], "deb") || slices.Equal(field["enabled"], []string{"no"}) {
		return nil
	}
	var list []recipe.Source
	for _, uri := range field["uris"] {
		for _, suite := range field["suites"] {
			list = append(list, recipe.Source{URI: uri, Suite: suite, Components: field["components"]})
		}
	}
	return list
}
