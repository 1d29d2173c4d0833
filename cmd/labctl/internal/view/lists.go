package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/labctl-dev/labctl/provider"
)

// Doctor writes what a host can do, with the command that mends each miss.
func Doctor(w io.Writer, ds []provider.Diagnosis, o Options) error {
	pr := &printer{Options: o}
	if len(ds) == 0 {
		pr.line(0, 2, text("The provider has nothing to say about this host."))
		return pr.flush(w)
	}
	width := 0
	n := map[provider.Health]int{}
	for _, d := range ds {
		width = min(max(width, columns(d.Name)), 20)
		n[d.Status]++
	}
	for _, d := range ds {
		color := map[provider.Health]style{provider.Good: green, provider.Warning: yellow}[d.Status]
		if color == plain {
			color = alarm
		}
		hang := 9 + width + 2
		detail := lines(d.Detail)
		if len(detail) == 0 {
			detail = []string{""}
		}
		pr.line(0, hang, span{pad(string(d.Status), 9), color}, text(pad(d.Name, width)+"  "+detail[0]))
		for _, l := range detail[1:] {
			pr.line(hang, hang, text(l))
		}
		label := "fix: "
		for _, l := range lines(d.Fix) {
			pr.line(hang, hang+5, span{label, faint}, span{l, bold})
			label = "     "
		}
	}
	pr.blank()
	switch {
	case n[provider.Broken] > 0:
		pr.line(0, 2, span{fmt.Sprintf("%d of %d broken: labctl cannot work like this.", n[provider.Broken], len(ds)), alarm})
	case n[provider.Warning] > 0:
		pr.line(0, 2, span{fmt.Sprintf("labctl works here, with %s.", plural(n[provider.Warning], "warning")), yellow})
	default:
		pr.line(0, 2, span{"labctl works here.", green})
	}
	return pr.flush(w)
}

// Images writes the image store's rows.
func Images(w io.Writer, is []Image, o Options) error {
	pr := &printer{Options: o}
	if len(is) == 0 {
		pr.line(0, 2, text("No images."))
		return pr.flush(w)
	}
	t := &table{header: []string{"image", "arch", "state", "size", "used by", "digest", "source"}, shrink: true}
	for _, i := range is {
		size := ""
		if i.Size > 0 {
			size = bytesText(int64(i.Size))
		}
		color := map[string]style{"ready": green, "partial": yellow, "broken": red}[i.State]
		t.add(text(i.Name), text(string(i.Arch)), span{i.State, color}, text(size), text(strings.Join(i.UsedBy, ", ")),
			text(digest.ReplaceAllString(i.Digest, "$1…")), text(i.Source))
	}
	t.write(pr, 0)
	for _, i := range is {
		for _, l := range lines(i.Problem) {
			pr.line(0, 4, span{i.Name, bold}, text(": "+l))
		}
	}
	return pr.flush(w)
}

// Versions writes the programs that take part.
func Versions(w io.Writer, vs []Version, o Options) error {
	pr := &printer{Options: o}
	t := &table{header: []string{"program", "version", "built from", "protocol", "path"}}
	for _, v := range vs {
		protocol := ""
		if v.Protocol > 0 {
			protocol = number(v.Protocol)
		}
		t.add(text(v.Name), text(v.Version), text(v.Built.Source()), text(protocol), span{v.Path, faint})
	}
	t.write(pr, 0)
	for _, v := range vs {
		for _, l := range lines(v.Problem) {
			pr.line(0, 4, span{v.Name, bold}, text(": "+l))
		}
	}
	return pr.flush(w)
}

// bytesText is a number of bytes in about three digits, e.g. "1.4GiB".
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, u := float64(n), 0
	for f >= 999.5 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	if u == 0 || f >= 99.5 {
		return fmt.Sprintf("%.0f%s", f, units[u])
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + units[u]
}
