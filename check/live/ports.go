package live

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// points are the ports by which services are asked: of a range its ends and one inside. "any" is asked by echo requests
// and by the ports that others declare.
func points(services []lab.Service) []port {
	out := []port{{lab.ICMP, 0}}
	for _, s := range services {
		if s.Proto != lab.TCP && s.Proto != lab.UDP {
			continue
		}
		low := max(s.From, 1) // no program can ask port 0
		for _, n := range []uint16{low, low + (s.To-low)/2, s.To} {
			out = append(out, port{s.Proto, n})
		}
	}
	slices.SortFunc(out, func(a, b port) int {
		return byPort(lab.Service{Proto: a.proto, From: a.n}, lab.Service{Proto: b.proto, From: b.n})
	})
	return slices.Compact(out)
}

// wellKnown are ports that an intruder would try first (IANA's registry): what nobody declared should be shut there.
var wellKnown = map[lab.Proto][]uint16{
	lab.TCP: {21, 23, 25, 80, 111, 139, 389, 443, 445, 873, 2049, 2375, 3306, 3389, 5432, 5900, 6379, 8080, 9200, 11211},
	lab.UDP: {69, 111, 137, 161, 389, 500, 514, 1900, 2049, 4789, 11211},
}

// undeclared are a few ports that are not among known, the same ones whenever the same pair is asked: of TCP and UDP
// one well-known port each and one of those that anybody may listen on.
func undeclared(from, to string, known []port) []port {
	h := sha256.Sum256([]byte("denied\x00" + from + "\x00" + to))
	var out []port
	for i, proto := range []lab.Proto{lab.TCP, lab.UDP} {
		all := wellKnown[proto]
		first, second := binary.BigEndian.Uint32(h[8*i:]), binary.BigEndian.Uint32(h[8*i+4:])
		for k := range uint32(len(all)) {
			if p := (port{proto, all[(first+k)%uint32(len(all))]}); !slices.Contains(known, p) {
				out = append(out, p)
				break
			}
		}
		// Below the ports that Linux chooses from for connections of its own.
		for k := range uint32(1024) {
			if p := (port{proto, uint16(1024 + (second+k)%(32768-1024))}); !slices.Contains(known, p) && !slices.Contains(all, p.n) {
				out = append(out, p)
				break
			}
		}
	}
	return out
}
