# Every command of this project, and the only list of them. `just` is a convenience: a recipe is
# one or more plain commands to be typed as they stand, one a line, without variables, arguments
# or prefixes of just's own. `.ci/run` depends on that: it reads the commands from here.

# What a change has to pass, but for the load generator.
all: fmt clippy test doc deny

# Is everything formatted?
fmt:
    cargo fmt --all --check

# Formats everything.
format:
    cargo fmt --all

# The lints. Every warning is an error.
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# All tests. They want root and the Debian packages that README names.
test:
    cargo test --workspace --locked

# The documentation, which must be without broken links.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# The rules for dependencies in deny.toml. Needs: cargo install --locked cargo-deny@0.20.2
deny:
    cargo deny --locked check -D warnings bans licenses sources

# A registry on port 8443 with its data in ./data.
run:
    cargo run --release --locked --bin registry -- serve --data-dir ./data

# Measures the registry against Debian's docker-registry. Some minutes, and 2.5 GiB of disk.
load:
    cargo build --release --locked -p registry-server
    cargo run --release --locked -p tests --bin load

# The same with less work: rough figures, in the time that CI has.
load-short:
    cargo build --release --locked -p registry-server
    cargo run --release --locked -p tests --bin load -- --short

# The binary that is given away, static: target/x86_64-unknown-linux-gnu/release/registry.
release:
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target x86_64-unknown-linux-gnu --bin registry
