package check

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// What must not stand in a spec: everybody who may read the repository could read it.
var (
	privateKey = regexp.MustCompile(`-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----`)
	// The hashes of crypt(5): $1$ MD5, $2b$ bcrypt, $5$ and $6$ SHA, $7$ scrypt, $y$ and $gy$ yescrypt.
	hash = regexp.MustCompile(`\$(1|2[abxy]|5|6|7|y|gy)\$[A-Za-z0-9./$=,]{16,}`)
	// A password after its name, in the ways of YAML, INI, JSON, shell and SQL. The first group is the value.
	password = regexp.MustCompile(`(?i)(?:^|[^a-z])["']?(?:[a-z0-9]+[_-])*(?:password|passwd|passphrase)["']?\s*[:=]\s*("[^"]*"|'[^']*'|[^\s"',;]+)`)
	named    = regexp.MustCompile(`(?i)(^|[_-])(password|passwd|passphrase|private_?key)$`)
)

// harmless are words after "password:" that are no password: switches, and the sources of nsswitch.conf.
var harmless = map[string]bool{"": true, "no": true, "yes": true, "true": true, "false": true, "none": true, "null": true,
	"files": true, "compat": true, "systemd": true, "sss": true, "db": true, "required": true, "x": true, "prompt": true}

// revealed reports what looks like a secret in text, by line, without repeating it.
func (v *vetter) revealed(path, text string) {
	if text == "" {
		return
	}
	number := 0
	for line := range strings.Lines(text) {
		number++
		what := ""
		switch {
		case privateKey.MatchString(line):
			what = "a private key"
		case hash.MatchString(line):
			what = "the hash of a password"
		case hasPassword(line):
			what = "a password"
		default:
			continue
		}
		v.error(path, "line %d has %s, which everybody who reads the spec has then: put it in secrets and let a file take it from there (secret: \"NAME\")", number, what)
	}
}

func hasPassword(line string) bool {
	if !strings.ContainsAny(line, "pP") {
		return false
	}
	for _, m := range password.FindAllStringSubmatch(line, -1) {
		value := strings.Trim(m[1], `"'`)
		// $VAR, {{ template }}, <placeholder>, %variable, * and ! (locked), /path/of/a/file: references, not values.
		if !harmless[strings.ToLower(value)] && !strings.ContainsAny(value[:1], "$<{%*!/@") {
			return true
		}
	}
	return false
}

// options looks for secrets in a target's options. Provider definitions should offer the name of a variable or file.
func (v *vetter) options(t lab.Target) {
	var all map[string]any
	if len(t.Options) == 0 || json.Unmarshal(t.Options, &all) != nil {
		return // schema has made sure that it is an object
	}
	v.hidden([]string{"targets", t.Name}, all)
}

func (v *vetter) hidden(path []string, value any) {
	switch x := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(x)) {
			here := append(slices.Clone(path), name)
			if s, ok := x[name].(string); ok && named.MatchString(name) && s != "" {
				v.error(lab.Path(here...), "a secret stands in the spec: everybody who reads it has it")
				continue
			}
			v.hidden(here, x[name])
		}
	case string:
		if privateKey.MatchString(x) || hash.MatchString(x) {
			v.error(lab.Path(path...), "a secret stands in the spec: everybody who reads it has it")
		}
	}
}
