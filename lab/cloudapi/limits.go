package cloudapi

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	yandex "github.com/yandex-cloud/go-genproto/yandex/cloud"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"gopkg.in/yaml.v3"
)

//go:embed limits.yaml
var documented []byte

// limit is what may be in a field.
type limit struct {
	Required     bool
	Pattern      string
	Length, Size []int
	Satisfy      string // 1-5, >0, <=8, or a list of values
	KeyPattern   string `yaml:"key_pattern"`
	ValuePattern string `yaml:"value_pattern"`
	KeyLength    []int  `yaml:"key_length"`
	ValueLength  []int  `yaml:"value_length"`
	Value        []int
}

// limits are those by message and field: of services whose descriptors do not
// have them.
var limits = sync.OnceValues(func() (all map[string]map[string]limit, err error) {
	err = yaml.Unmarshal(documented, &all)
	return all, err
})

// limitOf is that of a field, by the table or by the field's own options.
func limitOf(fd protoreflect.FieldDescriptor) (limit, error) {
	all, err := limits()
	if err != nil {
		return limit{}, fmt.Errorf("limits.yaml: %w", err)
	}
	l, ok := all[strings.TrimPrefix(string(fd.ContainingMessage().FullName()), prefix)][string(fd.Name())]
	if ok {
		return l, nil
	}
	option := func(t protoreflect.ExtensionType) string {
		s, _ := proto.GetExtension(fd.Options(), t).(string)
		return s
	}
	required, _ := proto.GetExtension(fd.Options(), yandex.E_Required).(bool)
	l = limit{Required: required, Pattern: option(yandex.E_Pattern), Length: bounds(option(yandex.E_Length)), Size: bounds(option(yandex.E_Size)), Satisfy: option(yandex.E_Value)}
	if fd.Message() != nil && !fd.IsMap() && fd.Message().FullName() == "google.protobuf.Timestamp" {
		l.Satisfy = ""
	}
	if key, ok := proto.GetExtension(fd.Options(), yandex.E_MapKey).(*yandex.MapKeySpec); ok && fd.IsMap() {
		l.KeyPattern, l.KeyLength = key.GetPattern(), bounds(key.GetLength())
		l.ValuePattern, l.ValueLength, l.Pattern, l.Length = l.Pattern, l.Length, "", nil
	}
	return l, nil
}

// bounds are of 1-5, <=5 or 5.
func bounds(text string) []int {
	if text == "" {
		return nil
	}
	least, most, between := strings.Cut(text, "-")
	if rest, ok := strings.CutPrefix(text, "<="); ok {
		least, most = "0", rest
	} else if !between {
		most = least
	}
	from, err := strconv.Atoi(least)
	to, err2 := strconv.Atoi(most)
	if err != nil || err2 != nil {
		return nil
	}
	return []int{from, to}
}

func refuse(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, "Request validation error: "+format, args...)
}

// check refuses a request with a field that is against the documented limits.
func check(m protoreflect.Message, at string) error {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		l, err := limitOf(fd)
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		if err := l.check(m, fd, at+string(fd.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (l limit) check(m protoreflect.Message, fd protoreflect.FieldDescriptor, at string) error {
	if !m.Has(fd) {
		if l.Required {
			return refuse("%s: Field is required", at)
		}
		if l.Size != nil && l.Size[0] > 0 {
			return refuse("%s: number of elements must be at least %d", at, l.Size[0])
		}
		return nil
	}
	value := m.Get(fd)
	switch {
	case fd.IsMap():
		if !within(l.Size, value.Map().Len()) {
			return refuse("%s: number of elements must be in the range %v", at, l.Size)
		}
		var err error
		value.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			text, _ := v.Interface().(string)
			switch {
			case !matches(l.KeyPattern, k.String()) || !within(l.KeyLength, utf8.RuneCountInString(k.String())):
				err = refuse("%s: key %q", at, k.String())
			case !matches(l.ValuePattern, text) || !within(l.ValueLength, utf8.RuneCountInString(text)):
				err = refuse("%s.%s: value %q", at, k.String(), text)
			}
			return err == nil
		})
		return err
	case fd.IsList():
		if !within(l.Size, value.List().Len()) {
			return refuse("%s: number of elements must be in the range %v", at, l.Size)
		}
		for i := range value.List().Len() {
			if err := l.one(fd, value.List().Get(i), fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
		return nil
	}
	return l.one(fd, value, at)
}

func (l limit) one(fd protoreflect.FieldDescriptor, value protoreflect.Value, at string) error {
	switch v := value.Interface().(type) {
	case string:
		if !matches(l.Pattern, v) {
			return refuse("%s: %q does not match the pattern %s", at, v, l.Pattern)
		}
		if !within(l.Length, utf8.RuneCountInString(v)) {
			return refuse("%s: length %d must be in the range %v", at, utf8.RuneCountInString(v), l.Length)
		}
	case []byte:
		if !within(l.Length, len(v)) {
			return refuse("%s: length %d must be in the range %v", at, len(v), l.Length)
		}
	case int64:
		if !satisfies(l.Satisfy, v) || !within(l.Value, int(v)) {
			return refuse("%s: %d must satisfy %s%v", at, v, l.Satisfy, l.Value)
		}
	case protoreflect.Message:
		if d, ok := v.Interface().(*durationpb.Duration); ok {
			if !lasts(l.Satisfy, d.AsDuration()) {
				return refuse("%s: %v must satisfy %s", at, d.AsDuration(), l.Satisfy)
			}
			return nil
		}
		return check(v, at+".")
	}
	return nil
}

func within(bounds []int, n int) bool {
	return len(bounds) == 0 || n >= bounds[0] && (len(bounds) < 2 || n <= bounds[1])
}

func matches(pattern, text string) bool {
	if pattern == "" {
		return true
	}
	// {,19} is a repetition there, and none here.
	re, err := regexp.Compile("^(?:" + strings.ReplaceAll(pattern, "{,", "{0,") + ")$")
	return err == nil && re.MatchString(text)
}

func satisfies(rule string, n int64) bool {
	least, most, between := strings.Cut(rule, "-")
	number := func(s string) int64 { v, _ := strconv.ParseInt(strings.TrimSpace(s), 10, 64); return v }
	switch {
	case rule == "":
		return true
	case strings.HasPrefix(rule, ">="):
		return n >= number(rule[2:])
	case strings.HasPrefix(rule, "<="):
		return n <= number(rule[2:])
	case strings.HasPrefix(rule, ">"):
		return n > number(rule[1:])
	case between:
		return n >= number(least) && n <= number(most)
	}
	return slices.Contains(strings.Split(rule, ","), strconv.FormatInt(n, 10))
}

func lasts(rule string, d time.Duration) bool {
	least, most, _ := strings.Cut(rule, "-")
	from, err := time.ParseDuration(least)
	to, err2 := time.ParseDuration(most)
	return rule == "" || err == nil && err2 == nil && d >= from && d <= to
}
