package recipe_test

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/dynblock"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"pgha-gen/generator/role"
)

// exactly is a version constraint that one version meets.
var exactly = regexp.MustCompile(`^= \d+\.\d+\.\d+$`)

// required are the plugins that a block packer requires: name to version.
func required(block *hclsyntax.Block) map[string]string {
	versions := map[string]string{}
	for _, plugins := range block.Body.Blocks {
		for name, plugin := range plugins.Body.Attributes {
			versions[name] = "none"
			if value, errs := plugin.Expr.Value(nil); !errs.HasErrors() && value.Type().IsObjectType() && value.Type().HasAttribute("version") {
				versions[name] = value.GetAttr("version").AsString()
			}
		}
	}
	return versions
}

// judge is everything that is wrong with the templates of a recipe.
func judge(b role.Builder, files map[string]string) (troubles []string) {
	trouble := func(format string, args ...any) { troubles = append(troubles, fmt.Sprintf(format, args...)) }
	kind := string(b)
	if b == role.SSH {
		kind = "null"
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".pkr.hcl") && string(hclwrite.Format([]byte(files[name]))) != files[name] {
			trouble("%s: packer fmt would change it", name)
		}
	}
	parser := hclparse.NewParser()
	image, errs := parser.ParseHCL([]byte(files["image.pkr.hcl"]), "image.pkr.hcl")
	if errs.HasErrors() {
		return append(troubles, all(errs))
	}
	plugins, errs := parser.ParseHCL([]byte(files["plugins.pkr.hcl"]), "plugins.pkr.hcl")
	if errs.HasErrors() {
		return append(troubles, all(errs))
	}
	values, errs := parser.ParseJSON([]byte(files["image.auto.pkrvars.json"]), "image.auto.pkrvars.json")
	if errs.HasErrors() {
		return append(troubles, all(errs))
	}

	for _, block := range plugins.Body.(*hclsyntax.Body).Blocks {
		if block.Type != "packer" {
			trouble("plugins.pkr.hcl: has a block %s", block.Type)
		}
		for name, version := range required(block) {
			if !exactly.MatchString(version) {
				// It gets the cloud's token: a later one is somebody's choice, not the registry's.
				trouble("plugins.pkr.hcl: plugin %s is not pinned: version %q", name, version)
			}
		}
	}
	content, errs := image.Body.Content(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "variable", LabelNames: []string{"name"}},
		{Type: "locals"},
		{Type: "source", LabelNames: []string{"type", "name"}},
		{Type: "build"},
	}})
	if errs.HasErrors() {
		trouble("%s", all(errs))
	}

	vars := variables(content.Blocks.OfType("variable"), values.Body, trouble)
	used := map[string]bool{}
	for _, block := range image.Body.(*hclsyntax.Body).Blocks {
		if block.Type == "variable" {
			continue
		}
		hclsyntax.VisitAll(block.Body, func(node hclsyntax.Node) hcl.Diagnostics {
			if e, ok := node.(*hclsyntax.ScopeTraversalExpr); ok && e.Traversal.RootName() == "var" {
				used[e.Traversal[1].(hcl.TraverseAttr).Name] = true
			}
			return nil
		})
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !used[name] {
			trouble("variable %s is not used", name)
		}
	}
	context := &hcl.EvalContext{
		Variables: map[string]cty.Value{
			"var":  cty.ObjectVal(vars),
			"path": cty.ObjectVal(map[string]cty.Value{"root": cty.StringVal("/out/demo/packer/role")}),
		},
		Functions: map[string]function.Function{
			"formatdate": stdlib.FormatDateFunc,
			"timestamp": function.New(&function.Spec{
				Type: function.StaticReturnType(cty.String),
				Impl: func([]cty.Value, cty.Type) (cty.Value, error) {
					return cty.StringVal(time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC).Format(time.RFC3339)), nil
				},
			}),
		},
	}

	locals := map[string]cty.Value{}
	for _, block := range content.Blocks.OfType("locals") {
		attributes, _ := block.Body.JustAttributes()
		for name, attribute := range attributes {
			locals[name], errs = attribute.Expr.Value(context)
			if errs.HasErrors() {
				trouble("%s", all(errs))
			}
		}
	}
	context.Variables["local"] = cty.ObjectVal(locals)

	sources := content.Blocks.OfType("source")
	if len(sources) != 1 || sources[0].Labels[0] != kind || sources[0].Labels[1] != "image" {
		return append(troubles, "want one source, "+kind+" image")
	}
	source, errs := hcldec.Decode(sources[0].Body, builderKeys(kind).spec(), context)
	if errs.HasErrors() {
		return append(troubles, all(errs))
	}
	get := func(name string) cty.Value { return source.GetAttr(name) }
	if kind != "null" && !get("ssh_clear_authorized_keys").RawEquals(cty.True) {
		trouble("the build's key stays in the image: ssh_clear_authorized_keys is not true")
	}
	if kind == "qemu" {
		// The recipe's folder is packer/<role> in the rendered one.
		if out := path.Clean(get("output_directory").AsString()); strings.HasPrefix(out, "/out/demo/") || !strings.HasPrefix(out, "/out/") {
			trouble("the image goes to %s, and render would refuse to replace that folder", out)
		}
	}
	if kind == "yandex" {
		if !get("metadata").IsNull() || !get("metadata_from_file").IsNull() {
			trouble("metadata can take the build's key away")
		}
		if name := get("image_name").AsString(); !regexp.MustCompile(`^[a-z][-a-z0-9]{0,61}[a-z0-9]$`).MatchString(name) {
			trouble("image_name %q is refused by the cloud", name)
		}
		if (get("source_image_id").AsString() == "") == (get("source_image_family").AsString() == "") {
			trouble("want a base image's id or family, and not both")
		}
		for _, name := range []string{"token", "service_account_key_file", "endpoint"} {
			if get(name).AsString() != "" {
				trouble("%s has a value", name)
			}
		}
	}

	builds := content.Blocks.OfType("build")
	if len(builds) != 1 {
		return append(troubles, "want one build")
	}
	build, errs := dynblock.Expand(builds[0].Body, context).Content(&hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{{Name: "name"}},
		Blocks: []hcl.BlockHeaderSchema{
			{Type: "source", LabelNames: []string{"reference"}}, {Type: "provisioner", LabelNames: []string{"type"}}},
	})
	if errs.HasErrors() {
		return append(troubles, all(errs))
	}
	if used := build.Blocks.OfType("source"); len(used) != 1 || used[0].Labels[0] != "source."+kind+".image" {
		trouble("sources are not the one that there is")
	}
	uploaded := map[string]bool{}
	for _, p := range build.Blocks.OfType("provisioner") {
		known := provisionerKeys(p.Labels[0])
		if known == nil {
			trouble("unknown provisioner %s", p.Labels[0])
			continue
		}
		got, errs := hcldec.Decode(p.Body, known.spec(), context)
		if errs.HasErrors() {
			trouble("%s", all(errs))
			continue
		}
		if p.Labels[0] == "shell" && !got.GetAttr("execute_command").IsNull() && got.GetAttr("inline").LengthInt() > 1 {
			trouble("execute_command goes past the shebang, which has -e: of several commands only the last one's status counts")
		}
		if p.Labels[0] == "file" {
			if !strings.HasSuffix(got.GetAttr("destination").AsString(), "/") {
				trouble("the destination of several files does not end in /: each would replace the one before")
			}
			for _, source := range got.GetAttr("sources").AsValueSlice() {
				upload(files, strings.TrimPrefix(source.AsString(), "/out/demo/packer/role/"), uploaded, trouble)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if on := strings.TrimPrefix(name, "../common/"); !strings.Contains(name, ".pkr") && !uploaded[on] {
			trouble("%s is not uploaded", name)
		}
	}
	return troubles
}

// upload adds the paths on the machine of a file or folder, as Packer gives them.
func upload(files map[string]string, local string, uploaded map[string]bool, trouble func(string, ...any)) {
	found := false
	for name := range files {
		if name == local || strings.HasPrefix(name, local+"/") {
			found = true
			uploaded[path.Base(local)+strings.TrimPrefix(name, local)] = true
		}
	}
	if !found {
		trouble("%s is uploaded and not in the recipe", local)
	}
}

// all are the problems, one a line; HCL's own text has the first only.
func all(errs hcl.Diagnostics) string {
	var list []string
	for _, e := range errs {
		list = append(list, e.Error())
	}
	return strings.Join(list, "\n")
}

// variables are those that blocks declare, with their values.
func variables(blocks hcl.Blocks, given hcl.Body, trouble func(string, ...any)) map[string]cty.Value {
	values := map[string]cty.Value{}
	attributes, errs := given.JustAttributes()
	if errs.HasErrors() {
		trouble("%s", all(errs))
	}
	for _, block := range blocks {
		name := block.Labels[0]
		content, errs := block.Body.Content(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{
			{Name: "type", Required: true}, {Name: "default"}, {Name: "description"}, {Name: "sensitive"},
		}})
		if errs.HasErrors() {
			trouble("%s", all(errs))
			continue
		}
		if sensitive := content.Attributes["sensitive"]; name == "token" && sensitive == nil {
			trouble("variable token is not sensitive: Packer would print it")
		}
		want, errs := typeexpr.TypeConstraint(content.Attributes["type"].Expr)
		if errs.HasErrors() {
			trouble("%s", all(errs))
			continue
		}
		attribute := attributes[name]
		if attribute == nil {
			attribute = content.Attributes["default"]
		}
		values[name] = cty.UnknownVal(want)
		if attribute == nil {
			trouble("variable %s has no value and no default", name)
			continue
		}
		got, errs := attribute.Expr.Value(nil)
		if errs.HasErrors() {
			trouble("%s", all(errs))
			continue
		}
		value, err := convert.Convert(got, want)
		// Packer would take "10" for a number, too; we do not write such.
		if err != nil || want.IsPrimitiveType() && got.Type() != want {
			trouble("variable %s is %s, want %s", name, got.Type().FriendlyName(), want.FriendlyName())
			continue
		}
		values[name] = value
	}
	for name := range attributes {
		if _, declared := values[name]; !declared {
			trouble("value %s has no variable", name)
		}
	}
	return values
}
