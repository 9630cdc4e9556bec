# Two commands do all: make render, and make test.

SHELL = /bin/bash
.SHELLFLAGS = -eu -o pipefail -c

spec = docs/reference.yaml
cluster = demo
options =
go_files = $(shell git ls-files '*.go')
shell_files = $(shell git ls-files '*.sh' .ci/run .ci/packages .ci/fresh ':!out')

.PHONY: render test lab packages lint figures fuzz bench-bake test-bake test-fresh drill test-long catalogue images

# The reference of the spec, and everything that its cluster needs: out/demo; and
# that of examples/production.yaml.
# Needs Go alone.
render:
	go run ./cmd/pgha-gen reference >docs/reference.yaml.new
	mv docs/reference.yaml.new docs/reference.yaml
	go run ./cmd/pgha-gen render -f $(spec) -o out
	go run ./cmd/pgha-gen render -f examples/production.yaml -o out

# What the lab tries before all else, since a slow host may have no time for the
# rest: images, what judges say of our files, boot, failover, backups, replacement, security.
first = TestImages|TestJudges|TestCluster|TestDrill|TestSwitchover|TestBackup|TestEmptyNodeNeverFounds|TestSecurity

# As root: installs the Debian packages that it needs, and runs machines.
# Otherwise: says what it leaves out. What comes last is tried in an order that each
# commit draws anew, so that a slow host does not always leave out the same.
test: packages lint
	go test -timeout 20m $$(go list ./... | grep -v -e /lab -e /pgha-lab)
	cd packer/plugin && go test ./...
	go test -p 1 -v -timeout 20m $$(go list ./lab/... | grep -v '/lab$$') | grep -v '^=== '
	go test -p 1 -v -timeout 60m -run '^($(first))$$' ./lab | grep -v '^=== '
	seed=$$(printf %d 0x$$(git rev-parse HEAD | cut -c -8)); \
	rest=$$(if [ $$((seed % 2)) = 0 ]; then echo ./lab ./cmd/pgha-lab; else echo ./cmd/pgha-lab ./lab; fi); \
	go test -p 1 -v -timeout 90m -shuffle $$seed -skip '^($(first))$$' $$rest | grep -v '^=== '

# As root: the example cluster on this host. Then bin/pgha-lab psql, status, down.
lab: packages
	go build -o bin/ ./cmd/pgha-lab ./cmd/pgha-gen
	bin/pgha-lab up -f $(spec)

packages:
	.ci/packages

# As root: bakes the etcd image in QEMU, and boots it there. Six minutes.
test-bake:
	.ci/packages qemu
	PGHA_TEST_QEMU=yes go test -count=1 -v -timeout 20m -run TestQEMU ./lab

# As root: what README.md tells a newcomer, in a bare Debian that has Go, git and
# make alone: render, init, and both lists of packages. Two minutes.
test-fresh: packages
	.ci/fresh

# As root: every scenario that the cluster of lab/drill/pgha.yaml can have (make
# test-long has those of an agreement and of two HAProxies), so many rounds each, with
# failover=fast, balanced or safe and durability=async, sync, strict or quorum.
# What was measured is kept round by round in bin/drill, with a page: run it again
# to go on. An hour and a half a round at most.
failover = fast
durability = quorum
rounds = 5
drill: packages
	go build -o bin/ ./cmd/pgha-lab
	timeout -s TERM $$((90 * $(rounds)))m bin/pgha-lab --network pghadr drill -f lab/drill/pgha.yaml --rounds $(rounds) \
		--failover $(failover) --durability $(durability) --results bin/drill

# As root: what is no scenario, and what make test leaves out for its length: a
# stop with so many megabytes dirty in memory, a disk that fills and has room again,
# machines replaced, with empty disks and by pairs, the example for production, a
# machine that stands still for a minute, a cluster founded from its own backups, the
# figures of backups, what can happen to them (drills), a failover by agreement, and the
# scenarios of that and of two HAProxies, which make drill leaves out.
# It may take an hour and three quarters.
dirty = 256
test-long: packages
	PGHA_TEST_LONG=yes PGHA_TEST_FAILOVER=$(failover) PGHA_TEST_DIRTY=$(dirty) go test -count=1 -v -timeout 105m -run 'TestStopDirty|TestFullDisk|TestOperatorsByName|TestDeploy|TestRollPair|TestProduction|TestMaintenance|TestBackupItself|TestBackupFigures|TestBackupCost|TestBackupLost|TestDrillBackups|TestDrillAgreement|TestAgreement$$' ./lab | grep -v '^=== '

# As root: what each PostgreSQL says of its parameters, from Debian's packages,
# into roles/patroni/catalogue/data. Three minutes.
catalogue: packages
	roles/patroni/catalogue/make.sh

# Bakes the images of the example, or of another cluster below out/, side by
# side: make images cluster=mydb options='-var zone=ru-central1-b'
images:
	sh out/$(cluster)/packer/images.sh $(options)

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
	go test -run '^$$' -fuzz FuzzRead -fuzztime 5m -fuzzminimizetime 10x ./generator
