package guest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/guest/converge"
	"github.com/labctl-dev/labctl/lab"
)

// Converge makes the inside of m what seed says and returns when it is, at most m.Ready after it began. It waits for
// a first boot to end; that boot's own run is good enough if it worked on the same document, and so is one that an apply
// left behind. One that works on an older document is asked to end as soon as that is safe. Then Converge sends the
// document, and the program if that has changed, and runs the program apart from this connection, which may go down
// and be lost with the network: the caller's Shell should connect anew then.
//
// What labctl brings into m comes first, by way of pack; a first boot that lacked it has left everything that it is for to
// a second run.
//
// Converging again is cheap and changes nothing. The error names the items that failed, with their last lines.
func Converge(ctx context.Context, sh Shell, seed lab.Seed, m lab.Machine, pack Packer, p Progress) error {
	ctx, cancel := limit(ctx, m)
	defer cancel()
	began := time.Now()
	n := &newcomer{sh: sh, seed: seed, machine: m.Name}
	s, err := settled(ctx, sh, m, p, n)
	if err != nil {
		return err
	}
	brought, err := Deliver(ctx, sh, m, pack, p)
	if err != nil {
		return overtime(ctx, err, m, "what labctl brings", began)
	}
	if brought == 0 && n.accepts(s) {
		if _, err := run(ctx, sh, "accept the last run in "+m.Name, "touch "+seenPath, nil); err != nil {
			return err
		}
		return s.report.err(m.Name)
	}
	p("sending the guest document", 0, 0)
	id, err := start(ctx, sh, s, seed, m)
	if err != nil {
		return err
	}
	return follow(ctx, sh, id, m, p)
}

// receive is the beginning of scripts to which a document is sent, and what takes it: it is put in its place at once.
const (
	receive = `set -e; umask 077
install -d -m 0755 /etc/labctl /usr/local/lib/labctl; install -d -m 0700 /run/labctl
take() { head -c "$1" > "$2"; [ "$(wc -c < "$2")" -eq "$1" ] || { echo "the connection ended in the middle of $2" >&2; exit 1; }; }
take %[1]d /etc/labctl/.guest.json
`
	place = "mv -f /etc/labctl/.guest.json " + DocumentPath + "\n"
)

// start sends what is needed and starts the program; it returns the name of the run.
func start(ctx context.Context, sh Shell, s state, seed lab.Seed, m lab.Machine) (string, error) {
	program := converge.Program()
	if s.program == sum([]byte(program)) {
		program = ""
	}
	id := strings.ToLower(rand.Text()[:12])
	// systemd-run makes a service, which outlives this connection's session; setsid is for machines without.
	script := fmt.Sprintf(receive+`if [ %[2]d -gt 0 ]; then take %[2]d %[3]s.new; chmod 0755 %[3]s.new; mv -f %[3]s.new %[3]s; fi
`+place+`touch %[4]s
if command -v systemd-run >/dev/null; then
  systemd-run --quiet --collect --description="labctl: converge" %[3]s --run %[5]s
else
  setsid %[3]s --run %[5]s </dev/null >/run/labctl/output 2>&1 &
fi`, len(seed.Guest), len(program), ProgramPath, seenPath, id)
	stdin := io.MultiReader(strings.NewReader(string(seed.Guest)), strings.NewReader(program))
	_, err := run(ctx, sh, "send the guest document to "+m.Name, script, stdin)
	return id, err
}

// follow waits for the run called id to end. A lost answer is asked for again: the network may just have changed.
func follow(ctx context.Context, sh Shell, id string, m lab.Machine, p Progress) error {
	began, silent := time.Now(), time.Now()
	for {
		s, err := inspect(ctx, sh, m.Name)
		r := s.report
		switch {
		case ctx.Err() != nil:
			return overtime(ctx, ctx.Err(), m, "its guest document", began)
		case err != nil && time.Since(silent) > time.Minute:
			return fmt.Errorf("%s does not answer since its guest document was sent: %w", m.Name, err)
		case err != nil:
		case r != nil && r.Run == id && r.State == "done":
			return r.err(m.Name)
		case r != nil && r.State == "running" && s.alive:
			silent = time.Now()
			p(r.Phase, r.Done, r.Total)
		case time.Since(silent) > time.Minute:
			return fmt.Errorf("%s: the converging program was started, but does not run and left no report", m.Name)
		default: // it has not come up yet
		}
		if err := pause(ctx); err != nil {
			return overtime(ctx, err, m, "its guest document", began)
		}
	}
}

// Check says what in m is not as seed says; it changes nothing, and uses nothing of what earlier versions of labctl
// left in the machine but its memory of what they did. A run that is under way is waited for.
func Check(ctx context.Context, sh Shell, seed lab.Seed, m lab.Machine) ([]Difference, error) {
	ctx, cancel := limit(ctx, m)
	defer cancel()
	in, err := json.Marshal(map[string]string{"program": converge.Program(), "document": string(seed.Guest)})
	if err != nil {
		return nil, fmt.Errorf("cannot encode the check of %s: %w", m.Name, err)
	}
	// By stdin, so that nothing is left behind, secrets least of all.
	const script = `exec python3 -c 'import sys, json; d = json.load(sys.stdin); sys.argv = ["converge", "--check", "--wait", "300"]
exec(compile(d["program"], "converge", "exec"), {"__name__": "__main__", "DOCUMENT": d["document"]})'`
	out, err := sh.Run(ctx, asRoot(script), strings.NewReader(string(in)))
	if err != nil {
		return nil, fmt.Errorf("cannot check %s: %w", m.Name, err)
	}
	var r Report
	if json.Unmarshal(out.Stdout, &r) != nil {
		return nil, fmt.Errorf("cannot check %s: exit status %d: %s", m.Name, out.Exit, lastLines(out.Stdout, out.Stderr))
	}
	if err := r.err(m.Name); err != nil {
		return r.Changed, fmt.Errorf("cannot check all of it: %w", err)
	}
	return r.Changed, nil
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
