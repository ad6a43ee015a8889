//! Hundreds of seeded lives, judged by a stand-in for the tenant.
//!
//! The judge keeps its own books from what it sees: who asked, who came, who was refused. It shares
//! no code with what it judges; what may be in flight it works out from the story so far, told from
//! the beginning each time. `SIM_SEED=49 cargo test -p admission simulation` replays one life.

mod judge;
mod life;

/// Seeds of the lives that every run of the tests goes through.
const LIVES: u64 = 256;

#[test]
fn no_life_breaks_a_promise() {
    #[expect(clippy::disallowed_methods, reason = "a test is replayed by hand")]
    let only = std::env::var("SIM_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds = only.map_or(0..LIVES, |seed: u64| seed..seed + 1);
    let mut seen = judge::Seen::default();
    for seed in seeds {
        let life = std::panic::AssertUnwindSafe(|| runtime().block_on(life::live(seed)));
        match std::panic::catch_unwind(life) {
            Ok(saw) => seen += saw,
            Err(_) => panic!("replay with SIM_SEED={seed}"),
        }
    }
    if only.is_none() {
        seen.everything_happened();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}
