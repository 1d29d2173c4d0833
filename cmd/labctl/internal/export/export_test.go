package export_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/export"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/guest/cloudinit"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/schema"
)

// labs are those whose exports are kept.
var labs = []string{"deploy0", "deploy1", "deploy2", "deploy3", "quickstart", "odd"}

func load(t *testing.T, name string) lab.Lab {
	t.Helper()
	file := filepath.Join("../../../../labs", name+".cue")
	if name == "odd" {
		file = "testdata/odd.cue"
	}
	s, err := schema.Load(schema.Options{Args: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	return s.Lab
}

// TestGolden: what becomes of the labs. Of the documents inside there is only whose they are: they change with everything.
func TestGolden(t *testing.T) {
	inside := regexp.MustCompile(`"(#cloud-config|\{\\n \\"(version|ethernets))[^\n]*"(,?)\n`)
	for _, name := range labs {
		t.Run(name, func(t *testing.T) {
			l := load(t, name)
			golden(t, name+".hosts", export.Hosts(l))
			golden(t, name+".yaml", export.Ansible(l, nil))
			text, err := export.Terraform(export.Input{Lab: l, Options: options(t, l)})
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".tf.json", inside.ReplaceAll(text, []byte("\"(a document)\"$3\n")))
		})
	}
}

func options(t *testing.T, l lab.Lab) export.Options {
	var o export.Options
	for _, x := range l.Targets {
		if x.Provider == "libvirt" && len(x.Options) > 0 {
			if err := json.Unmarshal(x.Options, &o); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	return o
}

// TestDocuments: what Terraform makes of its templates are the documents that labctl would give the machines.
func TestDocuments(t *testing.T) {
	l := load(t, "odd")
	text, err := export.Terraform(export.Input{Lab: l})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Locals   struct{ Guest, Secret map[string]string }
		Output   any
		Resource map[string]map[string]map[string]any
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for name := range got.Locals.Secret {
		values[name] = "a \"value\" of " + name + "\nwith ${two} lines"
	}
	want, err := guest.Seeds(l, guest.Keys{Authorized: []string{"ssh-ed25519 AAAA me"}}, values)
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer("$${", "${", "%%{", "%{")
	for machine, seed := range want {
		document := got.Locals.Guest[machine]
		if strings.Contains(document, "a \\\"value") {
			t.Errorf("%s: a secret stands in the text", machine)
		}
		parts := strings.Split(document, "${local.secret[\"")
		document = plain.Replace(strings.ReplaceAll(parts[0], "${var.authorized_key}", "ssh-ed25519 AAAA me"))
		for _, p := range parts[1:] {
			name, rest, _ := strings.Cut(p, `"]}`)
			v, _ := json.Marshal(values[name])
			document += strings.Trim(string(v), `"`) + plain.Replace(rest)
		}
		if d := cmp.Diff(string(seed.Guest), document); d != "" {
			t.Errorf("%s: the guest document (-labctl +terraform):\n%s", machine, d)
		}
		packed, err := cloudinit.Pack(seed.Guest)
		if err != nil {
			t.Fatal(err)
		}
		disks := got.Resource["libvirt_cloudinit_disk"]
		disk, ok := disks[machine]
		if !ok { // no name of Terraform's begins with a digit
			disk = disks["_"+machine]
		}
		user, _ := disk["user_data"].(string)
		user = strings.Replace(user, `${base64gzip(local.guest["`+machine+`"])}`, packed, 1)
		user = plain.Replace(strings.ReplaceAll(user, "${var.authorized_key}", "ssh-ed25519 AAAA me"))
		if d := cmp.Diff(string(seed.UserData), user); d != "" {
			t.Errorf("%s: user-data (-labctl +terraform):\n%s", machine, d)
		}
	}
}

// TestWays: Ansible gets in as ssh does.
func TestWays(t *testing.T) {
	l := load(t, "quickstart")
	text := string(export.Ansible(l, map[string][]string{"web": {"-o", "'ProxyCommand=labctl proxy x'"}}))
	for _, want := range []string{
		`ansible_host: "web.quickstart"`, `ansible_ssh_common_args: "-o 'ProxyCommand=labctl proxy x'"`, // one that has a way
		`ansible_host: "10.20.0.`, // one that has none
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	goldentest.File(t, filepath.Join("testdata", name), string(got))
}
