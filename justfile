# Everyday commands, for `just` (https://just.systems). Each one calls a script or cargo; CONTRIBUTING.md explains them.

# List the commands
default:
    @just --list --unsorted

# Start Waybill with its servers on this machine
up *arguments:
    scripts/up {{arguments}}

# Stop a stack that was started with --detach
down:
    scripts/down

# Run tests with servers; arguments are those of cargo test
test *arguments:
    scripts/test {{arguments}}

# Run the tests that need no servers
test-fast:
    cargo test --locked -p waybill-schema -p waybill-domain

# Format all code
fmt:
    cargo fmt --all
    cargo fmt --manifest-path fuzz/Cargo.toml

# Run the checks that take seconds, and clippy
lint:
    cargo fmt --all --check
    scripts/check-arrows
    scripts/check-reads
    scripts/check-compose
    scripts/measure --limits
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Run all checks of CI
ci:
    bash .ci/run

# Write the generated parts of the documentation, and missing golden bytes
docs:
    WAYBILL_WRITE_GOLDEN=1 cargo test --locked -p waybill-schema
    WAYBILL_WRITE_DOCS=1 cargo test --locked -p waybill --lib reference

# Run each fuzz target for this number of seconds
fuzz seconds="60" *targets:
    scripts/fuzz {{seconds}} {{targets}}

# Find unused and forbidden dependencies
dependencies *arguments:
    scripts/check-dependencies {{arguments}}

# Measure Waybill; bench/README.md describes the arguments
bench *arguments:
    bench/run {{arguments}}
