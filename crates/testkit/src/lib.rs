//! What tests share: a gateway in front of an emulated tenant, a client that writes raw bytes, and the programs that
//! tests start.

#![expect(clippy::panic, reason = "a test that cannot be set up must say so and stop")]

mod house;
mod program;
mod raw;
mod scissors;
pub mod soak;

pub use house::{APP, House, SECRET, Yaml};
pub use program::{Program, client, component, gateway_program};
pub use raw::{Answer, Raw};
pub use scissors::{Exchange, How, Relay, Scissors, Snip, Step, Wire};
