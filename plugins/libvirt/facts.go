package libvirt

import (
	"bufio"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// factsScript looks at a host, of which libvirt tells only a part; it changes nothing. Each line that it prints is a word
// and what belongs to it. $POOL is the folder of our pools.
const factsScript = `
PATH=$PATH:/usr/sbin:/sbin
for p in dnsmasq nft iptables virt-ssh-helper nc; do
	f=$(command -v $p) && echo program $p "$f"
done
echo forward $(cat /proc/sys/net/ipv4/ip_forward)
echo filter $(cat /proc/sys/net/bridge/bridge-nf-call-iptables)
for d in /sys/class/net/*/bridge; do
	[ ! -d "$d" ] || { d=${d%/bridge}; echo bridge ${d##*/}; }
done
ip -o link show type bridge | while read -r n name rest; do name=${name%:}; echo bridge ${name%@*}; done
[ ! -e /dev/kvm ] || echo kvm
d=$POOL
while [ ! -d "$d" ]; do d=$(dirname "$d"); done
echo space $(df -Pk "$d" | awk 'NR==2 {print $4}') "$d"
while [ "$d" != / ]; do
	[ -z "$(find "$d" -maxdepth 0 ! -perm -001)" ] || echo closed "$d"
	d=$(dirname "$d")
done
exit 0`

// facts are what a host tells of itself.
type facts struct {
	programs map[string]string // path by name
	forward  bool              // it forwards packets
	filter   bool              // frames on bridges pass its firewall
	bridges  []string
	kvm      bool // there is a /dev/kvm, whatever it is worth
	space    lab.Bytes
	folder   string   // the nearest folder to our pools' that exists: its file system has that much space
	closed   []string // folders on the way there that others may not enter, the innermost first
}

// askFacts asks the host of v for its facts.
func (v *virt) askFacts(ctx context.Context) (facts, error) {
	text, err := v.host.URI().Run(ctx, "POOL="+shellWord(v.opts.PoolPath)+factsScript)
	if err != nil {
		return facts{}, err
	}
	return parseFacts(text), nil
}

// shellWord makes one word of s for a shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func parseFacts(text string) facts {
	f := facts{programs: map[string]string{}}
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		word, rest, _ := strings.Cut(s.Text(), " ")
		switch word {
		case "program":
			name, path, _ := strings.Cut(rest, " ")
			f.programs[name] = path
		case "forward":
			f.forward = rest == "1"
		case "filter":
			f.filter = rest == "1"
		case "bridge":
			f.bridges = append(f.bridges, rest)
		case "kvm":
			f.kvm = true
		case "space":
			kib, folder, _ := strings.Cut(rest, " ")
			n, err := strconv.ParseUint(kib, 10, 53)
			if err == nil {
				f.space, f.folder = lab.Bytes(n)*lab.KiB, folder
			}
		case "closed":
			f.closed = append(f.closed, rest)
		}
	}
	slices.Sort(f.bridges)
	f.bridges = slices.Compact(f.bridges)
	return f
}
