package view

import (
	"io"
	"net/url"
	"path/filepath"
	"slices"
)

// The part of SARIF 2.1.0 that labctl writes
// (https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/sarif-v2.1.0-errata01-os-complete.html).
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		Automation sarifID       `json:"automationDetails"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifID struct {
		ID string `json:"id"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string    `json:"id"`
		Short sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		Level     string          `json:"level"` // "error", "warning", "note"
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
		Related   []sarifLocation `json:"relatedLocations,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
)

// rules say what a result is about.
var rules = [...]sarifRule{
	{"checks", sarifText{"A check of the running lab"}},
	{"drift", sarifText{"The world is not as the lab says"}},
	{"expect", sarifText{"A statement about the lab that must hold"}},
	{"images", sarifText{"An operating system image"}},
	{"implied", sarifText{"What the lab needs for itself"}},
	{"lab", sarifText{"The lab as a whole"}},
	{"networks", sarifText{"A network"}},
	{"policy", sarifText{"A rule of the policy"}},
	{"pools", sarifText{"A storage pool"}},
	{"routers", sarifText{"A router"}},
	{"secrets", sarifText{"A secret"}},
	{"servers", sarifText{"A server"}},
	{"services", sarifText{"A name of services"}},
	{"targets", sarifText{"A target, or what it cannot honour"}},
}

// writeSARIF writes results as one run; id tells runs of several verbs apart where they are uploaded together.
func writeSARIF(w io.Writer, version, id string, rs []sarifResult) error {
	used := []sarifRule{}
	for _, r := range rules {
		if slices.ContainsFunc(rs, func(x sarifResult) bool { return x.RuleID == r.ID }) {
			used = append(used, r)
		}
	}
	if rs == nil {
		rs = []sarifResult{}
	}
	return JSON(w, sarifLog{
		Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0",
		Runs: []sarifRun{{
			Tool:       sarifTool{sarifDriver{"labctl", version, used}},
			Automation: sarifID{"labctl/" + id + "/"},
			ColumnKind: "unicodeCodePoints", Results: rs,
		}},
	})
}

// sarifPlaces are the places that are known. A path stays relative: the reader's root is the folder labctl ran in.
func sarifPlaces(all ...Location) []sarifLocation {
	var out []sarifLocation
	for _, l := range all {
		if l.File == "" {
			continue
		}
		u := url.URL{Path: filepath.ToSlash(l.File)}
		if filepath.IsAbs(l.File) {
			u.Scheme = "file"
		}
		p := sarifPhysical{Artifact: sarifArtifact{u.String()}}
		if l.Line > 0 {
			p.Region = &sarifRegion{l.Line, l.Column}
		}
		out = append(out, sarifLocation{p})
	}
	return out
}
