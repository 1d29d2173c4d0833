package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// CostLines say what a lab is estimated to cost: the sum, what it is made of, and what it leaves out.
func CostLines(c *plan.Cost) []string {
	if c == nil {
		return nil
	}
	place := ""
	if c.Place != "" {
		place = " in " + c.Place
	}
	lines := []string{fmt.Sprintf("Estimated cost: %s an hour, %s a month (%d hours)%s, by a table of prices of %s; no bill, and without %s.",
		money(c.After.Hourly, c.Currency), money(c.After.Monthly, c.Currency), provider.HoursPerMonth, place, c.Date, strings.Join(c.Without, ", "))}
	if c.Before.Hourly != c.After.Hourly && c.Before.Hourly > 0 {
		lines = append(lines, fmt.Sprintf("What exists now: %s an hour, %s a month.", money(c.Before.Hourly, c.Currency), money(c.Before.Monthly, c.Currency)))
	}
	if len(c.Items) > 0 {
		lines = append(lines, "An hour of it: "+strings.Join(partsOf(c), ", ")+".")
	}
	if len(c.Unknown) > 0 {
		lines = append(lines, "The table has no price for: "+strings.Join(c.Unknown, ", ")+".")
	}
	return lines
}

// partsOf are the items, those alike together, the dearest first.
func partsOf(c *plan.Cost) []string {
	type part struct {
		what, unit     string
		amount, hourly float64
	}
	var parts []part
	for _, i := range c.Items {
		amount := i.Amount
		if amount == 0 {
			amount = 1
		}
		at := slices.IndexFunc(parts, func(p part) bool { return p.what == i.What && p.unit == i.Unit })
		if at < 0 {
			parts, at = append(parts, part{what: i.What, unit: i.Unit}), len(parts)
		}
		parts[at].amount += amount
		parts[at].hourly += i.Hourly
	}
	slices.SortStableFunc(parts, func(a, b part) int {
		switch {
		case a.hourly > b.hourly:
			return -1
		case a.hourly < b.hourly:
			return 1
		}
		return strings.Compare(a.what, b.what)
	})
	var out []string
	for _, p := range parts {
		amount := fmt.Sprintf("%g x ", p.amount)
		if p.unit != "" {
			amount = fmt.Sprintf("%g %s of ", p.amount, p.unit)
		} else if p.amount == 1 {
			amount = ""
		}
		out = append(out, amount+p.what+" "+money(p.hourly, c.Currency))
	}
	return out
}

// money is an amount: with four digits below one, else two.
func money(v float64, currency string) string {
	if v < 1 {
		return fmt.Sprintf("%.4f %s", v, currency)
	}
	return fmt.Sprintf("%.2f %s", v, currency)
}
