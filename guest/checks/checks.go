// Package checks is the part of labctl's programs inside machines that asks whether a declared check holds: once, and
// what was found. Both the probe and the converging program have it.
//
// It must not know who asks, nor what follows from the answer.
package checks

import (
	_ "embed"
	"fmt"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

//go:embed checks.py
var program string

// Program is Python 3.9 or later, standard library only, that defines holds. It is a part of a program, which imports
// http.client, ipaddress, json, os, random, socket, struct, subprocess, time and urllib.parse.
func Program() string { return program }

// Question is a check as the program takes it.
type Question struct {
	Kind   string  `json:"kind"`   // "tcp", "http", "dns" or "command"
	Check  any     `json:"check"`  // what the kind asks
	Within float64 `json:"within"` // seconds in which it must hold
}

// Ask makes a question of a check.
func Ask(c lab.Check) (Question, error) {
	q := Question{Within: time.Duration(c.Within).Seconds()}
	switch {
	case c.TCP != nil:
		q.Kind, q.Check = "tcp", c.TCP
	case c.HTTP != nil:
		q.Kind, q.Check = "http", c.HTTP
	case c.DNS != nil:
		q.Kind, q.Check = "dns", c.DNS
	case c.Command != nil:
		q.Kind, q.Check = "command", c.Command
	default:
		return q, fmt.Errorf("check %s asks nothing", c.Name)
	}
	return q, nil
}
