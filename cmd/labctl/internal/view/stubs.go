package view

import (
	"io"

	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// Plan writes what would change and what it costs.
func Plan(w io.Writer, p plan.Plan, o Options) error { return JSON(w, p) }

// PlanMarkdown writes p for a review comment.
func PlanMarkdown(w io.Writer, p plan.Plan) error { return JSON(w, p) }

// Drift writes what has moved since the spec was last true.
func Drift(w io.Writer, p plan.Plan, inside map[string][]Difference, o Options) error { return JSON(w, p) }

// Report writes what became of a plan.
func Report(w io.Writer, r apply.Report, o Options) error { return JSON(w, r) }

// Findings writes what is wrong with a spec, one line each.
func Findings(w io.Writer, fs []LocatedFinding, o Options) error { return JSON(w, fs) }

// Status writes the lab's machines and networks.
func Status(w io.Writer, s LabStatus, o Options) error { return JSON(w, s) }

// Doctor writes what a host can do.
func Doctor(w io.Writer, ds []provider.Diagnosis, o Options) error { return JSON(w, ds) }

// Images writes the image store's rows.
func Images(w io.Writer, is []Image, o Options) error { return JSON(w, is) }

// Versions writes the programs that take part.
func Versions(w io.Writer, vs []Version, o Options) error { return JSON(w, vs) }
