package yc_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestMain makes this program Yandex Cloud's yc where it is called so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "yc" {
		os.Exit(fakeYc(os.Getenv("YC_STATE"), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// thing is something in the fake cloud, with the fields that yc prints as JSON.
type thing map[string]any

func (t thing) text(key string) string { s, _ := t[key].(string); return s }

func (t thing) labels() map[string]any { l, _ := t["labels"].(map[string]any); return l }

// state is what the fake cloud has, by kind.
type state struct {
	Things map[string][]thing
	Images []string         // families that have an image
	Quota  map[string]int   // by kind, and GB of network-ssd; none: no limit
	Left   *int             // creations that still succeed; nil: all
	Away   bool             // it does not answer
	Garble bool             // it answers with something else
	Serial map[string]int   // the number of the last id
	Access map[string][]any // bindings of a secret, by its id

	Elsewhere []string // names of buckets that somebody else has
}

func loadState(dir string) (*state, error) {
	s := &state{Things: map[string][]thing{}, Serial: map[string]int{}, Quota: map[string]int{}, Access: map[string][]any{}}
	data, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, s)
	}
	return s, err
}

func (s *state) save(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "state.json"), data, 0o644)
}

func (s *state) find(kind, key, value string) thing {
	i := slices.IndexFunc(s.Things[kind], func(t thing) bool { return t.text(key) == value })
	if i < 0 {
		return nil
	}
	return s.Things[kind][i]
}

// ids is how those of a kind start.
var ids = map[string]string{
	"vpc network": "enp", "vpc subnet": "e9b", "vpc gateway": "enpg", "vpc route-table": "enpr", "vpc security-group": "enps",
	"iam service-account": "aje", "lockbox secret": "e6q", "compute placement-group": "fd8p", "compute disk": "fhmd", "compute instance": "fhm",
	"load-balancer target-group": "enpt", "load-balancer network-load-balancer": "enpb", "dns zone": "dns",
	"storage bucket": "-",
}

// flags of verbs beside those of all, as their pages in the reference of the
// command-line interface have them (cli-ref). A star stands behind one that may
// be given several times, an exclamation mark behind one without a value.
var flags = map[string]string{
	"vpc network create":        "name description labels async!",
	"vpc subnet create":         "name description labels zone network-id network-name route-table-id route-table-name range* domain-name domain-name-server* ntp-server* async!",
	"vpc gateway create":        "name description labels async!",
	"vpc route-table create":    "name description labels network-id network-name route* async!",
	"vpc security-group create": "name description labels network-id network-name rule* async!",
	"vpc security-group update": "id name async! new-name description labels clear-rules! rule*",

	"iam service-account create":           "name description labels async!",
	"lockbox secret create":                "name description labels kms-key-id version-description payload deletion-protection! async!",
	"lockbox secret add-access-binding":    "id name role service-account-id service-account-name user-account-id subject async!",
	"compute placement-group create":       "name description labels spread-strategy! partitions async!",
	"compute image get-latest-from-family": "",
	"compute disk create":                  "name description labels zone type size block-size async!",
	"compute instance create": "name description labels zone metadata metadata-options metadata-from-file ssh-key public-ip! create-disk* attach-disk* " +
		"create-boot-disk network-interface* memory cores core-fraction platform hostname preemptible! maintenance-policy maintenance-grace-period " +
		"placement-group-id placement-group-name service-account-id service-account-name async!",
	"compute instance add-metadata":    "id name metadata metadata-from-file async!",
	"compute instance remove-metadata": "id name keys async!",

	"load-balancer target-group create":          "name description labels region-id target* async!",
	"load-balancer target-group add-targets":     "id name target* async!",
	"load-balancer target-group remove-targets":  "id name target* async!",
	"load-balancer network-load-balancer create": "name description labels region-id type deletion-protection! target-group* listener* async!",
	"dns zone create":                            "name description labels zone public-visibility! private-visibility! network-ids deletion-protection! async!",
	"dns zone replace-records":                   "id name async! description record*",
	"dns zone delete-records":                    "id name async! record*",

	"storage bucket get":    "name with-acl! full!",
	"storage bucket create": "name default-storage-class max-size public-read! public-list! public-config-read! acl grants* async!",
	"storage bucket update": "name default-storage-class max-size public-read! public-list! public-config-read! acl grants* versioning cors* remove-cors! tags " +
		"remove-tags! lifecycle-rules lifecycle-rules-from-file remove-lifecycle-rules! policy policy-from-file encryption remove-encryption! async!",
	"storage bucket delete": "name async!",
}

var common = map[string]string{"list": "", "get": "id name full!", "delete": "id name async!", "list-access-bindings": "id name"}

// call is one call of yc.
type call struct {
	*state
	dir, kind, verb, folder string
	flags                   map[string][]string
	positional              []string
}

func fakeYc(dir string, args []string) int {
	file, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = file.WriteString("yc\n" + strings.Join(args, "\n") + "\n")
		err = errors.Join(err, file.Close())
	}
	var answer any
	if err == nil {
		answer, err = run(dir, args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ERROR: "+err.Error())
		return 1
	}
	if text, ok := answer.(string); ok {
		fmt.Println(text)
		return 0
	}
	data, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		panic(err)
	}
	fmt.Println(string(data))
	return 0
}

func run(dir string, args []string) (any, error) {
	s, err := loadState(dir)
	switch {
	case err != nil:
		return nil, err
	case s.Away:
		return nil, errors.New("rpc error: code = Unavailable")
	case s.Garble:
		return "There is a new yc version.", nil
	case len(args) < 3:
		return nil, fmt.Errorf("unknown command %q", args)
	}
	c := &call{state: s, dir: dir, kind: args[0] + " " + args[1], verb: args[2], flags: map[string][]string{}}
	known, ok := flags[c.kind+" "+c.verb]
	if !ok {
		known, ok = common[c.verb]
	}
	if !ok || ids[c.kind] == "" && c.kind != "compute image" {
		return nil, fmt.Errorf("unknown command %s %s", c.kind, c.verb)
	}
	if err := c.parse(args[3:], strings.Fields(known+" folder-id format")); err != nil {
		return nil, err
	}
	answer, err := c.do()
	if err != nil {
		return nil, err
	}
	return answer, s.save(dir)
}

func (c *call) parse(args, known []string) error {
	for len(args) > 0 {
		name, ok := strings.CutPrefix(args[0], "--")
		if !ok {
			c.positional, args = append(c.positional, args[0]), args[1:]
			continue
		}
		switch {
		case slices.Contains(known, name+"!"):
			c.flags[name], args = []string{"yes"}, args[1:]
			continue
		case !slices.Contains(known, name) && !slices.Contains(known, name+"*"):
			return fmt.Errorf("unknown flag: --%s", name)
		case len(args) < 2:
			return fmt.Errorf("flag needs an argument: --%s", name)
		case c.flags[name] != nil && !slices.Contains(known, name+"*"):
			return fmt.Errorf("flag --%s is given twice", name)
		}
		c.flags[name], args = append(c.flags[name], args[1]), args[2:]
	}
	c.folder = c.flag("folder-id")
	if c.folder == "" && c.flag("id") == "" {
		return errors.New("no folder")
	}
	if len(c.positional) > 0 && c.verb != "get-latest-from-family" {
		return fmt.Errorf("unexpected argument %q", c.positional[0])
	}
	return nil
}

func (c *call) flag(name string) string {
	if values := c.flags[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func (c *call) do() (any, error) {
	if c.kind == "storage bucket" {
		return c.bucket()
	}
	switch c.verb {
	case "list":
		all := c.Things[c.kind]
		if all == nil {
			all = []thing{}
		}
		return all, nil
	case "create":
		return c.create()
	case "get-latest-from-family":
		if len(c.positional) != 1 || !slices.Contains(c.Images, c.positional[0]) {
			return nil, fmt.Errorf("rpc error: code = NotFound desc = Image in family %q not found", c.positional)
		}
		return thing{"id": "fd8" + c.positional[0]}, nil
	}
	one := c.find(c.kind, "name", c.flag("name"))
	if id := c.flag("id"); id != "" {
		one = c.find(c.kind, "id", id)
	}
	if one == nil {
		return nil, fmt.Errorf("rpc error: code = NotFound desc = there is no %s %s%s", c.kind, c.flag("id"), c.flag("name"))
	}
	id := one.text("id")
	switch c.verb {
	case "get":
		return one, nil
	case "delete":
		return one, c.delete(one)
	case "list-access-bindings":
		return append([]any{}, c.Access[id]...), nil
	case "add-access-binding":
		account := c.find("iam service-account", "id", c.flag("service-account-id"))
		if account == nil || c.flag("role") != "lockbox.payloadViewer" {
			return nil, fmt.Errorf("cannot bind %v", c.flags)
		}
		c.Access[id] = append(c.Access[id], thing{"role_id": c.flag("role"), "subject": thing{"type": "serviceAccount", "id": account["id"]}})
		return thing{}, nil
	case "update":
		return one, c.rules(one)
	case "add-metadata", "remove-metadata":
		return one, c.metadata(one)
	case "add-targets", "remove-targets", "replace-records", "delete-records":
		return one, c.change(one)
	}
	return nil, fmt.Errorf("unknown verb %s", c.verb)
}

var (
	nameForm  = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	labelForm = regexp.MustCompile(`^[a-z][-_./\\@0-9a-z]{0,62}=[-_./\\@0-9a-z]{0,63}$`)
)

func (c *call) create() (any, error) {
	name := c.flag("name")
	switch {
	case !nameForm.MatchString(name):
		return nil, fmt.Errorf("rpc error: code = InvalidArgument desc = name: %q", name)
	case c.find(c.kind, "name", name) != nil:
		return nil, fmt.Errorf("rpc error: code = AlreadyExists desc = there is a %s %s already", c.kind, name)
	case c.Left != nil && *c.Left == 0, c.Quota[c.kind] > 0 && len(c.Things[c.kind]) >= c.Quota[c.kind]:
		return nil, errors.New("rpc error: code = ResourceExhausted desc = quota exceeded")
	}
	c.Serial[c.kind]++
	t := thing{"id": ids[c.kind] + strconv.Itoa(c.Serial[c.kind]), "folder_id": c.folder, "name": name, "labels": map[string]any{}}
	for label := range strings.SplitSeq(c.flag("labels"), ",") {
		if !labelForm.MatchString(label) {
			return nil, fmt.Errorf("rpc error: code = InvalidArgument desc = label: %q", label)
		}
		key, value, _ := strings.Cut(label, "=")
		t.labels()[key] = value
	}
	if err := c.fill(t); err != nil {
		return nil, fmt.Errorf("rpc error: code = InvalidArgument desc = %w", err)
	}
	if c.Left != nil {
		*c.Left--
	}
	c.Things[c.kind] = append(c.Things[c.kind], t)
	return t, nil
}

// ref is the id of what a flag names, by id or by name.
func (c *call) ref(flag, kind string) (string, error) {
	return c.lookUp(kind, c.flag(flag+"-id"), c.flag(flag+"-name"))
}

func (c *call) lookUp(kind, id, name string) (string, error) {
	found := c.find(kind, "id", id)
	if name != "" {
		found = c.find(kind, "name", name)
	}
	if found == nil {
		return "", fmt.Errorf("there is no %s %s%s", kind, id, name)
	}
	return found.text("id"), nil
}

// fill gives a new thing its own fields, or refuses it.
func (c *call) fill(t thing) (err error) {
	set := func(key, flag, kind string) {
		id, e := c.ref(flag, kind)
		t[key] = id
		err = errors.Join(err, e)
	}
	switch c.kind {
	case "vpc subnet":
		set("network_id", "network", "vpc network")
		if c.flag("route-table-name") != "" {
			set("route_table_id", "route-table", "vpc route-table")
		}
		t["zone_id"] = c.flag("zone")
		p, e := netip.ParsePrefix(c.flag("range"))
		if e != nil || p.Masked() != p || !p.Addr().IsPrivate() || p.Bits() < 16 || p.Bits() > 28 || t["zone_id"] == "" {
			return fmt.Errorf("subnet %v", c.flags)
		}
		for _, other := range c.Things[c.kind] {
			if q := netip.MustParsePrefix(other["v4_cidr_blocks"].([]any)[0].(string)); other["network_id"] == t["network_id"] && q.Overlaps(p) {
				return fmt.Errorf("subnet %s overlaps %s", p, q)
			}
		}
		t["v4_cidr_blocks"] = []any{p.String()}
	case "vpc route-table":
		set("network_id", "network", "vpc network")
		for _, route := range c.flags["route"] {
			p := properties(route)
			if p["destination"] != "0.0.0.0/0" || c.find("vpc gateway", "name", p["gateway-name"]) == nil {
				return fmt.Errorf("route %s", route)
			}
		}
	case "vpc security-group":
		set("network_id", "network", "vpc network")
		return errors.Join(err, c.rules(t))
	case "lockbox secret":
		var payload []struct{ Key, Text_value string }
		if e := json.Unmarshal([]byte(c.flag("payload")), &payload); e != nil || len(payload) == 0 {
			return fmt.Errorf("payload %s", c.flag("payload"))
		}
	case "compute placement-group":
		if c.flag("spread-strategy") == "" {
			return errors.New("no strategy")
		}
	case "compute disk":
		t["zone_id"], t["type_id"] = c.flag("zone"), c.flag("type")
		t["size"], err = c.diskSize(c.flag("type"), c.flag("size"))
	case "compute instance":
		return c.instance(t)
	case "load-balancer target-group":
		return c.change(t)
	case "load-balancer network-load-balancer":
		return c.balancer(t)
	case "dns zone":
		t["zone"], t["network_id"] = c.flag("zone"), c.flag("network-ids")
		if !strings.HasSuffix(c.flag("zone"), ".") || c.flag("private-visibility") == "" || c.find("vpc network", "id", c.flag("network-ids")) == nil {
			return fmt.Errorf("zone %v", c.flags)
		}
	}
	return err
}

func (c *call) diskSize(kind, size string) (string, error) {
	gb, err := strconv.Atoi(strings.TrimSuffix(size, "GB"))
	unit := map[string]int{"network-ssd": 1, "network-hdd": 1, "network-ssd-nonreplicated": 93, "network-ssd-io-m3": 93}[kind]
	if err != nil || unit == 0 || gb < 1 || gb > 4096 || gb%unit != 0 {
		return "", fmt.Errorf("disk of %s %s", kind, size)
	}
	used := gb
	for _, d := range slices.Concat(c.Things["compute disk"], c.Things["compute instance"]) {
		if d.text("type_id") == kind {
			n, _ := strconv.Atoi(d.text("size"))
			used += n
		}
	}
	if quota := c.Quota[kind]; quota > 0 && used > quota {
		return "", fmt.Errorf("quota exceeded: %d GB of %s", used, kind)
	}
	return strconv.Itoa(gb), nil
}

// properties reads key=value,key=[value,value].
func properties(text string) map[string]string {
	all := map[string]string{}
	for text != "" {
		key, rest, _ := strings.Cut(text, "=")
		value := rest
		if strings.HasPrefix(rest, "[") {
			value, rest, _ = strings.Cut(rest[1:], "]")
			rest = strings.TrimPrefix(rest, ",")
		} else {
			value, rest, _ = strings.Cut(rest, ",")
		}
		all[key], text = value, rest
	}
	return all
}

var ruleKeys = []string{"description", "direction", "port", "from-port", "to-port", "protocol", "v4-cidrs", "security-group-id", "security-group-name", "predefined"}

func (c *call) rules(group thing) error {
	rules := []any{}
	for _, rule := range c.flags["rule"] {
		p := properties(rule)
		for key := range p {
			if !slices.Contains(ruleKeys, key) {
				return fmt.Errorf("rule %q has the property %q", rule, key)
			}
		}
		if p["direction"] != "ingress" && p["direction"] != "egress" || p["port"] != "" && p["protocol"] != "tcp" {
			return fmt.Errorf("rule %q", rule)
		}
		if p["security-group-name"] != "" {
			if _, err := c.lookUp("vpc security-group", "", p["security-group-name"]); err != nil {
				return err
			}
		}
		if n := strings.Count(p["v4-cidrs"], ",") + 1; n > 50 {
			return fmt.Errorf("rule %q has %d networks", rule, n)
		}
		rules = append(rules, rule)
	}
	if len(rules) > 50 {
		return fmt.Errorf("%d rules", len(rules))
	}
	group["rules"] = rules
	return nil
}

var variable = regexp.MustCompile(`\$(\$|[A-Za-z_][A-Za-z0-9_]*)`)

func (c *call) metadata(instance thing) error {
	all, _ := instance["metadata"].(map[string]any)
	if all == nil {
		all = map[string]any{}
		instance["metadata"] = all
	}
	if c.verb == "remove-metadata" {
		delete(all, c.flag("keys"))
		return nil
	}
	if text := c.flag("metadata"); text != "" {
		for key, value := range properties(text) {
			all[key] = value
		}
	}
	if from := c.flag("metadata-from-file"); from != "" {
		key, path, _ := strings.Cut(from, "=")
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("cannot read %s", path)
		}
		// As the real one does with user-data, from its own environment.
		all[key] = variable.ReplaceAllStringFunc(string(data), func(v string) string {
			if v == "$$" {
				return "$"
			}
			return os.Getenv(v[1:])
		})
	}
	for key, value := range all {
		if len(value.(string)) > 256<<10 {
			return fmt.Errorf("metadata %s is too long", key)
		}
	}
	return nil
}

func (c *call) instance(t thing) error {
	name := t.text("name")
	if c.flag("hostname") != name {
		return fmt.Errorf("host name %q", c.flag("hostname"))
	}
	cores, _ := strconv.Atoi(c.flag("cores"))
	memory, _ := strconv.Atoi(strings.TrimSuffix(c.flag("memory"), "GB"))
	if cores < 2 || cores%2 != 0 || memory < 1 || !slices.Contains([]string{"5", "20", "50", "100"}, c.flag("core-fraction")) {
		return fmt.Errorf("hardware %v", c.flags)
	}
	boot := properties(c.flag("create-boot-disk"))
	if !slices.Contains(c.Images, boot["image-family"]) || boot["image-folder-id"] != c.folder || boot["auto-delete"] != "true" {
		return fmt.Errorf("boot disk %v", boot)
	}
	size, err := c.diskSize(boot["type"], boot["size"])
	if err != nil {
		return err
	}
	t["type_id"], t["size"], t["status"], t["zone_id"] = boot["type"], size, "RUNNING", c.flag("zone")
	if attach := c.flag("attach-disk"); attach != "" {
		p := properties(attach)
		disk := c.find("compute disk", "name", p["disk-name"])
		if disk == nil || disk["zone_id"] != t["zone_id"] || p["auto-delete"] != "false" || len(p["device-name"]) > 20 {
			return fmt.Errorf("there is no disk %s for it: %v", attach, disk)
		}
		if disk.text("instance_id") != "" {
			return fmt.Errorf("disk %s is attached to another", attach)
		}
		disk["instance_id"] = t["id"]
	}
	if c.flag("service-account-id")+c.flag("service-account-name") != "" {
		if t["service_account_id"], err = c.ref("service-account", "iam service-account"); err != nil {
			return err
		}
	}
	if group := c.flag("placement-group-name"); group != "" {
		if t["placement_group_id"], err = c.lookUp("compute placement-group", "", group); err != nil {
			return err
		}
		n := 0
		for _, other := range c.Things[c.kind] {
			if other["placement_group_id"] == t["placement_group_id"] {
				n++
			}
		}
		if n >= 5 {
			return fmt.Errorf("placement group %s is full", group)
		}
	}
	grace, err := strconv.Atoi(strings.TrimSuffix(c.flag("maintenance-grace-period"), "s"))
	if err != nil || grace < 1 || grace > 60 || !slices.Contains([]string{"migrate", "restart"}, c.flag("maintenance-policy")) {
		return fmt.Errorf("maintenance %v", c.flags)
	}
	if err := c.plugIn(t); err != nil {
		return err
	}
	return c.metadata(t)
}

// plugIn gives an instance its interface: an address of the subnet that nobody
// has.
func (c *call) plugIn(t thing) error {
	nic := properties(c.flag("network-interface"))
	id, err := c.lookUp("vpc subnet", nic["subnet-id"], nic["subnet-name"])
	if err != nil {
		return err
	}
	subnet := c.find("vpc subnet", "id", id)
	if subnet["zone_id"] != t["zone_id"] {
		return fmt.Errorf("subnet %s is in another zone", id)
	}
	addresses := netip.MustParsePrefix(subnet["v4_cidr_blocks"].([]any)[0].(string))
	first := addresses.Addr().Next().Next().Next() // behind the gateway and the DNS
	taken := map[string]bool{}
	for _, other := range c.Things[c.kind] {
		taken[other.text("address")] = other.text("subnet_id") == id
	}
	address, err := netip.ParseAddr(nic["ipv4-address"])
	if nic["ipv4-address"] == "auto" {
		for address, err = first, nil; taken[address.String()]; address = address.Next() {
		}
	}
	if err != nil || !addresses.Contains(address) || address.Less(first) || taken[address.String()] {
		return fmt.Errorf("address %s of subnet %s: taken, or not in it", nic["ipv4-address"], addresses)
	}
	if groups := nic["security-group-ids"]; groups != "" {
		list := strings.Split(groups, ",")
		for _, g := range list {
			if _, err := c.lookUp("vpc security-group", g, ""); err != nil {
				return err
			}
		}
		if len(list) > 5 {
			return fmt.Errorf("%d security groups", len(list))
		}
		t["security_group_ids"] = groups
	}
	t["subnet_id"], t["address"] = id, address.String()
	t["network_interfaces"] = []any{thing{"subnet_id": id, "primary_v4_address": thing{"address": address.String()}}}
	return nil
}

// change is for lists within a thing: targets, and records.
func (c *call) change(t thing) error {
	var key string
	var words []string
	if c.kind == "dns zone" {
		key = "records"
		for _, record := range c.flags["record"] {
			f := strings.Fields(record)
			if len(f) != 4 || f[2] != "A" || !strings.HasSuffix(f[0], ".") {
				return fmt.Errorf("record %q", record)
			}
			if _, err := netip.ParseAddr(f[3]); err != nil {
				return err
			}
			words = append(words, record)
		}
		if len(words) == 0 {
			return errors.New("no record")
		}
	} else {
		key = "targets"
		for _, target := range c.flags["target"] {
			p := properties(target)
			id, err := c.lookUp("vpc subnet", p["subnet-id"], p["subnet-name"])
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(c.Things["compute instance"], func(i thing) bool { return i.text("subnet_id") == id && i.text("address") == p["address"] }) {
				return fmt.Errorf("target %s is no machine's", target)
			}
			words = append(words, "subnet-id="+id+",address="+p["address"])
		}
	}
	var have []string
	if old, ok := t[key].([]any); ok {
		for _, o := range old {
			if target, ok := o.(map[string]any); ok {
				o = fmt.Sprintf("subnet-id=%s,address=%s", target["subnet_id"], target["address"])
			}
			have = append(have, o.(string))
		}
	}
	switch c.verb {
	case "create", "add-targets":
		have = append(have, words...)
	case "replace-records":
		have = words
	default:
		have = slices.DeleteFunc(have, func(s string) bool { return slices.Contains(words, s) })
	}
	slices.Sort(have)
	have = slices.Compact(have)
	all := []any{}
	for _, h := range have {
		if p := properties(h); key == "targets" {
			all = append(all, thing{"subnet_id": p["subnet-id"], "address": p["address"]})
		} else {
			all = append(all, h)
		}
	}
	t[key] = all
	return nil
}

func (c *call) balancer(t thing) error {
	listeners := []any{}
	for i, text := range c.flags["listener"] {
		p := properties(text)
		port, err := strconv.Atoi(p["port"])
		if err != nil || port < 1 || port > 32767 || p["target-port"] == "" || !nameForm.MatchString(p["name"]) || p["protocol"] != "tcp" {
			return fmt.Errorf("listener %s", text)
		}
		address := fmt.Sprintf("203.0.113.%d", 10)
		if c.flag("type") == "internal" {
			if c.find("vpc subnet", "id", p["internal-subnet-id"]) == nil {
				return fmt.Errorf("listener %s: no subnet", text)
			}
			address = "10.128.0.250"
		} else if p["external-ip-version"] != "ipv4" {
			return fmt.Errorf("listener %s", text)
		}
		listeners = append(listeners, thing{"name": p["name"], "port": p["port"], "address": address, "number": i})
	}
	group := properties(c.flag("target-group"))
	if c.find("load-balancer target-group", "id", group["target-group-id"]) == nil || len(listeners) == 0 {
		return fmt.Errorf("target group %v", group)
	}
	if c.flag("type") != "internal" && c.flag("type") != "external" || group["healthcheck-http-path"] != "/alive" || group["healthcheck-http-port"] == "" {
		return fmt.Errorf("check %v", group)
	}
	t["listeners"], t["target_group_id"] = listeners, group["target-group-id"]
	return nil
}

// delete refuses what something else needs.
func (c *call) delete(one thing) error {
	id := one.text("id")
	if c.kind == "compute instance" {
		for _, disk := range c.Things["compute disk"] {
			if disk.text("instance_id") == id {
				delete(disk, "instance_id")
			}
		}
	} else if one.text("instance_id") != "" {
		return fmt.Errorf("rpc error: code = FailedPrecondition desc = %s is in use by %s", id, one["instance_id"])
	}
	if records, _ := one["records"].([]any); len(records) > 0 {
		return fmt.Errorf("rpc error: code = FailedPrecondition desc = zone %s has records", id)
	}
	for kind, all := range c.Things {
		for _, other := range all {
			if c.kind == kind && strings.Contains(fmt.Sprint(other["rules"]), "security-group-name="+one.text("name")) && other.text("id") != id {
				return fmt.Errorf("rpc error: code = FailedPrecondition desc = %s is in the rules of %s", id, other["name"])
			}
			for _, key := range slices.Sorted(maps.Keys(other)) {
				reference := strings.HasSuffix(key, "_id") || strings.HasSuffix(key, "_ids")
				if reference && slices.Contains(strings.Split(other.text(key), ","), id) {
					return fmt.Errorf("rpc error: code = FailedPrecondition desc = %s is in use by %s %s", id, kind, other["name"])
				}
			}
		}
	}
	c.Things[c.kind] = slices.DeleteFunc(c.Things[c.kind], func(t thing) bool { return t.text("id") == id })
	return nil
}
