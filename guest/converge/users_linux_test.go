package converge_test

import (
	"strings"
	"testing"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	r := newReal(t).settled()
	document := func(all ...object) { r.m.document(object{"users": all}) }
	app := func(more object) object {
		u := object{"name": "app", "system": true, "home": "/srv/app", "groups": []string{"audio", "video"}, "authorized": []string{"ssh-ed25519 AAAA one"}}
		for k, v := range more {
			u[k] = v
		}
		return u
	}
	document(app(nil), object{"name": "ci", "uid": 4321, "shell": "/bin/sh", "password": "ci", "value": "first"})
	r.want([]string{"--check"}, 2, "user app: does not exist", "user ci: does not exist")
	r.want(nil, 0, "user app: does not exist", "user app: is not in group audio", "user app: is not in group video", "user app: authorized keys",
		"user ci: does not exist", "user ci: password")
	if got := r.sh("getent passwd ci; id -Gn app; getent passwd app | cut -d: -f6-; stat -c '%U %a' /srv/app/.ssh/authorized_keys"); got !=
		"ci:x:4321:4321::/home/ci:/bin/sh\napp audio video\n/srv/app:/usr/sbin/nologin\napp 600\n" {
		t.Errorf("accounts: %s", got)
	}
	r.want(nil, 0)
	r.want([]string{"--check"}, 0)

	// What is no longer asked for goes; what hands did is seen; another password is another one.
	r.sh("gpasswd -a app games; usermod -s /bin/bash app; usermod -s /bin/bash ci")
	document(app(object{"groups": []string{"video"}, "authorized": []string{"ssh-ed25519 BBBB two"}}), object{"name": "ci", "uid": 4321, "shell": "/bin/sh", "value": "second"})
	r.want(nil, 0, "user app: is no longer in group audio", "user app: authorized keys", "user ci: shell is /bin/bash", "user ci: password")
	if got := r.sh("id -Gn app; cat /srv/app/.ssh/authorized_keys"); got != "app video games\nssh-ed25519 BBBB two\n" && got != "app games video\nssh-ed25519 BBBB two\n" {
		t.Errorf("app: %s", got)
	}
	const hash = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"
	document(app(object{"groups": []string{"video"}}), object{"name": "ci", "value": hash})
	r.want(nil, 0, "user app: authorized keys", "user ci: password")
	if got := r.sh("getent shadow ci | cut -d: -f2"); got != hash+"\n" {
		t.Errorf("hash: %s", got)
	}
	r.want(nil, 0)

	// An account that a package made, and one of another number.
	document(app(object{"groups": []string{"video"}}), object{"name": "ci", "value": hash}, object{"name": "daemon", "groups": []string{"audio"}}, object{"name": "bin", "uid": 4322})
	r.want(nil, 1, "user daemon: is not in group audio", "FAILED user bin: is there already with the number 2, not 4322")
	if got := r.sh("getent passwd daemon"); !strings.HasSuffix(got, "/usr/sbin:/usr/sbin/nologin\n") {
		t.Errorf("daemon became %s", got)
	}

	// Gone from the lab: locked and kept; back again, as it was.
	document(object{"name": "none", "groups": []string{"nosuch"}})
	r.want(nil, 1, "user app: locked", "user ci: locked", "user daemon: no longer in the lab", "FAILED user none: there is no group nosuch")
	if got := r.sh("getent shadow app ci | cut -d: -f8; getent passwd app ci | cut -d: -f7; cat /srv/app/.ssh/authorized_keys; id -Gn daemon"); got !=
		"1\n1\n/usr/sbin/nologin\n/usr/sbin/nologin\n\ndaemon\n" {
		t.Errorf("locked: %q", got)
	}
	document()
	r.want(nil, 0, "user none: locked")
	r.want(nil, 0)
	r.want([]string{"--check"}, 0)
	document(object{"name": "ci", "value": "third"})
	r.want([]string{"--check"}, 2, "user ci: is locked", "user ci: password")
	r.want(nil, 0, "user ci: is locked", "user ci: password")
	if got := r.sh("getent shadow ci | cut -d: -f8; getent passwd ci | cut -d: -f6-"); got != "\n/home/ci:/bin/bash\n" {
		t.Errorf("back: %q", got)
	}
	r.want(nil, 0)
}
