package picture

import (
	"encoding/xml"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
)

// odd are texts that mean something in one of the formats.
var odd = []string{`</text><script>alert(1)</script>`, `"]; x -- y; "`, `a\b\n`, "new\nline", `&amp; &#34;`, "\x01\x00bell\ufffe", "`code` **bold** #35;", "網 é →"}

// oddLab has them wherever a text may stand.
func oddLab() Picture {
	l := deploy3()
	l.Name = odd[0]
	for i := range l.Machines {
		l.Machines[i].Groups = []string{odd[i%len(odd)]}
		l.Machines[i].Image = odd[(i+1)%len(odd)]
	}
	p := Picture{Lab: l, Subtitle: strings.Join(odd, " "), Marks: map[Thing]Mark{}}
	for i, m := range l.Machines {
		p.Marks[Thing{Machine: m.Name}] = Mark{Status: New, Lines: []string{odd[(i+2)%len(odd)]}, Detail: strings.Join(odd, "\n")}
	}
	for i, n := range l.Networks {
		p.Marks[Thing{Network: n.Name}] = Mark{Status: Changed, Lines: []string{odd[i]}}
	}
	for _, s := range odd {
		p.Legend, p.Notes = append(p.Legend, Entry{Gone, s}), append(p.Notes, s)
	}
	return p
}

// TestOddTextsStayTexts holds that SVG and HTML are well-formed, and that no text becomes an element.
func TestOddTextsStayTexts(t *testing.T) {
	for _, f := range []Format{SVG, HTML} {
		text := draw(t, oddLab(), f)
		if f == HTML { // its svg element is XML
			text = text[strings.Index(text, "<svg"):]
			text = text[:strings.Index(text, "</svg>")+6]
		}
		elements, texts := parse(t, text)
		for _, e := range elements {
			if !strings.Contains(" svg title style rect path text g ", " "+e+" ") {
				t.Errorf("%s has an element %q", f, e)
			}
		}
		if !strings.Contains(texts, odd[0]) {
			t.Errorf("%s has not the text %q", f, odd[0])
		}
	}
}

// TestWellFormed parses the SVG of random labs.
func TestWellFormed(t *testing.T) {
	for seed := range uint64(30) {
		parse(t, draw(t, random(seed), SVG))
	}
}

func parse(t *testing.T, text string) (elements []string, texts string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	var b strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return elements, b.String()
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			elements = append(elements, x.Name.Local)
		case xml.CharData:
			b.Write(x)
		}
	}
}

// TestSelfContained holds that nothing is fetched from elsewhere.
func TestSelfContained(t *testing.T) {
	text := strings.ReplaceAll(draw(t, Picture{Lab: campus()}, HTML), `xmlns="http://www.w3.org/2000/svg"`, "")
	for _, bad := range []string{"http:", "https:", "src=", "href=", "@import", "url("} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

// TestSameBytes holds that a picture does not hang on chance.
func TestSameBytes(t *testing.T) {
	for seed := range uint64(20) {
		for f := range Formats() {
			a, b := draw(t, random(seed), f), draw(t, random(seed), f)
			if diff := cmp.Diff(a, b); diff != "" {
				t.Fatalf("seed %d, %s: %s", seed, f, diff)
			}
		}
	}
}

// TestGraphvizReads lets the real program read what is written for it.
func TestGraphvizReads(t *testing.T) {
	dot, err := exec.LookPath("dot")
	if err != nil {
		t.Skip("Graphviz is not installed: nothing in labctl needs it")
	}
	ps := []Picture{oddLab(), {Lab: deploy3()}}
	for seed := range uint64(5) {
		ps = append(ps, random(seed))
	}
	for i, p := range ps {
		cmd := exec.Command(dot, "-Tcanon")
		cmd.Stdin = strings.NewReader(draw(t, p, Dot))
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "Warning") {
			t.Errorf("picture %d: %v\n%.400s", i, err, out)
		}
	}
}

// TestMermaidEscapes holds that labels hold nothing that Mermaid reads as its own.
func TestMermaidEscapes(t *testing.T) {
	got := mermaidText(strings.Join(odd, "\n"))
	if strings.ContainsAny(strings.ReplaceAll(got, "<br/>", ""), "\"<>`\\*[]{}|\x00\x01\n") {
		t.Errorf("something is left: %q", got)
	}
	for _, line := range strings.Split(draw(t, oddLab(), Mermaid), "\n") {
		if strings.Count(line, `"`)%2 != 0 && !strings.HasPrefix(line, "title:") {
			t.Errorf("quotes do not match: %s", line)
		}
	}
}

func TestLevels(t *testing.T) {
	l := campus()
	want := map[string]int{"wan": 0, "dmz": 1, "core": 2, "office": 3, "lab": 3, "voice": 3, "storage": 3, "island": 0}
	if diff := cmp.Diff(want, levelsOf(l, lab.NewTopology(l))); diff != "" {
		t.Error(diff)
	}
	// Where machines and not routers join networks, they count instead.
	l = lab.Arrange(lab.Lab{Networks: []lab.Network{net("a", "10.0.0.0/24", ""), net("b", "10.1.0.0/24", ""), {Name: "lan", Uplink: true}},
		Machines: []lab.Machine{server("x", "lan", "a"), server("y", "a", "b")}})
	if diff := cmp.Diff(map[string]int{"lan": 0, "a": 1, "b": 2}, levelsOf(l, lab.NewTopology(l))); diff != "" {
		t.Error(diff)
	}
}

func TestNaturalOrder(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"web2", "web10", true}, {"web10", "web2", false}, {"a", "b", true}, {"web", "web1", true}, {"web1", "web1", false}, {"a1b2", "a1b10", true}} {
		if got := natural(c.a, c.b); got != c.want {
			t.Errorf("natural(%q, %q) = %v", c.a, c.b, got)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for file, want := range map[string]Format{"a.svg": SVG, "x/B.HTML": HTML, "a.gv": Dot, "a.mmd": Mermaid, "a.png": "", "svg": ""} {
		if got, ok := FormatOf(file); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", file, got, ok)
		}
	}
	if err := Write(io.Discard, Picture{Lab: lab.Lab{Name: "x"}}, "png"); err == nil || !strings.Contains(err.Error(), `"png"`) {
		t.Errorf("png: %v", err)
	}
}

func BenchmarkDraw(b *testing.B) {
	for _, c := range []struct {
		name string
		l    lab.Lab
	}{{"campus", campus()}, {"flat1000", flat(1000)}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				draw(b, Picture{Lab: c.l}, SVG)
			}
		})
	}
}
