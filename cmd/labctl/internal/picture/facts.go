package picture

import "github.com/labctl-dev/labctl/lab"

// Facts is what a picture tells, for programs.
type Facts struct {
	Lab      string   `json:"lab"`
	Subtitle string   `json:"subtitle,omitempty"`
	Things   []Fact   `json:"things"` // the world, then networks, then machines with their interfaces
	Notes    []string `json:"notes,omitempty"`
}

// Fact is one thing of a picture. Without machine and network it is the world.
type Fact struct {
	Machine string   `json:"machine,omitempty"`
	Network string   `json:"network,omitempty"`
	Level   *int     `json:"level,omitempty"` // of a network: routers between it and the world
	Router  bool     `json:"router,omitempty"`
	Status  Status   `json:"status,omitempty"`
	Lines   []string `json:"lines,omitempty"`
}

// FactsOf are the facts of a picture.
func FactsOf(p Picture) Facts {
	f := Facts{Lab: p.Lab.Name, Subtitle: p.Subtitle, Notes: p.Notes, Things: []Fact{}}
	m := newModel(p)
	if m.world {
		f.Things = append(f.Things, Fact{Status: p.status(Thing{}), Lines: p.Marks[Thing{}].Lines})
	}
	levels := levelsOf(p.Lab, lab.NewTopology(p.Lab))
	for _, n := range m.networks {
		level := levels[n.name]
		f.Things = append(f.Things, Fact{Network: n.name, Level: &level, Status: n.status, Lines: n.marks})
	}
	for _, x := range m.machines {
		f.Things = append(f.Things, Fact{Machine: x.name, Router: x.router, Status: x.status, Lines: p.Marks[x.thing].Lines})
		for _, l := range x.legs {
			f.Things = append(f.Things, Fact{Machine: x.name, Network: m.networks[l.network].name, Status: l.status})
		}
	}
	return f
}
