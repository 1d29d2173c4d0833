package gce

import "testing"

// TestOlder: marks in descriptions as labctl wrote them when they were first promised, and as a later one may write them, are
// read: the thing is the lab's (docs/upgrading.md). These texts stay as they are.
func TestOlder(t *testing.T) {
	for text, want := range map[string]mark{
		`{"labctl":{"lab":"shop","target":"cloud","kind":"network","name":"office"}}`:                              {Lab: "shop", Target: "cloud", Kind: "network", Name: "office"},
		`{"labctl":{"lab":"shop","target":"cloud","kind":"disk","name":"web/root","image":"family/debian-12"}}`:    {Lab: "shop", Target: "cloud", Kind: "disk", Name: "web/root", Image: "family/debian-12"},
		`{"labctl":{"lab":"shop","target":"cloud","kind":"route","name":"office-inner","later":[1]},"colour":"x"}`: {Lab: "shop", Target: "cloud", Kind: "route", Name: "office-inner"},
	} {
		got, ok := readMark(text)
		if !ok || got != want || !(owner{"shop", "cloud"}).owns(got, want.Kind) {
			t.Errorf("%s is read as %+v, %v", text, got, ok)
		}
	}
	labels := map[string]string{"labctl-lab": "shop", "labctl-target": "cloud", "labctl-machine": "web", "labctl-name": "root"}
	for name, value := range (owner{"shop", "cloud"}).labels("web", "root") {
		if labels[name] != value {
			t.Errorf("label %s is written as %q: what older versions made is found by %q", name, value, labels[name])
		}
	}
}
