// Command sbom writes what Go programs are made of, by what the go command recorded in them, as a CycloneDX 1.5 document:
//
//	go run ./build/sbom VERSION PROGRAM...
//
// It must not look at sources or the network: what is in a program is what the program says. The same programs give the
// same bytes, whatever the day.
package main

import (
	"cmp"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom VERSION PROGRAM...")
		os.Exit(1)
	}
	if err := write(os.Stdout, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// The part of CycloneDX 1.5 that is written (https://cyclonedx.org/docs/1.5/json/).
type (
	document struct {
		Format     string      `json:"bomFormat"`
		Spec       string      `json:"specVersion"`
		Version    int         `json:"version"`
		Metadata   metadata    `json:"metadata"`
		Components []component `json:"components"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Type       string     `json:"type"`
		Ref        string     `json:"bom-ref"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		PURL       string     `json:"purl"`
		Hashes     []hash     `json:"hashes,omitempty"`
		Properties []property `json:"properties,omitempty"`
	}
	hash struct {
		Alg     string `json:"alg"`
		Content string `json:"content"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

// write writes the document of programs, all built from one main module.
func write(w io.Writer, version string, programs []string) error {
	d := document{Format: "CycloneDX", Spec: "1.5", Version: 1}
	used := map[string][]string{} // programs, by the reference of a module
	modules := map[string]component{}
	for _, path := range programs {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return fmt.Errorf("cannot read what %s is made of: %w", path, err)
		}
		d.Metadata.Component = module("application", info.Main.Path, version, "")
		all := []component{module("library", "stdlib", strings.TrimPrefix(info.GoVersion, "go"), "")}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			all = append(all, module("library", m.Path, m.Version, m.Sum))
		}
		for _, c := range all {
			modules[c.Ref] = c
			used[c.Ref] = append(used[c.Ref], filepath.Base(path))
		}
	}
	for ref, c := range modules {
		slices.Sort(used[ref])
		for _, p := range slices.Compact(used[ref]) {
			c.Properties = append(c.Properties, property{"labctl:program", p})
		}
		d.Components = append(d.Components, c)
	}
	slices.SortFunc(d.Components, func(a, b component) int { return cmp.Compare(a.Ref, b.Ref) })
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// module is a Go module; sum is its "h1:" hash: SHA-256 over the hashes of its files (golang.org/x/mod/sumdb/dirhash).
func module(kind, path, version, sum string) component {
	purl := "pkg:golang/" + path + "@" + version
	c := component{Type: kind, Ref: purl, Name: path, Version: version, PURL: purl}
	if b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sum, "h1:")); err == nil && len(b) == 32 {
		c.Hashes = []hash{{"SHA-256", hex.EncodeToString(b)}}
	}
	return c
}
