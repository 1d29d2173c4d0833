package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

// Input is what Terraform's configuration is made of.
type Input struct {
	Lab     lab.Lab
	Options Options
	// Authorized is the line of authorized_keys by which people get in; "" leaves a variable without a default.
	Authorized string
	// Secrets are values by name that are to stand in the text, as defaults of sensitive variables; the others have none.
	Secrets map[string]string
}

// Options are those of a libvirt target that mean something to Terraform; the zero ones will do.
type Options struct {
	URI        string            `json:"uri"`
	PoolPath   string            `json:"pool_path"`
	Bridges    map[string]string `json:"bridges"`
	UplinkCIDR string            `json:"uplink_cidr"`
	Type       string            `json:"type"`
	Machine    string            `json:"machine"`
	Autostart  bool              `json:"autostart"`
}

// block is a JSON object of Terraform's.
type block map[string]any

// terraform is a configuration under way.
type terraform struct {
	Input
	seeds     map[string]lab.Seed
	variables block
	resources map[string]block // by type, then by name
	guests    block            // documents by machine
	secrets   block            // values as they stand within JSON strings
	notes     []string         // what Terraform cannot say
}

// Terraform is a main.tf.json for the provider dmacvicar/libvirt 0.8. Its secrets are sensitive variables.
func Terraform(in Input) ([]byte, error) {
	t := &terraform{Input: in, variables: block{}, resources: map[string]block{}, guests: block{}, secrets: block{}}
	if err := t.seed(); err != nil {
		return nil, err
	}
	t.variable("uri", "Which libvirt: qemu:///system, qemu+ssh://user@host/system, ...", or(in.Options.URI, "qemu:///system"))
	t.variable("pool_path", "Folder on the host in which storage pools are made.", or(in.Options.PoolPath, "/var/lib/libvirt/"+in.Lab.Name))
	kind := "kvm"
	if in.Options.Type == "qemu" {
		kind = "qemu"
	}
	t.variable("domain_type", "\"kvm\", or \"qemu\" for emulation.", kind)
	t.pools()
	for _, i := range in.Lab.Images {
		t.image(i)
	}
	for _, n := range in.Lab.Networks {
		t.network(n)
	}
	for _, m := range in.Lab.Machines {
		if m.Adopted != "" {
			t.note("machine %s is adopted (%s on its host): import it, or leave it to whom it belongs", m.Name, m.Adopted)
			continue
		}
		if m.External.IsValid() {
			t.note("machine %s is elsewhere, at %s, and made by others", m.Name, m.External)
			continue
		}
		if err := t.machine(m); err != nil {
			return nil, err
		}
	}
	return t.encode()
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// note says what is lost on the way to Terraform, once.
func (t *terraform) note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(t.notes, s) {
		t.notes = append(t.notes, s)
	}
}

func (t *terraform) resource(kind, name string, b block) {
	if t.resources[kind] == nil {
		t.resources[kind] = block{}
	}
	t.resources[kind][id(name)] = b
}

// variable is a text with a default.
func (t *terraform) variable(name, what, value string) {
	t.variables[name] = block{"type": "string", "description": what, "default": value}
}

// required is a variable that has to be given.
func (t *terraform) required(name, what string) {
	t.variables[name] = block{"type": "string", "description": what}
}

// id is a name as Terraform takes it: it begins with no digit.
func id(name string) string {
	if name[0] >= '0' && name[0] <= '9' {
		return "_" + name
	}
	return name
}

// encode is the text.
func (t *terraform) encode() ([]byte, error) {
	notes := []string{
		"Lab " + t.Lab.Name + ", by labctl export terraform. Its machines configure themselves at their first boot, by the program in their cloud-init disks;",
		"a later change of a document does not reach a machine that has booted: terraform taint its root volume, or use labctl.",
		"Not here: health and its order, drift inside machines, the proof and the replay of the policy, snapshots, checks.",
	}
	root := block{
		"//":        append(notes, t.notes...),
		"terraform": block{"required_version": ">= 1.3.0", "required_providers": block{"libvirt": block{"source": "dmacvicar/libvirt", "version": "~> 0.8.0"}}},
		"provider":  block{"libvirt": block{"uri": "${var.uri}"}},
		"variable":  t.variables,
		"resource":  t.resources,
		"output":    block{"addresses": block{"value": addresses(t.Lab)}},
	}
	locals := block{"guest": t.guests}
	if len(t.secrets) > 0 {
		locals["secret"] = t.secrets
	}
	if len(t.guests) > 0 {
		root["locals"] = locals
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		return nil, fmt.Errorf("cannot encode lab %s for Terraform: %w", t.Lab.Name, err)
	}
	return b.Bytes(), nil
}

func addresses(l lab.Lab) block {
	b := block{}
	for _, m := range l.Machines {
		all := block{}
		for network, a := range m.Addresses() {
			all[network] = a
		}
		b[m.Name] = all
	}
	return b
}

// seed makes the documents of all machines, with words in place of what is secret or somebody's own.
func (t *terraform) seed() error {
	values := map[string]string{}
	for _, name := range used(t.Lab) {
		values[name] = word(name)
		v := block{"type": "string", "sensitive": true, "description": "The secret " + name + " of the lab."}
		if value, ok := t.Secrets[name]; ok {
			v["default"] = value
		}
		t.variables[secretName(name)] = v
		t.secrets[name] = fmt.Sprintf(`${trimsuffix(trimprefix(jsonencode(var.%s), "\""), "\"")}`, secretName(name))
	}
	if t.Authorized != "" {
		t.variable("authorized_key", "Who may log in: a line of authorized_keys.", t.Authorized)
	} else {
		t.required("authorized_key", "Who may log in: a line of authorized_keys.")
	}
	var err error
	t.seeds, err = guest.Seeds(t.Lab, guest.Keys{Authorized: []string{word("authorized")}}, values)
	return err
}

// used are the secrets that the lab's files hold, sorted.
func used(l lab.Lab) []string {
	names := map[string]bool{}
	for _, m := range l.Machines {
		for _, name := range m.Guest.Secrets() {
			names[string(name)] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
