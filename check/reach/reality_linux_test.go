package reach

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/guest/nft"
)

// probe is one question, asked of the proof and of the kernel.
type probe struct {
	space  string // who asks
	from   string // the same to the proof
	router string // a foreigner hands it to; "" for machines
	wire   string // network of an attacker or intruder
	zone   string // network of a link-local destination
	packet Packet
	open   bool
	who    string // answers
	spoof  bool   // with another's address, one way
	proof  []Verdict
}

func (q probe) String() string {
	s := fmt.Sprintf("%s: %s", q.space, q.packet)
	for _, v := range q.proof {
		s += fmt.Sprintf("\n    proof: allowed=%v usual=%v to=%s lost=%v sources=%d by %s\n      path %+v\n      back %+v", v.Allowed, v.Usual, v.To, v.Lost, v.Sources, v.Decision, v.Path, v.Back)
	}
	return s
}

// TestReality compares the proof with the kernel: labs of random topology and policy, built of network namespaces with
// the same rulesets and routes, and a real packet for each verdict. `make soak` does it LABCTL_SOAK times with new
// seeds, or with LABCTL_SEED alone.
func TestReality(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes network namespaces by the hundred")
	}
	need(t)
	sweep()
	first, count := uint64(1), uint64(20)
	if n, err := strconv.ParseUint(os.Getenv("LABCTL_SOAK"), 10, 32); err == nil {
		first, count = uint64(time.Now().UnixNano())%1e12, n
	}
	if n, err := strconv.ParseUint(os.Getenv("LABCTL_SEED"), 10, 64); err == nil {
		first, count = n, 1
	}
	t.Logf("seeds %d to %d", first, first+count-1)
	var asked, open atomic.Int64
	slots := make(chan bool, 3)
	var wg sync.WaitGroup
	for seed := first; seed < first+count; seed++ {
		slots <- true
		if t.Failed() && os.Getenv("LABCTL_SOAK") == "" {
			<-slots
			break
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			l := random(seed)
			p, err := Prove(l)
			if err != nil {
				t.Errorf("seed %d: %v", seed, err)
				return
			}
			a, o := compare(t, fmt.Sprint(seed), p, p.sets, 150)
			open.Add(o)
			if n := asked.Add(a); (n-a)/15000 != n/15000 { // a sign of life
				t.Logf("%d packets, seed %d", n, seed)
			}
		}()
	}
	wg.Wait()
	t.Logf("%d labs, %d packets, %d of them expected to open something", count, asked.Load(), open.Load())
}

// compare builds the lab of a proof with sets as its rulesets, asks the kernel up to limit questions and reports where
// the proof says otherwise.
func compare(t testing.TB, id string, p *Proof, sets map[string]nft.Ruleset, limit int) (asked, open int64) {
	for _, d := range disagreements(t, id, p, sets, limit, 3*time.Second, &asked, &open) {
		t.Errorf("seed %s: the kernel says %s\n  %s\n  again: make soak SEED=%s", id, d.says, d.probe, id)
	}
	return asked, open
}

type disagreement struct {
	probe probe
	says  string
}

func disagreements(t testing.TB, id string, p *Proof, sets map[string]nft.Ruleset, limit int, patience time.Duration, asked, open *int64) []disagreement {
	seed, _ := strconv.ParseUint(id, 10, 64)
	rnd := rand.New(rand.NewPCG(seed, 9))
	foreigners := foreignersOf(p, rnd)
	k, err := build(t, id, p, sets, foreigners)
	defer k.close()
	k.patience = patience
	if err != nil {
		t.Errorf("seed %s: %v", id, err)
		return nil
	}
	probes := choose(questions(p, foreigners, k, rnd), limit, rnd)
	slots := make(chan bool, 48)
	var wg sync.WaitGroup
	var lock sync.Mutex
	var out []disagreement
	for i, q := range probes {
		slots <- true
		wg.Add(1)
		*asked++
		if q.open {
			*open++
		}
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			if says, ok := k.check(t, q, fmt.Sprintf("%s/%d", id, i)); !ok {
				lock.Lock()
				out = append(out, disagreement{q, says})
				lock.Unlock()
			}
		}()
	}
	wg.Wait()
	k.patience *= 5 // silence may be the busy machine's: once more, alone
	confirmed := false
	return slices.DeleteFunc(out, func(d disagreement) bool {
		if d.says != silence || confirmed {
			return false
		}
		_, ok := k.check(t, d.probe, fmt.Sprintf("%s/again/%s/%d", id, d.probe.packet.Dst, d.probe.packet.Dport))
		confirmed = !ok
		return ok
	})
}

// silence is what the kernel says where no answer comes.
const silence = "blocked"

// check asks the kernel. What is expected and does not come at once gets more time; what comes unexpected counts.
func (k *kernel) check(t testing.TB, q probe, nonce string) (says string, ok bool) {
	waits := []time.Duration{250 * time.Millisecond}
	if q.open {
		waits = []time.Duration{500 * time.Millisecond, k.patience}
	}
	for _, wait := range waits {
		who := ""
		var err error
		if q.spoof {
			if err = k.shout(q.space, q.packet, nonce); err == nil {
				who = k.hears(nonce, wait)
			}
		} else {
			who, err = k.ask(q.space, q.packet, q.zone, wait)
		}
		if err != nil {
			t.Errorf("%s: %v", q, err)
			return "", true
		}
		switch {
		case q.open && (who == q.who || who == "?"):
			return "", true
		case !q.open && who != "":
			return "open, " + who + " answers", false
		case who != "":
			return who + " answers, not " + q.who, false
		}
	}
	return silence, !q.open
}

func (k *kernel) hears(nonce string, wait time.Duration) string {
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if who, ok := k.heard.Load(nonce); ok {
			return who.(string)
		}
	}
	return ""
}

// foreignersOf are the world, an attacker on an uplink and an intruder on an inner network, each before one router.
func foreignersOf(p *Proof, rnd *rand.Rand) []foreign {
	var out []foreign
	var up, in []foreign
	for _, n := range p.lab.Networks {
		for _, m := range p.wires[n.Name].nodes {
			switch {
			case m.forwards && n.Uplink:
				up = append(up, foreign{"attacker", n.Name, m.name})
			case m.forwards:
				in = append(in, foreign{"intruder", n.Name, m.name})
			}
		}
	}
	if len(p.outside.ifaces) > 0 {
		out = append(out, foreign{name: "world"})
	}
	if len(up) > 0 {
		out = append(out, up[rnd.IntN(len(up))])
	}
	return append(out, in[rnd.IntN(len(in))])
}

// questions are everything that everybody may ask everybody, answered by the proof.
func questions(p *Proof, foreigners []foreign, k *kernel, rnd *rand.Rand) []probe {
	var out []probe
	var targets []Packet
	for _, m := range p.lab.Machines {
		for _, i := range p.nodes[m.Name].ifaces {
			for _, a := range i.addr {
				if a.IsValid() {
					targets = append(targets, Packet{Dst: a})
				}
			}
		}
	}
	for _, a := range worlds {
		if len(p.outside.ifaces) > 0 {
			targets = append(targets, Packet{Dst: a})
		}
	}
	for _, m := range p.lab.Machines {
		for _, to := range targets {
			if p.nodes[m.Name].local.has(numOf(to.Dst)) { // over its own loopback: always
				continue
			}
			out = append(out, ask(p, probe{space: m.Name, from: m.Name, packet: to})...)
		}
		for _, i := range p.nodes[m.Name].ifaces {
			for _, n := range p.wires[i.network].nodes {
				if n.name != m.Name {
					out = append(out, ask(p, probe{space: m.Name, from: m.Name, zone: i.network, packet: Packet{Dst: n.on(i.network).link}})...)
				}
			}
		}
	}
	for _, f := range foreigners {
		for _, to := range targets {
			if slices.Contains(worlds, to.Dst) && f.name != "intruder" { // the world asking itself is not asked
				continue
			}
			q := probe{space: f.name, from: f.network, router: f.router, wire: f.network, packet: to}
			if f.network == "" || f.name == "attacker" {
				q.from = "world"
			}
			out = append(out, ask(p, q)...)
			if f.network != "" {
				out = append(out, spoof(p, q, f, targets, rnd)...)
			}
		}
	}
	return out
}

// ask makes a probe of each service.
func ask(p *Proof, q probe) []probe {
	var out []probe
	add := func(proto string, port uint16) {
		q := q
		q.packet.Proto, q.packet.Dport = proto, port
		if q.known(p) {
			out = append(out, q)
		}
	}
	for _, port := range tcpPorts {
		add("tcp", port)
	}
	for _, port := range udpPorts {
		add("udp", port)
	}
	add("icmp", 0)
	return out
}

// known asks the proof; false where the kernel's answer would say nothing about it.
func (q *probe) known(p *Proof) bool {
	network := q.wire
	if network != "" { // the address that it sends from
		prefix, ok := p.prefix(p.wires[network].network, q.packet.Dst.Is6())
		if !ok {
			return false
		}
		q.packet.Src = (&kernel{p: p}).free(network, prefix)
		onWire := prefix.Contains(q.packet.Dst)
		if !onWire && !p.nodes[q.router].on(network).addr[family(q.packet.Dst.Is6())].IsValid() {
			return false
		}
	}
	all, err := p.Trace(q.from, q.packet)
	if err != nil {
		return false
	}
	for _, v := range all {
		switch {
		case network != "":
			on := p.wires[network].owned.has(numOf(q.packet.Dst))
			if first := firstOf(v); !on && first != q.router {
				continue
			}
		case q.space == "world":
			if !v.Usual {
				continue
			}
		case !v.Usual:
			continue
		}
		q.proof = append(q.proof, v)
		if v.Allowed {
			q.open, q.who = true, v.To
			if p.wires[v.To] != nil { // a host that nobody knows
				q.who = "intruder"
			}
		}
	}
	if len(q.proof) == 0 { // whether the world sends it back is the world's business
		return false
	}
	if len(q.proof) > 1 { // only some source ports: the kernel's choice decides
		open := slices.IndexFunc(q.proof, func(v Verdict) bool { return v.Allowed })
		shut := slices.IndexFunc(q.proof, func(v Verdict) bool { return !v.Allowed })
		if open >= 0 && shut >= 0 {
			return false
		}
	}
	return true
}

func firstOf(v Verdict) string {
	if len(v.Path) == 0 {
		return v.Decision.Machine
	}
	return v.Path[0].Machine
}

// spoof makes probes with the addresses of others.
func spoof(p *Proof, q probe, f foreign, targets []Packet, rnd *rand.Rand) []probe {
	var out []probe
	for range 2 {
		from := targets[rnd.IntN(len(targets))].Dst
		if from.Is4() != q.packet.Dst.Is4() || from == q.packet.Dst {
			continue
		}
		q := q
		q.spoof = true
		q.packet = Packet{Src: from, Dst: q.packet.Dst, Proto: "udp", Sport: uint16(40000 + rnd.IntN(10000)), Dport: []uint16{53, 80}[rnd.IntN(2)]}
		router := p.nodes[f.router]
		v6 := from.Is6()
		if !router.on(f.network).addr[family(v6)].IsValid() || p.wires[f.network].owned.has(numOf(q.packet.Dst)) {
			continue
		}
		if _, ok := p.prefix(p.wires[f.network].network, v6); !ok {
			continue
		}
		w := &walker{p: p}
		b := box{src: one(from), dst: one(q.packet.Dst), proto: only(udp), sport: values{{q.packet.Sport, q.packet.Sport}}, dport: only(q.packet.Dport)}
		w.arrive(router, f.network, flow{now: b, orig: b})
		for _, e := range w.ends {
			v := Verdict{Allowed: e.taken, Path: steps(e.hops), Decision: Decision{Why: e.why}}
			if e.node != nil {
				v.To = e.node.name
			}
			if e.rule != nil {
				v.Decision.Origin = e.rule.Origin
			}
			q.proof = append(q.proof, v)
			if e.taken {
				q.open, q.who = true, e.node.name
			}
		}
		out = append(out, q)
	}
	return out
}

// choose takes at most limit, half of them open if there are that many.
func choose(all []probe, limit int, rnd *rand.Rand) []probe {
	var open, shut, fake []probe
	for _, q := range all {
		switch {
		case q.spoof && !q.open:
			fake = append(fake, q)
		case q.open:
			open = append(open, q)
		default:
			shut = append(shut, q)
		}
	}
	for _, s := range [][]probe{open, shut, fake} {
		rnd.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	}
	n := min(len(open), limit/2)
	m := min(len(fake), limit/6)
	return slices.Concat(open[:n], fake[:m], shut[:min(len(shut), limit-n-m)])
}
