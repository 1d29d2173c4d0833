package gcetest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// imageProjects are the projects with public images that there are here.
var imageProjects = []string{"debian-cloud", "ubuntu-os-cloud"}

func public(project string) bool { return contains(imageProjects, project) }

// stock fills the world with what is there before anybody comes.
func (w *world) stock() {
	p := w.options.Project
	for _, place := range []string{"europe-west1 bcd", "europe-west3 abc", "europe-west4 abc", "us-central1 abcf"} {
		region, letters, _ := strings.Cut(place, " ")
		r := w.put("projects/"+p+"/regions/"+region, object{"status": "UP", "description": region})
		var zones []any
		for _, letter := range letters {
			name := region + "-" + string(letter)
			z := w.put("projects/"+p+"/zones/"+name, object{"status": "UP", "description": name, "region": r.o["selfLink"]})
			zones = append(zones, z.o["selfLink"])
			w.stockZone(z)
		}
		r.o["zones"] = zones
	}
	w.stockImages()
}

// put makes something that is there at once.
func (w *world) put(name string, o object) *thing {
	parts := strings.Split(name, "/")
	t := &thing{name: name, kind: w.kinds[parts[len(parts)-2]], o: o}
	o["name"] = base(name)
	w.head(t)
	w.things[name] = t
	return t
}

// machine types by their families: name and memory in MB for each processor count.
var families = []struct {
	name   string
	cpus   []int
	memory int // MB for each processor
	arch   string
}{
	{"e2-standard", []int{2, 4, 8, 16, 32}, 4096, "X86_64"}, {"e2-highmem", []int{2, 4, 8, 16}, 8192, "X86_64"}, {"e2-highcpu", []int{2, 4, 8, 16, 32}, 1024, "X86_64"},
	{"n1-standard", []int{1, 2, 4, 8, 16, 32, 64, 96}, 3840, "X86_64"}, {"n1-highmem", []int{2, 4, 8, 16, 32}, 6656, "X86_64"},
	{"n2-standard", []int{2, 4, 8, 16, 32, 48, 64, 80}, 4096, "X86_64"}, {"n2-highmem", []int{2, 4, 8, 16, 32}, 8192, "X86_64"}, {"n2-highcpu", []int{2, 4, 8, 16, 32}, 1024, "X86_64"},
	{"t2a-standard", []int{1, 2, 4, 8, 16, 32, 48}, 4096, "ARM64"}, {"g2-standard", []int{4, 8, 12, 16, 32}, 4096, "X86_64"},
}

func (w *world) stockZone(z *thing) {
	in := z.name + "/"
	for _, f := range families {
		for _, n := range f.cpus {
			o := object{"guestCpus": float64(n), "memoryMb": float64(n * f.memory), "isSharedCpu": false, "architecture": f.arch}
			if f.name == "g2-standard" {
				o["accelerators"] = []any{object{"guestAcceleratorType": "nvidia-l4", "guestAcceleratorCount": 1.0}}
			}
			w.machineType(in, fmt.Sprintf("%s-%d", f.name, n), o)
		}
	}
	w.machineType(in, "e2-micro", object{"guestCpus": 2.0, "memoryMb": 1024.0, "isSharedCpu": true, "architecture": "X86_64"})
	w.machineType(in, "e2-small", object{"guestCpus": 2.0, "memoryMb": 2048.0, "isSharedCpu": true, "architecture": "X86_64"})
	w.machineType(in, "e2-medium", object{"guestCpus": 2.0, "memoryMb": 4096.0, "isSharedCpu": true, "architecture": "X86_64"})
	w.machineType(in, "f1-micro", object{"guestCpus": 1.0, "memoryMb": 614.0, "isSharedCpu": true, "architecture": "X86_64"})
	w.machineType(in, "g1-small", object{"guestCpus": 1.0, "memoryMb": 1740.0, "isSharedCpu": true, "architecture": "X86_64"})
	for _, d := range []string{"pd-standard", "pd-balanced", "pd-ssd"} {
		w.put(in+"diskTypes/"+d, object{"description": d, "validDiskSize": "10GB-65536GB"})
	}
	if strings.HasSuffix(z.name, "-b") || strings.HasSuffix(z.name, "-a") { // not in each zone
		for _, g := range []string{"nvidia-tesla-t4", "nvidia-tesla-p4", "nvidia-tesla-v100", "nvidia-l4"} {
			w.put(in+"acceleratorTypes/"+g, object{"description": g, "maximumCardsPerInstance": 4.0})
		}
	}
}

func (w *world) machineType(in, name string, o object) {
	o["description"] = fmt.Sprintf("%v vCPUs, %v MB RAM", o["guestCpus"], o["memoryMb"])
	o["maximumPersistentDisks"], o["maximumPersistentDisksSizeGb"] = 128.0, "263168"
	if o["isSharedCpu"] == true {
		o["maximumPersistentDisks"], o["maximumPersistentDisksSizeGb"] = 16.0, "3072"
	}
	t := w.put(in+"machineTypes/"+name, o)
	t.o["zone"] = base(text(t.o, "zone")) // a name here, not a URL
}

var customType = regexp.MustCompile(`^(?:(e2|n1|n2|n2d)-)?custom-([0-9]+)-([0-9]+)(-ext)?$`)

// findMachineType is the type that a URL means; custom types are made when they are asked for.
func (w *world) findMachineType(project, field, url string) (*thing, *apiError) {
	name := refer(project, url)
	m := customType.FindStringSubmatch(base(name))
	if m == nil || w.things[name] != nil {
		return w.find(project, "machineTypes", field, url)
	}
	cpus, _ := strconv.Atoi(m[2])
	memory, _ := strconv.Atoi(m[3])
	switch {
	case memory%256 != 0:
		return nil, invalid(field, url, "Memory should be a multiple of 256MB.")
	case cpus != 1 && cpus%2 != 0:
		return nil, invalid(field, url, "Number of CPUs must be one or even.")
	case memory < cpus*512 || memory > cpus*8192 && m[4] == "":
		return nil, invalid(field, url, "Memory must be between 0.5 and 8 GB for each CPU.")
	}
	w.machineType(name[:strings.LastIndex(name, "machineTypes/")], base(name), object{"guestCpus": float64(cpus), "memoryMb": float64(memory), "isSharedCpu": false, "architecture": "X86_64"})
	return w.things[name], nil
}

func (w *world) stockImages() {
	for _, i := range []struct {
		project, name, family, arch string
		size                        int
	}{
		{"debian-cloud", "debian-11-bullseye-v20250610", "debian-11", "X86_64", 10},
		{"debian-cloud", "debian-12-bookworm-v20250610", "debian-12", "X86_64", 10},
		{"debian-cloud", "debian-12-bookworm-v20250709", "debian-12", "X86_64", 10},
		{"debian-cloud", "debian-12-bookworm-arm64-v20250709", "debian-12-arm64", "ARM64", 10},
		{"debian-cloud", "debian-13-trixie-v20250806", "debian-13", "X86_64", 10},
		{"debian-cloud", "debian-13-trixie-arm64-v20250806", "debian-13-arm64", "ARM64", 10},
		{"ubuntu-os-cloud", "ubuntu-2204-jammy-v20250722", "ubuntu-2204-lts", "X86_64", 10},
		{"ubuntu-os-cloud", "ubuntu-2404-noble-amd64-v20250725", "ubuntu-2404-lts-amd64", "X86_64", 10},
		{"ubuntu-os-cloud", "ubuntu-2404-noble-arm64-v20250725", "ubuntu-2404-lts-arm64", "ARM64", 10},
	} {
		w.put("projects/"+i.project+"/global/images/"+i.name, object{
			"family": i.family, "architecture": i.arch, "diskSizeGb": strconv.Itoa(i.size), "status": "READY", "sourceType": "RAW", "archiveSizeBytes": "1000000000",
			"licenses":        []any{linkBase + "projects/" + i.project + "/global/licenses/" + i.family},
			"guestOsFeatures": []any{object{"type": "UEFI_COMPATIBLE"}, object{"type": "VIRTIO_SCSI_MULTIQUEUE"}, object{"type": "GVNIC"}},
		})
	}
}
