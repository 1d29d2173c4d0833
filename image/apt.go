package image

import (
	"bufio"
	"bytes"
	"context"
	"os/exec"
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
