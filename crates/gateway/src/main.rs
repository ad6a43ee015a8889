//! `zuora-gateway`: shares one Zuora tenant between many programs.

use std::process::ExitCode;

use clap::Parser;
use gateway::commands::Command;

/// Stands between a company's programs and its Zuora tenant: one shared token, the tenant's concurrency limits kept by
/// a fair queue, refusals waited out, writes never done twice.
///
/// Programs change one thing, their base URL. Try it without an account: `zuora-gateway demo`.
#[derive(Debug, Parser)]
#[command(name = "zuora-gateway", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // Wrong usage ends here, with 2.
    let Arguments { command } = Arguments::parse();
    match command.execute() {
        Ok(code) => code,
        Err(error) => {
            gateway::commands::complain(&error);
            ExitCode::FAILURE
        }
    }
}
