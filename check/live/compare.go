package live

import "fmt"

// Compare says of each question whether its answer is what the proof says. Answers are in the order of the questions;
// a question without one was not asked.
func Compare(s Set, answers []Answer) []Verdict {
	out := make([]Verdict, len(s.Questions))
	for i, q := range s.Questions {
		a := Answer{State: Unasked, Detail: "nobody asked"}
		if i < len(answers) && answers[i].State != "" {
			a = answers[i]
		}
		out[i] = Verdict{Question: q, Answer: a}
		out[i].judge()
	}
	return out
}

func (v *Verdict) judge() {
	a := &v.Answer
	asked := a.State != Exempt && a.State != Unasked
	if want := v.Packet.Src; asked && a.Source.IsValid() && want != a.Source && (v.Open || a.State == Stopped) {
		// It is an answer to another question. Only what is open and must not be is bad from whatever address.
		why := fmt.Sprintf("it was %s from %s", a.State, a.Source)
		if want.IsValid() {
			why += fmt.Sprintf(", but the proof is about %s, which %s should have chosen", want, v.From)
		} else {
			why += fmt.Sprintf(", but the proof knows no such address of %s", v.From)
		}
		a.State, a.Detail = Unasked, why
	}
	switch {
	case a.State == Exempt:
		v.Kind = Exempted
	case a.State == Unasked:
		v.Kind = Unanswered
	case a.State == Opened && !v.Open:
		v.Kind = Open
	case a.State == Stopped && v.Open:
		v.Kind = Blocked
	case a.State == Opened && a.By != "" && a.By != v.By:
		v.Kind = Elsewhere
	default:
		v.Kind = Agrees
	}
}

// Pair is what was asked between two machines, in one direction.
type Pair struct {
	From      string `json:"from"`
	To        string `json:"to"`
	Questions int    `json:"questions"`
	Agree     int    `json:"agree"`
	Exempt    int    `json:"exempt,omitempty"`
	Failed    int    `json:"failed,omitempty"`
}

// Pairs sums verdicts up by pair, in the order in which the pairs come.
func Pairs(verdicts []Verdict) []Pair {
	var out []Pair
	at := map[[2]string]int{}
	for _, v := range verdicts {
		key := [2]string{v.From, v.To}
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, Pair{From: v.From, To: v.To})
		}
		out[i].Questions++
		switch {
		case v.Failed():
			out[i].Failed++
		case v.Kind == Exempted:
			out[i].Exempt++
		default:
			out[i].Agree++
		}
	}
	return out
}
