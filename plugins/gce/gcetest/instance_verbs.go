package gcetest

import (
	"regexp"
	"strconv"
	"time"
)

var metadataKey = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)

func instanceVerbs() map[string]verb {
	return map[string]verb{
		"setLabels": setLabels, "setMetadata": setMetadata, "setTags": setTags,
		"setMachineType": setMachineType, "setMachineResources": setGPUs, "setScheduling": setScheduling,
		"setServiceAccount":     whenStopped(func(c call) object { return object{"serviceAccounts": []any{c.body}} }),
		"setDeletionProtection": setProtection,
		"attachDisk":            attachDisk, "detachDisk": detachDisk, "setDiskAutoDelete": setAutoDelete,
		"addAccessConfig": addAccess, "deleteAccessConfig": deleteAccess, "updateNetworkInterface": updateNIC,
		"start": power("RUNNING", "TERMINATED"), "resume": power("RUNNING", "SUSPENDED"),
		"stop": power("TERMINATED", "RUNNING", "SUSPENDED"), "suspend": power("SUSPENDED", "RUNNING"), "reset": power("RUNNING", "RUNNING"),
	}
}

func setMetadata(_ *world, c call, t *thing) (func() *apiError, *apiError) {
	if text(c.body, "fingerprint") != fingerprint(sub(t.o, "metadata")["items"]) {
		return nil, stale("Supplied fingerprint does not match current metadata fingerprint.")
	}
	next := object{"metadata": c.body}
	if e := checkMetadata(next); e != nil {
		return nil, e
	}
	return set(t, next), nil
}

func setTags(_ *world, c call, t *thing) (func() *apiError, *apiError) {
	if text(c.body, "fingerprint") != fingerprint(sub(t.o, "tags")["items"]) {
		return nil, stale("Supplied fingerprint does not match current metadata fingerprint.")
	}
	next := object{"tags": c.body}
	if e := checkTags(next); e != nil {
		return nil, e
	}
	return set(t, next), nil
}

func setMachineType(w *world, c call, t *thing) (func() *apiError, *apiError) {
	if t.o["status"] != "TERMINATED" {
		return nil, notStopped(t.name)
	}
	m, e := w.findMachineType(c.project, "machineType", text(c.body, "machineType"))
	if e != nil {
		return nil, e
	}
	if scopeOf(m.name) != c.scope {
		return nil, invalid("machineType", text(c.body, "machineType"), "The machine type is in another zone.")
	}
	next := clone(t.o).(object)
	if e := checkNICCount(next, m); e != nil {
		return nil, e
	}
	return set(t, object{"machineType": w.link(m.name)}), nil
}

func setGPUs(w *world, c call, t *thing) (func() *apiError, *apiError) {
	if t.o["status"] != "TERMINATED" {
		return nil, notStopped(t.name)
	}
	next := &thing{name: t.name, kind: t.kind, o: clone(t.o).(object)}
	next.o["guestAccelerators"] = c.body["guestAccelerators"]
	if e := checkGPUs(w, c, next, w.things[refer("", text(t.o, "machineType"))]); e != nil {
		return nil, e
	}
	return set(t, object{"guestAccelerators": next.o["guestAccelerators"]}), nil
}

// whenStopped changes what only a stopped instance lets be changed.
func whenStopped(fields func(call) object) verb {
	return func(_ *world, c call, t *thing) (func() *apiError, *apiError) {
		if t.o["status"] != "TERMINATED" {
			return nil, notStopped(t.name)
		}
		return set(t, fields(c)), nil
	}
}

func setProtection(_ *world, c call, t *thing) (func() *apiError, *apiError) {
	on, err := strconv.ParseBool(orElse(c.query.Get("deletionProtection"), "true"))
	if err != nil {
		return nil, required("deletionProtection")
	}
	return set(t, object{"deletionProtection": on}), nil
}

// power brings an instance from one of some states to another. One that is there already stays so.
func power(to string, from ...string) verb {
	return func(w *world, c call, t *thing) (func() *apiError, *apiError) {
		now := text(t.o, "status")
		if t.going != "" {
			return nil, notReady(t.name)
		}
		if now != to && !contains(from, now) {
			return nil, &apiError{HTTP: 400, Reason: "invalidUsage", Code: "UNSUPPORTED_OPERATION", Text: "Invalid resource usage: 'The instance " + base(t.name) + " is " + now + "'."}
		}
		t.going = map[string]string{"TERMINATED": "STOPPING", "SUSPENDED": "SUSPENDING", "RUNNING": "STAGING"}[to]
		return func() *apiError {
			if to == "RUNNING" {
				w.run(t)
				return nil
			}
			w.halt(t, to)
			return nil
		}, nil
	}
}

// halt ends the running of an instance. A public address that is not reserved is lost when it stops.
func (w *world) halt(t *thing, status string) {
	t.o["status"], t.o["lastStopTimestamp"] = status, w.stamp()
	t.started = time.Time{}
}

// limits of a run time, in seconds: 30 s and 120 days.
const minRun, maxRun = 30, 10_368_000

func checkScheduling(o object) *apiError {
	s := sub(o, "scheduling")
	if s == nil {
		s = object{}
		o["scheduling"] = s
	}
	spot := s["provisioningModel"] == "SPOT" || yes(s, "preemptible")
	fill(s, "provisioningModel", "STANDARD")
	fill(s, "automaticRestart", !spot)
	fill(s, "onHostMaintenance", map[bool]string{true: "TERMINATE", false: "MIGRATE"}[spot])
	fill(s, "preemptible", spot)
	limited := sub(s, "maxRunDuration") != nil || text(s, "terminationTime") != ""
	if limited {
		if n := number(sub(s, "maxRunDuration"), "seconds"); text(s, "terminationTime") == "" && (n < minRun || n > maxRun) {
			return invalid("resource.scheduling.maxRunDuration", n, "Must be between 30 seconds and 120 days.")
		}
		fill(s, "instanceTerminationAction", "STOP")
		return nil
	}
	if s["instanceTerminationAction"] != nil && !spot {
		return invalid("resource.scheduling.instanceTerminationAction", s["instanceTerminationAction"], "The termination action needs a run time, or the provisioning model SPOT.")
	}
	return nil
}

func setScheduling(_ *world, c call, t *thing) (func() *apiError, *apiError) {
	old := sub(t.o, "scheduling")
	next := object{"scheduling": c.body}
	if e := checkScheduling(next); e != nil {
		return nil, e
	}
	s := sub(next, "scheduling")
	changed := fingerprint(old["maxRunDuration"]) != fingerprint(s["maxRunDuration"]) || old["provisioningModel"] != s["provisioningModel"] || old["preemptible"] != s["preemptible"]
	if changed && t.o["status"] != "TERMINATED" {
		return nil, notStopped(t.name)
	}
	return set(t, next), nil
}

// runTime is how long an instance may run; 0 is for ever.
func runTime(o object) time.Duration {
	return time.Duration(number(sub(sub(o, "scheduling"), "maxRunDuration"), "seconds")) * time.Second
}

// expire ends instances whose time is up.
func (w *world) expire() {
	for _, t := range w.of("instances") {
		d := runTime(t.o)
		if d == 0 || t.state != ready || t.o["status"] != "RUNNING" || w.now().Before(t.started.Add(d)) {
			continue
		}
		if text(sub(t.o, "scheduling"), "instanceTerminationAction") == "DELETE" {
			delete(w.things, t.name)
			t.kind.gone(w, t)
			continue
		}
		w.halt(t, "TERMINATED")
	}
}

// Advance moves the server's clock: what is due by then has happened.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.ahead += d
	s.world.pass()
}

// Of what an instance has printed the API has the last MiB. The real one answers with all of it at once; one that is read in
// pieces needs a smaller patience of who asks.
const (
	serialKept  = 1 << 20
	serialPiece = 1 << 16
)

// serial is getSerialPortOutput.
func (w *world) serial(c call) (any, *apiError) {
	t := w.things[c.target()]
	if t == nil {
		return nil, notFound(c.target())
	}
	from, err := strconv.Atoi(orElse(c.query.Get("start"), "0"))
	if err != nil || from < 0 {
		return nil, invalid("start", c.query.Get("start"), "Must be a position.")
	}
	if p := orElse(c.query.Get("port"), "1"); p < "1" || p > "4" || len(p) > 1 {
		return nil, invalid("port", p, "Must be from 1 to 4.")
	}
	kept := t.serial[max(0, len(t.serial)-serialKept):]
	lost := len(t.serial) - len(kept)
	from = max(lost, min(from, len(t.serial)))
	kept = kept[from-lost:]
	kept = kept[:min(len(kept), serialPiece)]
	return object{"kind": "compute#serialPortOutput", "contents": kept, "start": strconv.Itoa(from), "next": strconv.Itoa(from + len(kept)), "selfLink": linkBase + t.name + "/serialPort"}, nil
}
