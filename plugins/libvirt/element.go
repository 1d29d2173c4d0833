package libvirt

import (
	"slices"
	"strings"
)

// element is an XML element as libvirt writes it: no comments, no CDATA, no character references but the five named
// ones. Reading it costs a tenth of what encoding/xml needs, which is most of what a look at a host costs on our side.
type element struct {
	name  string
	attrs string // what stands between name and end of the start tag
	inner string // what stands between the tags
	kids  []element
}

// skipped are elements that parse gives no children.
type skipped map[string]bool

// parse reads one element. false: it is not written as libvirt writes it, and is encoding/xml's to read.
func (s skipped) parse(text string) (element, bool) {
	e, rest, ok := s.element(strings.TrimSpace(text))
	return e, ok && strings.TrimSpace(rest) == ""
}

// element reads the element that text begins with.
func (s skipped) element(text string) (e element, rest string, ok bool) {
	r := elementReader{skip: s}
	return r.element(text)
}

// elementReader keeps children in one place until their number is known.
type elementReader struct {
	skip skipped
	kids []element // of all elements that are being read, the inmost last
}

func (r *elementReader) element(text string) (e element, rest string, ok bool) {
	tag, rest, ok := strings.Cut(text, ">")
	if !ok || len(tag) < 2 || tag[0] != '<' || tag[1] == '!' || tag[1] == '?' || tag[1] == '/' {
		return e, text, false
	}
	tag, empty := strings.CutSuffix(tag[1:], "/")
	e.name, e.attrs, _ = strings.Cut(tag, " ")
	if strings.Contains(e.attrs, "&#") || empty {
		return e, rest, empty
	}
	if r.skip[e.name] {
		e.inner, rest, ok = skip(e.name, rest)
		return e, rest, ok
	}
	mine := len(r.kids)
	for body := rest; ; {
		i := strings.IndexByte(rest, '<')
		if i < 0 {
			return e, text, false
		}
		if after, end := strings.CutPrefix(rest[i:], "</"); end {
			e.inner = body[:len(body)-len(rest)+i]
			if len(r.kids) > mine {
				e.kids = slices.Clone(r.kids[mine:])
				r.kids = r.kids[:mine]
			}
			after, end = closes(after, e.name)
			return e, after, end && (e.kids != nil || !strings.Contains(e.inner, "&#"))
		}
		kid, after, ok := r.element(rest[i:])
		if !ok {
			return e, text, false
		}
		r.kids, rest = append(r.kids, kid), after
	}
}

// skip finds the end of an element, of whose start tag text is behind. It may have none of its own name in it.
func skip(name, text string) (inner, rest string, ok bool) {
	for at := 0; ; {
		i := strings.IndexByte(text[at:], '<')
		if i < 0 {
			return "", text, false
		}
		at += i + 1
		if after, end := strings.CutPrefix(text[at:], "/"); end {
			if rest, ok := closes(after, name); ok {
				return text[:at-1], rest, true
			}
		} else if after, same := strings.CutPrefix(text[at:], name); same && after != "" && (after[0] == ' ' || after[0] == '>') {
			return "", text, false
		}
	}
}

// closes says whether text begins with what is left of the end tag of a name behind its "</", and what comes then.
func closes(text, name string) (rest string, ok bool) {
	after, ok := strings.CutPrefix(text, name)
	if !ok {
		return text, false
	}
	return strings.CutPrefix(after, ">")
}

// kid is the first child of a name; nil if there is none. All methods serve on nil.
func (e *element) kid(name string) *element {
	if e == nil {
		return nil
	}
	for i := range e.kids {
		if e.kids[i].name == name {
			return &e.kids[i]
		}
	}
	return nil
}

// attr is the value of an attribute; "" if it is not there.
func (e *element) attr(name string) string {
	if e == nil {
		return ""
	}
	rest := e.attrs
	for rest != "" {
		key, after, ok := strings.Cut(strings.TrimLeft(rest, " \n"), "=")
		if !ok || after == "" {
			return ""
		}
		value, next, _ := strings.Cut(after[1:], after[:1])
		if key == name {
			return unescaped(value)
		}
		rest = next
	}
	return ""
}

// text is what stands in an element that has no children.
func (e *element) text() string {
	if e == nil {
		return ""
	}
	return unescaped(e.inner)
}

func unescaped(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&apos;", "'", "&amp;", "&").Replace(s)
}
