// Command distill writes the part of Google's own descriptions of its APIs (the discovery documents, which are in
// google.golang.org/api/compute/v1/compute-api.json and dns/v1/dns-api.json) that gcetest checks requests by: paths,
// parameters, and the names and types of fields. It prints JSON with a line for each method and schema, so that a newer
// document is a readable diff:
//
//	go run ./plugins/gce/gcetest/distill < compute-api.json > plugins/gce/gcetest/api.json
//	go run ./plugins/gce/gcetest/distill < dns-api.json > plugins/gce/gcetest/dns.json
//
// It must not know what any of it means.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// methods are those that gcetest serves, by the name of the document.
var methods = map[string][]string{"dns": strings.Fields(`
managedZones.create managedZones.get managedZones.list managedZones.patch managedZones.delete managedZoneOperations.get
changes.create changes.get resourceRecordSets.get resourceRecordSets.list projects.get
`), "compute": strings.Fields(`
networks.get networks.insert networks.list networks.patch networks.delete
subnetworks.get subnetworks.insert subnetworks.list subnetworks.aggregatedList subnetworks.patch subnetworks.expandIpCidrRange subnetworks.setPrivateIpGoogleAccess subnetworks.delete
routes.get routes.insert routes.list routes.delete
firewalls.get firewalls.insert firewalls.list firewalls.patch firewalls.update firewalls.delete
routers.get routers.insert routers.list routers.aggregatedList routers.patch routers.update routers.delete
addresses.get addresses.insert addresses.list addresses.aggregatedList addresses.setLabels addresses.delete
instances.get instances.insert instances.list instances.aggregatedList instances.delete instances.start instances.stop instances.reset instances.suspend instances.resume
instances.setMetadata instances.setLabels instances.setTags instances.setMachineType instances.setScheduling instances.setServiceAccount instances.setMachineResources
instances.attachDisk instances.detachDisk instances.setDiskAutoDelete instances.setDeletionProtection instances.getSerialPortOutput
instances.addAccessConfig instances.deleteAccessConfig instances.updateNetworkInterface
disks.get disks.insert disks.list disks.aggregatedList disks.resize disks.setLabels disks.createSnapshot disks.delete
snapshots.get snapshots.list snapshots.setLabels snapshots.delete
images.get images.getFromFamily images.insert images.list images.setLabels images.delete
machineTypes.get machineTypes.list machineTypes.aggregatedList
acceleratorTypes.get acceleratorTypes.list acceleratorTypes.aggregatedList
diskTypes.get diskTypes.list
zones.get zones.list regions.get regions.list projects.get
zoneOperations.get zoneOperations.wait zoneOperations.list regionOperations.get regionOperations.wait regionOperations.list
globalOperations.get globalOperations.wait globalOperations.list
`)}

type document struct {
	Name       string
	Parameters map[string]parameter
	Revision   string
	Resources  map[string]struct{ Methods map[string]method }
	Schemas    map[string]schema
}

type method struct {
	HTTPMethod, Path string
	Parameters       map[string]parameter
	Request          struct {
		Ref string `json:"$ref"`
	}
}

type parameter struct{ Type, Format, Location, Pattern string }

type schema struct {
	Ref                       string `json:"$ref"`
	Type, Format, Description string
	Pattern                   string
	Enum                      []string
	Items                     *schema
	Properties                map[string]schema
	AdditionalProperties      *schema
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "distill:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var d document
	if err := json.NewDecoder(in).Decode(&d); err != nil {
		return fmt.Errorf("cannot read the discovery document: %w", err)
	}
	var lines []string
	want := map[string]bool{}
	for _, id := range methods[d.Name] {
		resource, name, _ := strings.Cut(id, ".")
		m, ok := d.Resources[resource].Methods[name]
		if !ok {
			return fmt.Errorf("the document has no method %s", id)
		}
		query := []string{}
		for name, p := range m.Parameters {
			if p.Location == "query" {
				query = append(query, name+" "+p.Type)
			}
		}
		slices.Sort(query)
		if d.Name == "dns" { // gcetest has both APIs in one list
			id, m.Path = "dns."+id, strings.Replace(m.Path, "dns/v1/", "dns/", 1)
		}
		lines = append(lines, line(id, map[string]any{"method": m.HTTPMethod, "path": m.Path, "query": query, "request": m.Request.Ref}))
		want[m.Request.Ref] = true
	}
	fields := schemas(d.Schemas, want)
	_, err := fmt.Fprintf(out, "{\"revision\": %q,\n\"methods\": {\n%s\n},\n\"schemas\": {\n%s\n}}\n", d.Revision, strings.Join(lines, ",\n"), strings.Join(fields, ",\n"))
	return err
}

// schemas are those that requests are made of, and what these are made of.
func schemas(all map[string]schema, want map[string]bool) []string {
	delete(want, "")
	done := map[string]string{}
	for len(want) > 0 {
		for name := range want {
			delete(want, name)
			done[name] = line(name, fieldsOf(all[name], func(ref string) {
				if done[ref] == "" {
					want[ref] = true
				}
			}))
		}
	}
	names := make([]string, 0, len(done))
	for name := range done {
		names = append(names, name)
	}
	slices.Sort(names)
	lines := make([]string, 0, len(names))
	for _, name := range names {
		lines = append(lines, done[name])
	}
	return lines
}

// fieldsOf describes an object's fields: a type, "@" and the name of a schema, [type], or an object of fields; "*" is
// the field of any name.
func fieldsOf(s schema, refer func(string)) map[string]any {
	out := map[string]any{}
	for name, p := range s.Properties {
		out[name] = typeOf(p, refer)
	}
	if s.AdditionalProperties != nil {
		out["*"] = typeOf(*s.AdditionalProperties, refer)
	}
	return out
}

func typeOf(p schema, refer func(string)) any {
	switch {
	case p.Ref != "":
		refer(p.Ref)
		return "@" + p.Ref
	case p.Type == "array":
		return []any{typeOf(*p.Items, refer)}
	case p.Type == "object":
		return fieldsOf(p, refer)
	}
	text := p.Type
	if p.Format != "" {
		text = p.Format
	}
	if len(p.Enum) > 0 {
		text = "enum " + strings.Join(p.Enum, "|")
	}
	if strings.Contains(p.Description, "[Output Only]") || strings.Contains(p.Description, "Output only.") || strings.Contains(p.Description, "(output only)") {
		text = "out " + text
	}
	return text
}

func line(name string, v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings, lists and maps of them always encode
	}
	return fmt.Sprintf("%q: %s", name, bytes.TrimSpace(b.Bytes()))
}
