package gce

import (
	"slices"
	"strconv"

	"github.com/labctl-dev/labctl/lab"
)

// machineType is a type of machine, as https://cloud.google.com/compute/docs/machine-resource describes it.
type machineType struct {
	name   string
	cpus   int
	memory lab.Bytes
	nics   int // at most
	arch   lab.Arch
	nested bool   // may run virtual machines of its own
	gpu    string // of the accelerators that it has, or may be given
	gpus   int    // how many it has; 0 is as many as it is given
}

// machineTypes are those that labctl chooses from, of all that fit the first: cheapest first (docs/gce.md has the prices).
// A machine has at most one interface for each processor, and two at least.
func machineTypes() []machineType {
	e2 := func(name string, cpus, nics int, memory lab.Bytes) machineType {
		return machineType{name: name, cpus: cpus, memory: memory, nics: nics, arch: lab.AMD64}
	}
	const g = lab.GiB
	types := []machineType{
		e2("e2-micro", 2, 2, g), e2("e2-small", 2, 2, 2*g), e2("e2-medium", 2, 2, 4*g),
		e2("e2-highcpu-2", 2, 2, 2*g), e2("e2-standard-2", 2, 2, 8*g), e2("e2-highmem-2", 2, 2, 16*g),
		e2("e2-highcpu-4", 4, 4, 4*g), e2("e2-standard-4", 4, 4, 16*g), e2("e2-highmem-4", 4, 4, 32*g),
		e2("e2-highcpu-8", 8, 8, 8*g), e2("e2-standard-8", 8, 8, 32*g), e2("e2-highmem-8", 8, 8, 64*g),
		e2("e2-highcpu-16", 16, 8, 16*g), e2("e2-standard-16", 16, 8, 64*g), e2("e2-highmem-16", 16, 8, 128*g),
		e2("e2-highcpu-32", 32, 8, 32*g), e2("e2-standard-32", 32, 8, 128*g),
	}
	for _, n := range []int{2, 4, 8, 16, 32, 48, 64, 80} {
		types = append(types, n2("n2-highcpu-", n, 1), n2("n2-standard-", n, 4), n2("n2-highmem-", n, 8))
	}
	for _, n := range []int{1, 2, 4, 8, 16, 32, 48} {
		types = append(types, machineType{name: "t2a-standard-" + strconv.Itoa(n), cpus: n, memory: lab.Bytes(n) * 4 * g, nics: nicsOf(n), arch: lab.ARM64})
	}
	return append(types, accelerated()...)
}

func n2(family string, cpus, each int) machineType {
	return machineType{name: family + strconv.Itoa(cpus), cpus: cpus, memory: lab.Bytes(cpus*each) * lab.GiB, nics: nicsOf(cpus), arch: lab.AMD64, nested: true}
}

// accelerated are the types with GPUs: N1, to which some kinds are attached, and those that come with others.
func accelerated() []machineType {
	var types []machineType
	for _, n := range []int{1, 2, 4, 8, 16, 32, 64, 96} {
		for _, gpu := range []string{"nvidia-tesla-t4", "nvidia-tesla-p4", "nvidia-tesla-v100", "nvidia-tesla-p100"} {
			types = append(types, machineType{name: "n1-standard-" + strconv.Itoa(n), cpus: n, memory: lab.Bytes(n) * 15 * lab.GiB / 4, nics: nicsOf(n), arch: lab.AMD64, nested: true, gpu: gpu})
		}
	}
	built := func(name, gpu string, gpus, cpus int, memory lab.Bytes) {
		types = append(types, machineType{name: name, cpus: cpus, memory: memory, nics: nicsOf(cpus), arch: lab.AMD64, gpu: gpu, gpus: gpus})
	}
	for _, x := range []struct{ cpus, gpus int }{{4, 1}, {8, 1}, {12, 1}, {16, 1}, {24, 2}, {32, 1}, {48, 4}, {96, 8}} {
		built("g2-standard-"+strconv.Itoa(x.cpus), "nvidia-l4", x.gpus, x.cpus, lab.Bytes(x.cpus)*4*lab.GiB)
	}
	for _, n := range []int{1, 2, 4, 8} {
		built("a2-highgpu-"+strconv.Itoa(n)+"g", "nvidia-tesla-a100", n, 12*n, lab.Bytes(n)*85*lab.GiB)
	}
	built("a2-megagpu-16g", "nvidia-tesla-a100", 16, 96, 1360*lab.GiB)
	for _, n := range []int{1, 2, 4, 8} {
		built("a2-ultragpu-"+strconv.Itoa(n)+"g", "nvidia-a100-80gb", n, 12*n, lab.Bytes(n)*170*lab.GiB)
	}
	built("a3-highgpu-8g", "nvidia-h100-80gb", 8, 208, 1872*lab.GiB)
	return types
}

func nicsOf(cpus int) int { return min(8, max(2, cpus)) }

// fits says whether a machine can be of the type.
func (t machineType) fits(m lab.Machine) bool {
	switch {
	case t.arch != m.Arch || t.cpus < m.CPUs || t.memory < m.Memory || t.nics < len(m.NICs) || m.Nested && !t.nested:
		return false
	case m.GPUs == nil:
		return t.gpu == ""
	}
	return t.gpu == m.GPUs.Type && (t.gpus == m.GPUs.Count || t.gpus == 0 && allowsCount(m.GPUs.Count))
}

// allowsCount says whether that many GPUs can be attached to one machine.
func allowsCount(n int) bool { return n == 1 || n == 2 || n == 4 || n == 8 }

// smallest is the first type that fits a machine; false if none does. only, if set, is the one that may be taken.
func smallest(m lab.Machine, only string) (machineType, bool) {
	types := machineTypes()
	i := slices.IndexFunc(types, func(t machineType) bool { return (only == "" || t.name == only) && t.fits(m) })
	if i < 0 {
		return machineType{}, false
	}
	return types[i], true
}

// gpuTypes are the kinds of GPUs there are.
func gpuTypes() []string {
	var out []string
	for _, t := range machineTypes() {
		if t.gpu != "" && !slices.Contains(out, t.gpu) {
			out = append(out, t.gpu)
		}
	}
	return out
}
