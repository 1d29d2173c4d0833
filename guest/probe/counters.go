package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/guest/nft"
)

// Counter is one rule of a machine's running ruleset and how many packets it has matched.
type Counter struct {
	Chain   string
	Handle  int    // the kernel's number of the rule
	Comment string // "" of a rule that labctl did not make
	Counts  bool   // it has a counter
	Packets uint64
}

// Counters reads a machine's table of labctl, in the order of its rules. That there is no such table is an error.
func Counters(ctx context.Context, sh guest.Shell, machine string) ([]Counter, error) {
	what := "read the counters of " + machine
	const ask = "nft -j list table inet " + nft.Table
	out, err := sh.Run(ctx, `PATH=$PATH:/usr/sbin:/sbin; if [ "$(id -u)" = 0 ]; then exec `+ask+`; else exec sudo -n `+ask+`; fi`, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot %s: %w", what, err)
	}
	if out.Exit != 0 {
		return nil, fmt.Errorf("cannot %s: %s", what, strings.Split(strings.TrimSpace(string(out.Stderr)), "\n")[0])
	}
	all, err := parseCounters(out.Stdout)
	if err != nil {
		return nil, fmt.Errorf("cannot %s: %w", what, err)
	}
	return all, nil
}

// parseCounters reads the JSON of nft (libnftables-json(5)).
func parseCounters(b []byte) ([]Counter, error) {
	var doc struct {
		Nftables []struct {
			Rule *struct {
				Chain   string
				Handle  int
				Comment string
				Expr    []map[string]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("the answer of nft -j is unreadable: %w", err)
	}
	var out []Counter
	for _, x := range doc.Nftables {
		if x.Rule == nil {
			continue
		}
		c := Counter{Chain: x.Rule.Chain, Handle: x.Rule.Handle, Comment: x.Rule.Comment}
		for _, e := range x.Rule.Expr {
			var n struct{ Packets uint64 }
			if raw, ok := e["counter"]; ok && json.Unmarshal(raw, &n) == nil {
				c.Counts, c.Packets = true, n.Packets
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// Moved is what happened between two looks at the same counters: each rule that matched more packets than before, with
// the difference in Packets.
func Moved(before, after []Counter) []Counter {
	type key struct {
		chain  string
		handle int
	}
	was := map[key]uint64{}
	for _, c := range before {
		was[key{c.Chain, c.Handle}] = c.Packets
	}
	var out []Counter
	for _, c := range after {
		if n := was[key{c.Chain, c.Handle}]; c.Counts && c.Packets > n {
			c.Packets -= n
			out = append(out, c)
		}
	}
	return out
}
