# Every verb in one line. CI runs .ci/run, which runs the same commands.

# format, lints, tests, end to end
ci:
    .ci/run

fmt:
    cargo fmt --all

lint:
    cargo clippy --workspace --all-targets -- -D warnings

test:
    cargo test --workspace

# the binary under real clients; the real model is used when it answers on 127.0.0.1:8081
e2e: 
    cargo build --workspace
    E2E_BINARY=${CARGO_TARGET_DIR:-target}/debug/testimony python3 -m pytest -q -rs --timeout 180 tests/e2e

# damage, failing system calls, full disks, power cuts; what CI runs
faults:
    cargo build --workspace
    E2E_BINARY=${CARGO_TARGET_DIR:-target}/debug/testimony python3 -m pytest -q -rs --timeout 1500 tests/faults

# the same and kill -9, in the numbers of a release
torture:
    cargo build --workspace
    TESTIMONY_CORRUPTIONS=200000 TESTIMONY_STRACE_POINTS=0 TESTIMONY_STRACE_SEALING_POINTS=0 TESTIMONY_FULL_DISK_SECONDS=600 TESTIMONY_POWER_CUTS=500 TESTIMONY_HAMMER_SECONDS=1800 \
    E2E_BINARY=${CARGO_TARGET_DIR:-target}/debug/testimony python3 -m pytest -q -rs --timeout 0 tests/faults
    ROUNDS=10000 cargo test --workspace --test crash -- --nocapture
    POWER_LOSSES=10000000 FAILPOINT_ROUNDS=100 cargo test --release --workspace --lib -- tests::power tests::failpoints --nocapture

# foreign programs check a log of 70,000 records
interop:
    cargo build --workspace --bins --examples
    E2E_BINARY=${CARGO_TARGET_DIR:-target}/debug/testimony python3 -m pytest -q -rs --timeout 180 tests/interop

# kill -9 under load, as many times as you like
crash rounds="1000":
    ROUNDS={{rounds}} cargo test -p testimony --test crash -- --nocapture

# the readers of all doors under libFuzzer: so many seconds each, all of them or those that are named
fuzz seconds="60" *targets:
    fuzz/run {{seconds}} {{targets}}

# figures side by side; parts: appends, gateway, verify, ingest, rules, growth, forward
bench *parts:
    cargo build --release --workspace
    cargo run --release -q --bin testimony-bench -- {{parts}}

demo:
    cargo run --release -- demo

# licences, duplicates, advisories (needs cargo-deny)
deny:
    cargo deny check
