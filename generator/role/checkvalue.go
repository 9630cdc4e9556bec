package role

import (
	"cmp"
	"regexp"

	"pgha-gen/generator/specfile"
)

var (
	packageForm = regexp.MustCompile(`^[0-9][A-Za-z0-9.+:~-]*$`)
	secretForm  = regexp.MustCompile(`(?i)password|passwd|passphrase|secret|token$`)
	urlForm     = regexp.MustCompile(`^https?://[^\s'"$]+$`)
)

// CheckRange reports a value that is not from least to most. The problem's
// text has one verb, for the value.
func CheckRange[T cmp.Ordered](at specfile.Place, value, least, most T, text string) bool {
	if value < least || value > most {
		at.Problem(text, value)
		return false
	}
	return true
}

// CheckPackage reports what is no version of a Debian package; like is one
// that is. Empty is good: it leaves the version to the bake.
func CheckPackage(at specfile.Place, version, like string) bool {
	if version != "" && !packageForm.MatchString(version) {
		at.Problem("%q is no Debian version (want one such as %s)", version, like)
		return false
	}
	return true
}

// CheckURL reports what is no URL to download from. Empty is good.
func CheckURL(at specfile.Place, url string) {
	if url != "" && !urlForm.MatchString(url) {
		at.Problem("%q is no URL (want http:// or https://)", url)
	}
}

// NamesSecret says whether the name of a setting is that of a secret.
func NamesSecret(name string) bool { return secretForm.MatchString(name) }
