package secrets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"

	"pgha-gen/generator/emit"
)

// payloadLimit is the most bytes that the values of one version of a Lockbox
// secret have together (Lockbox's table of limits).
const payloadLimit = 64 << 10

// Payload is what one Lockbox secret holds: entry to text.
type Payload map[string]string

// entry is an item of what yc lockbox secret add-version takes as --payload
// (yandex.cloud.lockbox.v1.PayloadEntryChange). Without a text it removes the
// entry of that key.
type entry struct {
	Key  string  `json:"key"`
	Text *string `json:"text_value"`
}

// encode gives a payload in the form that yc takes.
func (p Payload) encode() ([]byte, error) {
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(p)) {
		items = append(items, emit.Map{{Key: "key", Value: key}, {Key: "text_value", Value: p[key]}})
	}
	return emit.JSON(items)
}

func (p Payload) check() error {
	size := 0
	for _, text := range p {
		size += len(text)
	}
	if size > payloadLimit {
		return fmt.Errorf("%d bytes of values, but a Lockbox secret holds %d at most (fewer nodes or users of this role)", size, payloadLimit)
	}
	return nil
}

func decodePayload(data []byte) (Payload, error) {
	entries, err := decodeEntries(data)
	if err != nil {
		return nil, err
	}
	p := Payload{}
	for _, e := range entries {
		switch _, twice := p[e.Key]; {
		case twice:
			return nil, fmt.Errorf("entry %q is there twice (remove one)", e.Key)
		case e.Text == nil || *e.Text == "":
			return nil, fmt.Errorf("entry %q has no text_value (remove the entry, and it is made anew)", e.Key)
		}
		p[e.Key] = *e.Text
	}
	return p, nil
}

// encodeGone gives the change that removes entries in the form that yc takes.
func encodeGone(keys []string) ([]byte, error) {
	items := []any{}
	for _, key := range keys {
		items = append(items, emit.Map{{Key: "key", Value: key}})
	}
	return emit.JSON(items)
}

func decodeGone(data []byte) ([]string, error) {
	entries, err := decodeEntries(data)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, e := range entries {
		if e.Text != nil {
			return nil, fmt.Errorf("entry %q has a text_value (this file only names what is to be removed)", e.Key)
		}
		keys = append(keys, e.Key)
	}
	return keys, nil
}

// decodeEntries never passes on what encoding/json says: it quotes the input,
// and here that is a secret.
func decodeEntries(data []byte) ([]entry, error) {
	var entries []entry
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(&entries)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else {
			err = errors.New("something follows")
		}
	}
	// encoding/json would put another character for what is not UTF-8, unseen.
	if err == nil && entries != nil && utf8.Valid(data) && !slices.ContainsFunc(entries, func(e entry) bool { return e.Key == "" }) {
		return entries, nil
	}
	at := ""
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = line(data, syntax.Offset)
	case errors.As(err, &kind):
		at = line(data, kind.Offset)
	}
	return nil, fmt.Errorf(`not a payload%s (want a JSON array of {"key": ..., "text_value": ...}; bring back the file as it was)`, at)
}

func line(data []byte, offset int64) string {
	n := min(int(offset), len(data))
	return fmt.Sprintf(" in line %d", 1+bytes.Count(data[:n], []byte("\n")))
}
