//! `run`: serve.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use config::{LogFormat, LogLevel};
use telemetry::log::{Format, Level};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Duration;

use crate::gateway::Gateway;
use crate::reload::Source;

/// How long open calls may take to end by themselves once the gateway is asked to stop. After that, those that wait
/// for a turn are sent away, and those at Zuora get as long as Zuora may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The configuration; `config.example.yaml` shows every key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How many cores to use. One serves several thousand calls a second, far more than a tenant allows.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
}

impl Run {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let Some(source) = super::told(Source::read(&self.config)) else {
            return Ok(ExitCode::FAILURE);
        };
        let log = source.config().log;
        let format = match log.format {
            LogFormat::Json => Format::Json,
            LogFormat::Text => Format::Text,
        };
        let _log = telemetry::log::init(format, level(log.level))?;
        telemetry::log_panics();
        let served = super::runtime(self.threads.into())?.block_on(serve(source))?;
        Ok(if served { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Serves until a signal comes; `false` if calls had to be cut off.
async fn serve(source: Source) -> anyhow::Result<bool> {
    // Before anything is opened: a signal that comes early must not be lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;

    let mut gateway = Gateway::start(source.config()).await.context("cannot start")?;
    gateway.follow(source, hangup);
    let (address, admin) = (gateway.address(), gateway.admin_address());
    let callouts = gateway.callouts_address().map(tracing::field::display);
    tracing::info!(%address, %admin, callouts, version = env!("CARGO_PKG_VERSION"), "serving");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: open calls are finished, a second signal cuts them off");
    tokio::select! {
        ended = gateway.stop(PATIENCE) => {
            tracing::info!(everything_ended = ended, "stopped");
            Ok(ended)
        }
        _ = terminate.recv() => Ok(cut_off()),
        _ = interrupt.recv() => Ok(cut_off()),
    }
}

fn cut_off() -> bool {
    tracing::error!(
        "stopped at once: calls that were open are cut off, their outcome at Zuora is unknown"
    );
    false
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Trace => Level::TRACE,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    }
}
