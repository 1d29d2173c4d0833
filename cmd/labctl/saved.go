package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/labctl-dev/labctl/engine/plan"
)

// savedPlan is a plan in a file, with what it takes to plan again. It holds no secrets, because plans hold none.
type savedPlan struct {
	Labctl  string    `json:"labctl"` // savedMark
	Version int       `json:"version"`
	Spec    string    `json:"spec"` // absolute path
	Tags    []string  `json:"tags,omitempty"`
	Target  string    `json:"target"`
	Only    []string  `json:"only,omitempty"`
	Allow   []string  `json:"allow,omitempty"`
	Deep    bool      `json:"deep,omitempty"`
	Plan    plan.Plan `json:"plan"`
}

// savedMark tells a saved plan from other JSON.
const savedMark = "saved plan"

// save writes a plan so that a crash leaves the old file or the new one.
func save(path string, f labFlags, pf planFlags, p plan.Plan) error {
	spec, err := filepath.Abs(f.path)
	if err != nil {
		return fmt.Errorf("cannot save the plan: %w", err)
	}
	b, err := json.MarshalIndent(savedPlan{
		Labctl: savedMark, Version: 1, Spec: spec, Tags: f.tags, Target: p.Target, Only: pf.only, Allow: pf.allow, Deep: pf.deep, Plan: p,
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot save the plan: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".plan-") // mode 0600
	if err != nil {
		return fmt.Errorf("cannot save the plan: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(b, '\n'))
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("cannot save the plan: %w", err)
	}
	return nil
}

// readSaved reads path if it is a saved plan; nil without error if it is something else.
func readSaved(path string) (*savedPlan, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil, nil // whoever reads it as a lab says what is wrong
	}
	b, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) {
		return nil, nil
	}
	var head struct {
		Labctl  string `json:"labctl"`
		Version int    `json:"version"`
	}
	if json.Unmarshal(b, &head) != nil || head.Labctl != savedMark {
		return nil, nil
	}
	if head.Version != 1 {
		return nil, fmt.Errorf("%s was saved by another version of labctl (version %d of the file, this labctl knows 1): plan again", path, head.Version)
	}
	var s savedPlan
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s is a damaged plan: %w", path, err)
	}
	return &s, nil
}
