# Two commands do all: make render, and make test.

SHELL = /bin/bash
.SHELLFLAGS = -eu -o pipefail -c

spec = generator/example.yaml
go_files = $(shell git ls-files '*.go')
shell_files = $(shell git ls-files '*.sh' .ci/run .ci/packages)

.PHONY: render test packages lint figures fuzz bench-bake

# Everything that a cluster needs, for the example: out/demo. Needs Go alone.
render:
	go run ./cmd/pgha-gen render -f $(spec) -o out

# As root: installs the Debian packages that it needs, and runs machines.
# Otherwise: says what it leaves out.
test: packages lint
	go test $$(go list ./... | grep -v /lab)
	cd packer/plugin && go test ./...
	go test -p 1 -v -timeout 30m ./lab/... | grep -v '^=== '

packages:
	.ci/packages

lint:
	@test -z "$$(gofmt -l $(go_files))" || { echo "not gofmt:"; gofmt -l $(go_files); exit 1; }
	go vet ./...
	go tool -modfile=.ci/tools/go.mod staticcheck ./...
	go mod tidy -diff
	cd lab/etcd && go mod tidy -diff
	cd packer/plugin && go vet ./... && go tool -modfile=../../.ci/tools/go.mod staticcheck ./... && go mod tidy -diff
	@if command -v shellcheck >/dev/null; then echo shellcheck; shellcheck -x $(shell_files); else echo "no shellcheck: scripts are not judged" >&2; fi

# The figures of docs/figures.md that concern the command.
figures:
	go test -run '^$$' -bench . -benchmem ./generator
	go build -o bin/pgha-gen ./cmd/pgha-gen
	hyperfine --shell=none --warmup 5 'bin/pgha-gen render -f $(spec) -o bin/out' 2>/dev/null
	/usr/bin/time -v bin/pgha-gen render -f $(spec) -o bin/out 2>&1 >/dev/null | grep -E 'Maximum resident|Elapsed'

# As root: per role, seconds of the bake beside those of apt-get alone with the
# same packages, and the growth of the image beside the packages' own size.
bench-bake: packages
	go test -run '^$$' -bench BenchmarkBake -benchtime 1x -count 3 -timeout 30m ./lab

# Five minutes on the reader of specs.
fuzz:
	go test -run '^$$' -fuzz FuzzRead -fuzztime 5m ./generator
