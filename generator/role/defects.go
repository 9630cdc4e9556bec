package role

import "pault.ag/go/debian/version"

// Defects are what is known to be wrong with versions of one component of a
// role's image.
type Defects struct {
	Component string
	From      string   // the first version that Known is about; empty: all
	Known     []Defect // the worst first
	Upgrade   string   // how a person gets to a later version
}

// Defect is a defect of all versions from Defects.From to one below Fixed.
type Defect struct{ Fixed, What string }

// Of are the defects that a version has, and at the end what to do, as ends
// of a sentence that starts with component and version. What is no Debian
// version has none: a form that nobody knows is no reason to warn.
func (d Defects) Of(v string) []string {
	have, err := version.Parse(v)
	first, _ := version.Parse(d.From) // of nothing: before all
	if err != nil || version.Compare(have, first) < 0 {
		return nil
	}
	var all []string
	var best version.Version
	for _, defect := range d.Known {
		fixed, err := version.Parse(defect.Fixed)
		if err != nil || version.Compare(have, fixed) >= 0 {
			continue
		}
		all = append(all, defect.What+" (fixed in "+defect.Fixed+")")
		if version.Compare(best, fixed) < 0 {
			best = fixed
		}
	}
	if len(all) == 0 {
		return nil
	}
	return append(all, "should give way to "+best.String()+" or later, which has none of these ("+d.Upgrade+")")
}
