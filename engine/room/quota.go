package room

import (
	"fmt"
	"strconv"

	"github.com/labctl-dev/labctl/provider"
)

// Quotas adds to a verdict, nil if there is none yet, what a host allows, whatever room it has.
func Quotas(v *Verdict, q provider.Quotas) *Verdict {
	if q.Judge == provider.Unasked || len(q.All) == 0 {
		return v
	}
	if v == nil {
		v = &Verdict{}
	}
	v.Quotas = q.All
	for _, x := range q.All {
		if x.Used+x.Needs > x.Limit {
			v.Problems = append(v.Problems, Problem{What: "quota", Refused: q.Judge != provider.Warn, Text: tooMuchOf(x)})
		}
	}
	return v
}

// tooMuchOf says what is missing, and who would have it.
func tooMuchOf(q provider.Quota) string {
	text := fmt.Sprintf("needs %s more %s in %s, where %s of at most %s are in use: %s are missing",
		Number(q.Needs), q.Name, q.Place, Number(q.Used), Number(q.Limit), Number(q.Used+q.Needs-q.Limit))
	if len(q.By) > 0 {
		text += " (" + some(q.By) + ")"
	}
	return text
}

// Number is one without needless digits.
func Number(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
