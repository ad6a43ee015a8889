# Four commands are the whole workflow: fmt, clippy, test, doc. `make test` is the only one that needs more than cargo.
.PHONY: test sweep tools fmt clippy doc deny bench-tools

# Installs what the tests with real components need, then runs every test.
test: tools
	cargo build --locked
	cargo test --locked --workspace
	cargo test --locked -p admission --features model --test model --test lanes_model

# Plays every case of which `make test` plays a sample: the wire to Zuora cut at every byte, in every way, for every
# family of operations. Prints how many cases that were.
sweep:
	cargo test --locked --profile sweep -p tests --test sweep -- --ignored --nocapture

# curl, promtool and the published clients. Does nothing when everything is there.
tools:
	scripts/test-tools

# nginx, HAProxy and wrk, for the side-by-side benches only.
bench-tools:
	scripts/install nginx-light haproxy wrk

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked -p admission --features model --test model --test lanes_model -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

# Bans, licences, sources, and advisories where the network allows. Builds cargo-deny when it is missing.
deny:
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny@0.20.2
	cargo deny check bans licenses sources
	cargo deny check advisories || echo "advisories: not checked, the database could not be fetched"
