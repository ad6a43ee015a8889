//! Runs an emulated tenant until it is interrupted.
//!
//! ```text
//! cargo run -p emulator --example tenant -- 127.0.0.1:8900 lognormal:40ms:400ms
//! ```
//!
//! Prints its base URL. Both arguments may be left out: a free port, 50 ms.
#![expect(clippy::print_stdout, reason = "printing the address is what it is for")]

use std::error::Error;

use emulator::{Options, Tenant};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    if let Some(address) = arguments.next() {
        options.address = address.parse()?;
    }
    if let Some(time) = arguments.next() {
        options.service_time = time.parse()?;
    }

    let tenant = Tenant::start(options).await?;
    println!("{}", tenant.base_url());
    std::future::pending::<()>().await;
    Ok(())
}
