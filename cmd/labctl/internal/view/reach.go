package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// ReachFacts are what Reach shows, as one value for JSON.
type ReachFacts struct {
	reach.Answer
	Target string              `json:"target,omitempty"` // what its host filters itself is a part of the ways
	Places map[string]Location `json:"places,omitempty"` // where the rules stand, by their paths in the spec
}

// Reach writes whether and how one reaches another. With all, ways that no ordinary program takes are shown as well;
// else only those of them that are open.
func Reach(w io.Writer, f ReachFacts, all bool, o Options) error {
	pr := &printer{Options: o}
	pr.line(0, 2, verdictLine(f.Answer)...)
	if f.Why != "" {
		pr.line(2, 4, text(upper(f.Why)+"."))
	}
	hidden := 0
	for _, v := range f.Ways {
		if !v.Usual && !v.Allowed && !all {
			hidden++
			continue
		}
		pr.blank()
		pr.way(f, v)
	}
	pr.standIns(f)
	if hidden > 0 {
		pr.blank()
		pr.line(0, 2, span{fmt.Sprintf("%s that no ordinary program takes: blocked as well; --all shows them.", plural(hidden, "more way")), faint})
	}
	return pr.flush(w)
}

// standIns says which addresses are not the real ones.
func (pr *printer) standIns(f ReachFacts) {
	for _, name := range slices.Sorted(maps.Keys(f.StandIns)) {
		pr.blank()
		pr.line(0, 2, span{fmt.Sprintf("%s stands for the network that the target gives on %s.", f.StandIns[name], name), faint})
	}
}

func verdictLine(a reach.Answer) []span {
	services := serviceTexts(a.Services)
	switch a.State {
	case reach.Open:
		return []span{{a.From, bold}, text(" reaches "), {services, bold}, text(" on "), {a.To, bold}, text(": "), {"open", green}}
	case reach.Partly:
		return []span{{a.From, bold}, text(" reaches part of "), {services, bold}, text(" on "), {a.To, bold}, text(": "), {"partly open", yellow}}
	}
	return []span{{a.From, bold}, text(" does not reach "), {services, bold}, text(" on "), {a.To, bold}, text(": "), {"blocked", red}}
}

func serviceTexts(all []lab.Service) string {
	var out []string
	for _, s := range all {
		out = append(out, s.String())
	}
	return strings.Join(out, ", ")
}

// way writes one way: the packet and its fate, then hop by hop, translations and rules, and the way back.
func (pr *printer) way(f ReachFacts, v reach.Verdict) {
	sign, color, fate := "-", red, "is stopped"
	switch {
	case v.Allowed:
		sign, color, fate = "+", green, "gets through, and so does the answer"
	case v.Lost:
		fate = "arrives, but the answer is lost"
	}
	head := []span{{sign, color}, text(" " + v.Packet.String() + " "), {fate, color}}
	if !v.Usual {
		head = append(head, span{" (a way that no ordinary program takes)", faint})
	}
	pr.line(0, 4, head...)
	row := func(name string, spans ...span) {
		pr.line(4, 12, append([]span{{pad(name, 8), faint}}, spans...)...)
	}
	if ports := portsText(v); ports != "" {
		row("ports", text(ports))
	}
	end, stopped := "", span{}
	if v.Allowed || v.Lost {
		end = v.To
	} else {
		stopped = span{" X", red}
	}
	row("way", text(wayText(v.From, end, v.Path)), stopped)
	for _, s := range v.Path {
		if at := pr.step(f, s); len(at) > 0 {
			row("", append([]span{{s.Machine, bold}, text(": ")}, at...)...)
		}
	}
	if !v.Allowed {
		row("because", because(f, v)...)
	}
	if v.Allowed {
		row("back", text(wayText(v.To, v.From, v.Back)))
	} else if v.Lost {
		row("back", text(wayText(v.To, "", v.Back)), span{" X", red})
	}
}

// portsText is the ports that share the fate, where there are others than the packet's.
func portsText(v reach.Verdict) string {
	translated := slices.ContainsFunc(v.Path, func(s reach.Step) bool { return s.NAT != "" })
	if len(v.Ports) == 1 && (translated || v.Ports[0] == fmt.Sprint(v.Packet.Dport) || v.Packet.Dport == 0) {
		return ""
	}
	return some(v.Ports)
}

// wayText is a way in one line: machines, and the networks between them in brackets; to is who is there at its end, ""
// where it ends on the way.
func wayText(from, to string, steps []reach.Step) string {
	var b strings.Builder
	if len(steps) == 0 || steps[0].Machine != from {
		b.WriteString(from)
	}
	for i, s := range steps {
		if s.In != "" {
			fmt.Fprintf(&b, " > [%s] > ", s.In)
		}
		b.WriteString(s.Machine)
		if i == len(steps)-1 && s.Out != "" && to != "" {
			fmt.Fprintf(&b, " > [%s] > %s", s.Out, to)
		}
	}
	return b.String()
}

// step is what a machine does to the packet: the rule that lets it through, and translation.
func (pr *printer) step(f ReachFacts, s reach.Step) []span {
	var out []span
	if s.Gate.Name != "" {
		out = append(out, text(ruleText(s.Gate)+" lets it in"))
	}
	if s.Rule.Name != "" {
		if len(out) > 0 {
			out = append(out, text("; "))
		}
		out = append(out, text(ruleText(s.Rule)+" lets it through"))
		out = append(out, placeSpan(f.Places, s.Rule.Path)...)
	}
	if s.NAT != "" {
		if len(out) > 0 {
			out = append(out, text("; "))
		}
		out = append(out, span{"translated " + s.NAT, cyan})
	}
	return out
}

func ruleText(o nft.Origin) string {
	switch o.Kind {
	case nft.FromPolicy:
		return fmt.Sprintf("rule %q", o.Name)
	case nft.FromPublish:
		return "the published port " + o.Name
	case nft.Implied:
		return o.Name + " (implied)"
	case nft.Outside:
		return "the target's own filter (" + o.Name + ")"
	}
	return o.Name
}

func placeSpan(places map[string]Location, path string) []span {
	if at, ok := places[path]; ok {
		return []span{{" (" + at.String() + ")", faint}}
	}
	return nil
}

// because is why a packet or its answer does not get through: the rule, or what is missing.
func because(f ReachFacts, v reach.Verdict) []span {
	d := v.Decision
	on := ""
	if d.Machine != "" {
		on = " on " + d.Machine
	}
	switch d.Origin.Kind {
	case nft.DefaultRule:
		if v.Lost {
			return []span{text("the answer is no part of a connection that " + d.Machine + " knows, and no rule allows it")}
		}
		return []span{text(fmt.Sprintf("no rule%s lets it through; one in policy from %s to %s that allows %s would", on, v.From, v.To, packetService(v)))}
	case "":
		return []span{text(d.Why)}
	}
	out := []span{text(ruleText(d.Origin) + on + " drops it")}
	if d.Origin.Kind == nft.AntiSpoof {
		out = []span{text(fmt.Sprintf("it has a source address that cannot come from there (%s%s)", d.Origin.Name, on))}
	}
	if d.Why != "" {
		out = append(out, text(": "+d.Why))
	}
	return append(out, placeSpan(f.Places, d.Origin.Path)...)
}

func packetService(v reach.Verdict) string {
	if v.Packet.Dport == 0 {
		return v.Packet.Proto
	}
	return fmt.Sprintf("%s/%d", v.Packet.Proto, v.Packet.Dport)
}

// Paths are the paths of all rules that ways name, sorted.
func Paths(ways []reach.Verdict) []string {
	var out []string
	add := func(p string) {
		if p != "" && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for _, v := range ways {
		add(v.Decision.Origin.Path)
		for _, s := range slices.Concat(v.Path, v.Back) {
			add(s.Rule.Path)
		}
	}
	slices.Sort(out)
	return out
}
