package guest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// deliveredFolder has, inside a machine, a note for each thing that labctl brought (lab.Origin.Brought): what it is, so that
// it is brought again only when it should be something else, or somebody has changed it.
const deliveredFolder = "/var/lib/labctl/delivered"

// Parcel is something that labctl brings into a machine: a file, or a folder of files.
type Parcel struct {
	ID    string   // as in lab.Origin
	Items []Packed // one, without a name, if it is a file
}

// Packed is a file of a Parcel.
type Packed struct {
	Name   string // within the folder, "" of a file by itself
	SHA256 string // 64 hex digits
	Length int64  // bytes
	Open   func() (io.ReadSeekCloser, error)
}

// Packer has at hand what labctl brings into m as f: it may take long, as when an image is made ready first.
type Packer func(ctx context.Context, m lab.Machine, f lab.File, p Progress) (Parcel, error)

// note is what stands in deliveredFolder about a thing.
type note struct {
	Path  string     `json:"path"`
	ID    string     `json:"id"`
	Items []noteItem `json:"items"`
}

type noteItem struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Length int64  `json:"length"`
	Time   int64  `json:"time"` // of the file's last change, by which it is known to be as it was
}

// Deliver brings m what labctl brings it, as far as m lacks it; brought says how much. What was interrupted goes on where it
// was. A file is put in its place whole, after its digest was found right in the machine.
func Deliver(ctx context.Context, sh Shell, m lab.Machine, pack Packer, p Progress) (brought int, err error) {
	for _, f := range m.Guest.Brought() {
		has, err := delivered(ctx, sh, m, f)
		if err != nil {
			return brought, err
		}
		if f.From.ID != "" && has == f.From.ID && f.From.Seed == "" { // seeds have secrets, which no identity knows
			continue
		}
		parcel, err := pack(ctx, m, f, p)
		if err != nil {
			return brought, fmt.Errorf("%s: %s cannot be brought: %w", m.Name, f.Path, err)
		}
		n, err := deliver(ctx, sh, m, f, parcel, p)
		if brought += n; err != nil {
			return brought, fmt.Errorf("%s: %s cannot be brought: %w", m.Name, f.Path, err)
		}
	}
	return brought, nil
}

func notePath(file string) string {
	h := sha256.Sum256([]byte(file))
	return deliveredFolder + "/" + hex.EncodeToString(h[:8]) + ".json"
}

// delivered is the identity of what m has of f, "" if it has nothing or somebody has changed it.
func delivered(ctx context.Context, sh Shell, m lab.Machine, f lab.File) (string, error) {
	out, err := run(ctx, sh, "ask "+m.Name+" for what it has of "+f.Path, "cat "+notePath(f.Path)+" 2>/dev/null; true", nil)
	if err != nil {
		return "", err
	}
	var n note
	if json.Unmarshal(out, &n) != nil { // none, or one that lost power in the middle
		return "", nil
	}
	var script strings.Builder
	for _, i := range n.Items {
		fmt.Fprintf(&script, "[ \"$(stat -c '%%s %%Y' %s 2>/dev/null)\" = '%d %d' ] || exit 0\n", quote(i.Path), i.Length, i.Time)
	}
	out, err = run(ctx, sh, "look at "+f.Path+" in "+m.Name, script.String()+"echo same", nil)
	if err != nil || strings.TrimSpace(string(out)) != "same" {
		return "", err
	}
	return n.ID, nil
}

// deliver brings a parcel's files, and writes the note about it last. Files that are there as they should be stay.
func deliver(ctx context.Context, sh Shell, m lab.Machine, f lab.File, parcel Parcel, p Progress) (brought int, err error) {
	n := note{Path: f.Path, ID: parcel.ID}
	for _, item := range parcel.Items {
		s := shipment{Packed: item, sh: sh, machine: m.Name, to: path.Join(f.Path, item.Name), mode: f.Mode, owner: f.Owner + ":" + f.Group, p: p}
		sent, err := s.send(ctx)
		if err != nil {
			return brought, err
		}
		if sent {
			brought++
		}
		n.Items = append(n.Items, noteItem{s.to, item.SHA256, item.Length, stamp(item.SHA256)})
	}
	text, err := json.Marshal(n)
	if err != nil {
		return brought, err
	}
	at := notePath(f.Path)
	_, err = run(ctx, sh, "note what was brought", "umask 077; mkdir -p "+deliveredFolder+" && cat > "+at+".new && mv -f "+at+".new "+at, strings.NewReader(string(text)))
	return brought, err
}

// stamp is the time of last change that a file with such a digest is given: any other is a sign that somebody wrote to it.
// Between 2001 and 2035, in seconds since 1970.
func stamp(digest string) int64 {
	b, err := hex.DecodeString(digest)
	if err != nil || len(b) < 4 {
		return 1e9
	}
	return 1e9 + int64(binary.BigEndian.Uint32(b)>>2)
}

// shipment is a file on its way into a machine.
type shipment struct {
	Packed
	sh          Shell
	machine     string
	to          string // path in the machine
	mode, owner string
	p           Progress
}

// send sends the file unless it is there; it says whether it did.
func (s shipment) send(ctx context.Context) (bool, error) {
	for try := 0; ; try++ {
		at, err := s.ask(ctx)
		if err != nil || at < 0 {
			return false, err
		}
		err = s.rest(ctx, at)
		if err == nil {
			return true, nil
		}
		if try == 5 || ctx.Err() != nil {
			return false, err
		}
		select { // the connection was lost; what has come is there
		case <-ctx.Done():
			return false, err
		case <-time.After(time.Duration(try+1) * time.Second):
		}
	}
}

// part is where the file grows: beside its place, under a name of its digest.
func (s shipment) part() string { return path.Join(path.Dir(s.to), ".labctl-"+s.SHA256[:16]+".part") }

// ask says how much of the file has come before; -1 if it is there as it should be.
func (s shipment) ask(ctx context.Context) (int64, error) {
	script := fmt.Sprintf(`mkdir -p %[1]s
if [ -f %[2]s ] && [ "$(stat -c %%s %[2]s)" = %[3]d ] && echo %[4]s | sha256sum --check --status; then
  chown %[6]s %[2]s && chmod %[7]s %[2]s && touch -d @%[8]d %[2]s && echo -1; exit
fi
stat -c %%s %[5]s 2>/dev/null || echo 0`, quote(path.Dir(s.to)), quote(s.to), s.Length, quote(s.SHA256+"  "+s.to), quote(s.part()), quote(s.owner), s.mode, stamp(s.SHA256))
	out, err := run(ctx, s.sh, "ask how much of "+s.to+" has come", script, nil)
	if err != nil {
		return 0, err
	}
	var at int64
	if _, err := fmt.Sscan(string(out), &at); err != nil {
		return 0, fmt.Errorf("asked how much of %s has come, %s says %q", s.to, s.machine, out)
	}
	if at > s.Length {
		at = 0
	}
	return at, nil
}

// rest sends what is missing from at on, and has the machine put the file in its place.
func (s shipment) rest(ctx context.Context, at int64) error {
	f, err := s.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return err
	}
	// The file's length tells the end of a file from that of the connection.
	script := fmt.Sprintf(`umask 077
truncate -s %[1]d %[2]s && cat >> %[2]s || { echo "cannot write; $(df -h --output=avail %[3]s | tail -n 1) free" >&2; exit 1; }
[ "$(stat -c %%s %[2]s)" = %[4]d ] || { echo "the connection ended in the middle" >&2; exit 1; }
echo %[5]s | sha256sum --check --status || { rm -f %[2]s; echo "it came with another digest than it was sent with" >&2; exit 1; }
chown %[6]s %[2]s && chmod %[7]s %[2]s && touch -d @%[8]d %[2]s && mv -f %[2]s %[9]s`,
		at, quote(s.part()), quote(path.Dir(s.to)), s.Length, quote(s.SHA256+"  "+s.part()), quote(s.owner), s.mode, stamp(s.SHA256), quote(s.to))
	in := &counted{r: io.LimitReader(f, s.Length-at), at: at, tell: func(done int64) {
		s.p(fmt.Sprintf("sending %s: %d %%", s.to, done*100/max(s.Length, 1)), 0, 0)
	}}
	_, err = run(ctx, s.sh, "send "+s.to+" to "+s.machine, script, in)
	return err
}

// counted tells now and then how far a reader is.
type counted struct {
	r    io.Reader
	at   int64
	tell func(done int64)
	last time.Time
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.at += int64(n)
	if time.Since(c.last) > time.Second {
		c.last = time.Now()
		c.tell(c.at)
	}
	return n, err
}
