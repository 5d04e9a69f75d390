# The pattern "work" stands for every package of every module in go.work; what
# works on one module at a time gets the modules from there, too.
modules = $$(go list -m -f '{{.Dir}}')

# Pinned, so that a commit that is green stays green; raised by hand.
# ST1005: error texts that begin with a method's name begin with a capital.
staticcheck = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -checks=inherit,-ST1005

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: ## the library and every behaviour, in minutes; databases that are not there are skipped
	go test ./... ./compat

.PHONY: all
all: ## the same depth in all modules
	go test work

# Some packages take longer than the default of ten minutes on a busy machine.
.PHONY: full
full: ## the same on every backend, with every fault: the full depth
	USERSESSION_TEST_DEPTH=full go test -timeout 30m work

.PHONY: race
race: ## the full depth with the race detector, in random order
	USERSESSION_TEST_DEPTH=full go test -race -shuffle=on -timeout 30m work

.PHONY: fuzz
fuzz: ## each fuzz target for ten minutes, or for FUZZTIME, one after the other
	.ci/fuzz

.PHONY: lint
lint: ## gofmt, go vet and staticcheck
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt would change: $$files"; exit 1; }
	go vet work
	$(staticcheck) work

.PHONY: tidy
tidy: ## what go.mod, go.sum and go.work.sum have to say, all of it
	@set -e; for module in $(modules); do (cd "$$module" && GOWORK=off go mod tidy); done
	go mod download
	go list -m all >/dev/null

.PHONY: examples
examples: ## build the examples
	@set -e; for example in $$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' work | grep /examples/); do \
		echo "go build $$example"; go build -o /dev/null "$$example"; \
	done

.PHONY: ci
ci: ## all that has to be green before a merge, from the last commit
	.ci/run

.PHONY: fmt
fmt: ## format the code
	gofmt -w .
