package generator_test

import (
	"os"
	"strings"
	"testing"

	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/roles"
)

// TestImages: how the images are baked is said for the builder of the spec.
func TestImages(t *testing.T) {
	tests := []struct {
		name, reason string
		builder      role.Builder
		script       bool
		say          []string
		silent       []string
	}{
		{"Yandex Cloud", "Packer makes a machine for each role", role.Yandex, true,
			[]string{"\n   sh packer/images.sh\n"}, []string{"seed_directory", "ADDRESS"}},
		{"QEMU", "the machines let in whom the seed says", role.QEMU, true,
			[]string{"sh packer/images.sh -var seed_directory=", "`../demo-etcd.image/demo-etcd.qcow2`"}, []string{"packer init", "ADDRESS"}},
		{"SSH", "there is one machine, and it takes one role", role.SSH, false,
			[]string{"(cd packer/etcd && packer build -var host=ADDRESS .)", "`192.0.2.7`", "Packer 1.9.5"}, []string{"images.sh", "packer init"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			src, err := os.ReadFile("example.yaml")
			if err != nil {
				t.Fatal(err)
			}
			c, err := generator.Read("example.yaml", src, roles.All())
			if err != nil {
				t.Fatal(err)
			}
			c.Images.Builder, c.Images.Base.Host = test.builder, "192.0.2.7"
			files, err := generator.Generate(c)
			if err != nil {
				t.Fatal(err)
			}
			if _, found := files["packer/images.sh"]; found != test.script {
				t.Errorf("%s: packer/images.sh is there: %v, want %v", test.reason, found, test.script)
			}
			readme := string(files["README.md"].Data)
			for _, text := range test.say {
				if !strings.Contains(readme, text) {
					t.Errorf("%s: README.md does not say %q", test.reason, text)
				}
			}
			for _, text := range test.silent {
				if strings.Contains(readme, text) {
					t.Errorf("%s: README.md says %q", test.reason, text)
				}
			}
		})
	}
}
