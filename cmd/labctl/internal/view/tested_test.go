package view

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// tested is a test in which everything goes wrong that can.
func tested() TestResult {
	addr := netip.MustParseAddr
	q := func(from, to string, dst string, proto string, port uint16, open bool) live.Question {
		x := live.Question{From: from, To: to, Network: "internal", Open: open, Path: []string{from, "inner", to}, Judges: []string{"inner"},
			Packet: reach.Packet{Src: addr("10.10.0.85"), Dst: addr(dst), Proto: proto, Dport: port, Sport: 32768}}
		x.Decision = reach.Decision{Machine: "inner", Origin: nft.Origin{Kind: nft.DefaultRule, Name: "denied between networks"}}
		if open {
			x.By, x.Port = to, port
			x.Decision.Origin = nft.Origin{Kind: nft.FromPolicy, Name: "admin", Path: "policy.admin"}
		}
		return x
	}
	verdicts := []live.Verdict{
		{Question: q("jumpbox", "web", "10.20.0.10", "tcp", 22, true), Kind: live.Agrees},
		{Question: q("jumpbox", "web", "10.20.0.10", "tcp", 3306, false), Kind: live.Open,
			Answer:   live.Answer{State: live.Opened, Source: addr("10.10.0.85"), By: "web", Detail: "answered"},
			Counters: []live.Counted{{Machine: "inner", Rules: []live.Count{{Rule: "forward: (handle 57, not made by labctl)", Packets: 3}}, Remarks: []string{"chain forward has 1 rule that labctl did not make"}}}},
		{Question: q("jumpbox", "db", "fd00:20::11", "icmp", 0, true), Kind: live.Blocked,
			Answer:   live.Answer{State: live.Stopped, Source: addr("10.10.0.85"), Detail: "no answer in 12 s"},
			Counters: []live.Counted{{Machine: "inner", Remarks: []string{"no rule counted it"}}}},
		{Question: q("web", "edge", "10.10.0.1", "tcp", 8080, true), Kind: live.Elsewhere, Answer: live.Answer{State: live.Opened, By: "db", Detail: "answered"}},
		{Question: q("web", "ns", "10.10.0.53", "udp", 123, true), Kind: live.Exempted, Answer: live.Answer{State: live.Exempt, Detail: "a time server holds the port and did not answer, which it need not"}},
		{Question: q("probe", "web", "10.20.0.10", "tcp", 22, false), Kind: live.Unanswered, Answer: live.Answer{State: live.Unasked, Detail: "probe is off"}},
		{Question: q("probe", "web", "10.20.0.10", "tcp", 23, false), Kind: live.Unanswered, Answer: live.Answer{State: live.Unasked, Detail: "probe is off"}},
	}
	verdicts[3].By, verdicts[3].Port = "web", 80
	// Somebody opened inner to everybody: of what the jumpbox may ask now, two were asked again.
	for i, dst := range []string{"10.20.0.11", "fd00:20::11"} {
		for _, port := range []uint16{23, 80, 3306} {
			v := live.Verdict{Question: q("jumpbox", "db", dst, "tcp", port, false), Kind: live.Open,
				Answer: live.Answer{State: live.Opened, Source: addr([]string{"10.10.0.85", "fd00:10::85"}[i]), By: "db", Detail: "answered"}}
			switch port {
			case 23:
				v.Counters = []live.Counted{{Machine: "inner", Rules: []live.Count{{Rule: "forward: (handle 57, not made by labctl)", Packets: 2}}}}
			case 80:
				v.Answer.By, v.Answer.Detail = "", "connected"
				if i == 0 {
					v.Counters = []live.Counted{{Machine: "inner", Remarks: []string{"no rule counted it"}}}
				}
			}
			verdicts = append(verdicts, v)
		}
	}
	verdicts = append(verdicts, live.Verdict{Question: q("jumpbox", "db", "10.20.0.11", "udp", 53, false), Kind: live.Open,
		Answer: live.Answer{State: live.Opened, Source: addr("10.10.0.85"), By: "db", Detail: "answered"}})
	set := live.Set{Services: []lab.Service{{Proto: lab.ICMP}, {Proto: lab.TCP, From: 22, To: 22}}, Off: []string{"spare"}, World: 1, Undecided: 2}
	return TestResult{
		Lab: "deploy3", Target: "local", Away: []AwayMachine{{"probe", "probe is off"}}, Replay: Replayed(set, verdicts),
		Checks: []CheckResult{
			{Check: lab.Check{Name: "login", From: "jumpbox", TCP: &lab.TCPCheck{To: "web", Port: 22}}, OK: true, Got: "10.20.0.10 accepts connections", Tries: 1},
			{Check: lab.Check{Name: "shut", From: "web", TCP: &lab.TCPCheck{To: "edge", Port: 23, Refused: true}}, Got: "10.10.0.1 accepts connections", Tries: 1},
			{Check: lab.Check{Name: "page", From: "jumpbox", HTTP: &lab.HTTPCheck{URL: "http://web/", Status: 200, Body: "<b>welcome</b>"}}, Got: "status 404, body \"<p>\x1b[31mnothing]]></p>\"", Tries: 12},
			{Check: lab.Check{Name: "mail", From: "jumpbox", DNS: &lab.DNSCheck{Name: "lab", Type: "MX", Server: "ns", Answer: []string{"10 mail"}}}, Got: "no such name", Tries: 2},
			{Check: lab.Check{Name: "gone", From: "jumpbox", DNS: &lab.DNSCheck{Name: "old", Type: "A"}}, OK: true},
			{Check: lab.Check{Name: "disk", From: "probe", Command: &lab.CommandCheck{Run: "df /srv", Output: "40G"}}, Error: "probe is off"},
		},
	}
}

func TestTest(t *testing.T) {
	good := tested()
	good.OK, good.Away, good.Checks = true, nil, good.Checks[:1]
	good.Replay = Replayed(live.Set{}, []live.Verdict{{Question: live.Question{From: "a", To: "b", Open: true}, Kind: live.Agrees}})
	many := tested()
	many.Checks, many.Away = nil, nil
	for i := range 60 {
		v := many.Replay.Failed[0]
		v.To = fmt.Sprintf("web%02d", i)
		for port := range uint16(i) {
			v.Packet.Dport = 1000 + port
			many.Replay.Failed = append(many.Replay.Failed, v)
		}
	}
	for _, c := range []struct {
		name string
		t    TestResult
	}{{"bad", tested()}, {"good", good}, {"many", many}, {"nothing", TestResult{Lab: "lone", Target: "local", OK: true}}} {
		for _, s := range screens {
			var b bytes.Buffer
			if err := Test(&b, c.t, s.o); err != nil {
				t.Fatal(err)
			}
			golden(t, "test_"+c.name+"_"+s.name, b.String())
			checkWidth(t, strings.ReplaceAll(stripped(b.String()), "\x1b", ""), s.o.Width)
		}
	}
	var b bytes.Buffer
	if err := JSON(&b, tested()); err != nil {
		t.Fatal(err)
	}
	golden(t, "test_bad_json", b.String())
}

// stripped is text without escape codes.
func stripped(s string) string {
	for {
		i := strings.Index(s, "\x1b[")
		if i < 0 {
			return s
		}
		j := strings.IndexByte(s[i:], 'm')
		s = s[:i] + s[i+j+1:]
	}
}

// TestJUnit: it is XML, and its counts are those of its cases.
func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := JUnit(&b, tested()); err != nil {
		t.Fatal(err)
	}
	golden(t, "test_bad_junit", b.String())
	var back junitSuites
	d := xml.NewDecoder(&b)
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	for {
		more, err := d.Token()
		if err == io.EOF {
			break
		}
		if text, ok := more.(xml.CharData); err != nil || !ok || len(bytes.TrimSpace(text)) > 0 {
			t.Fatalf("after the end: %v, %v", more, err)
		}
	}
	tests, failures, errs := 0, 0, 0
	for _, s := range back.Suites {
		for _, c := range s.Cases {
			tests++
			if c.Failure != nil {
				failures++
			}
			if c.Error != nil {
				errs++
			}
		}
	}
	// Five pairs, of which three do something else and one could not be asked, and six checks.
	if back.Tests != tests || back.Failures != failures || back.Errors != errs || tests != 11 || failures != 6 || errs != 2 {
		t.Errorf("%d tests, %d failures, %d errors; it says %d, %d, %d", tests, failures, errs, back.Tests, back.Failures, back.Errors)
	}
	if err := JUnit(full{}, tested()); err == nil {
		t.Error("a full disk goes unnoticed")
	}
}
