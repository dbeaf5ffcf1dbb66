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

# Power cuts: 20,000 states of the disk, and every single sync dropped in turn. Half an hour.
power-long:
    REGISTRY_POWER_STATES=20000 cargo test -p tests --test suite --locked power:: -- --nocapture

# Power cuts at every moment of all triples of operations; `test` plays all pairs. An hour.
power-triples:
    REGISTRY_POWER_LENGTH=3 cargo test -p tests --test suite --locked power::pairs -- --nocapture

# What bullies cost their victims: medians and 99th percentiles, with and without. Ten minutes;
# BULLY=words measures those alone that are called so.
bully:
    cargo test -p tests --test suite --locked bully::what_each -- --ignored --nocapture

# Feeds what reads media with whatever a fuzzer thinks of, ten minutes a format. What it finds is
# kept in `found` beside the corpus for the next time. Needs a nightly toolchain, a compiler for
# C++, and: cargo install --locked cargo-fuzz@0.13.1
fuzz:
    for target in tar zstd layout distribution oc_mirror oc_directory bundle receipt; do mkdir -p storage/archive/fuzz/found/$target && cargo +nightly fuzz run --fuzz-dir storage/archive/fuzz $target storage/archive/fuzz/found/$target storage/archive/fuzz/corpus/$target -- -dict=storage/archive/fuzz/words.dict -timeout=20 -max_total_time=600 || exit 1; done
    mkdir -p storage/fuzz/found/quay
    cargo +nightly fuzz run --fuzz-dir storage/fuzz quay storage/fuzz/found/quay storage/fuzz/corpus/quay -- -dict=storage/fuzz/words.dict -timeout=20 -max_total_time=600

# The documentation, which must be without broken links.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# The rules for dependencies in deny.toml. Needs: cargo install --locked cargo-deny@0.20.2
deny:
    cargo deny --locked check -D warnings bans licenses sources

# A registry on port 8443 with its data in ./data.
run:
    cargo run --release --locked --bin registry -- serve --data-dir ./data

# Measures the file that is given away against Debian's docker-registry, and nginx with a file.
# Half an hour, 5 GiB of disk; as root it counts what the disk is asked for.
load:
    cargo static
    cargo run --release --locked -p tests --bin load

# The same with less work: rough figures, in the time that CI has. The generator itself is the one
# that the tests have built; what it measures is not.
load-short:
    cargo static
    cargo run --locked -p tests --bin load -- --short

# Kills the server 500 times under load, and holds it against a model after each. Some minutes.
kills-long:
    KILLS=500 cargo test -p tests --test suite --locked -- --nocapture kill::

# An hour of mixed load by 32 clients while the server collects every three seconds, verifies and
# scrubs: does it answer as it must, is nothing lost, and does nothing grow?
soak:
    SOAK_SECONDS=3600 cargo test -p tests --test suite --locked -- --ignored --nocapture soak::

# Ten minutes of the same. It collects every three seconds, as the others do.
soak-collect:
    SOAK_SECONDS=600 cargo test -p tests --test suite --locked -- --ignored --nocapture soak::

# Two minutes of the same.
soak-short:
    SOAK_SECONDS=120 cargo test -p tests --test suite --locked -- --ignored --nocapture soak::

# The file that is given away: target/x86_64-unknown-linux-gnu/release/registry. The command stands
# with its flags in .cargo/config.toml.
release:
    cargo static
