//! Load without a pause, by wrk.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::process;

/// Prints the result in one line that needs no guessing of units.
const SCRIPT: &str = r#"
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration,
        e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99)))
end
"#;

/// What wrk is to do.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Keep-alive connections, each with one request under way all the time.
    pub connections: usize,
    /// Threads of wrk.
    pub threads: usize,
    /// How long, to whole seconds.
    pub seconds: u64,
    /// Cores that wrk may use.
    pub cores: &'a str,
    /// The value of `Authorization`.
    pub authorization: &'a str,
}

/// What wrk saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Answers received.
    pub requests: u64,
    /// How long it really took.
    pub elapsed: Duration,
    /// Broken connections, timeouts and statuses from 400 up.
    pub errors: u64,
    /// Median latency.
    pub p50: Duration,
    /// Latency that 99 of 100 answers did not exceed.
    pub p99: Duration,
}

impl Load<'_> {
    /// Runs wrk against `http://address/path` and waits for its end.
    ///
    /// # Errors
    /// When wrk is missing or fails.
    pub fn run(&self, address: SocketAddr, path: &str, dir: &Path) -> Result<Report> {
        let script = dir.join("result.lua");
        fs::write(&script, SCRIPT)?;
        let wrk = process::find("wrk").context("wrk is missing: run `make bench-tools`")?;
        let output = Command::new("taskset")
            .args(["-c", self.cores])
            .arg(wrk)
            .args(["-t", &self.threads.to_string(), "-c", &self.connections.to_string()])
            .args(["-d", &format!("{}s", self.seconds), "--timeout", "10s", "-s"])
            .arg(script)
            .args(["-H", &format!("Authorization: {}", self.authorization)])
            .arg(format!("http://{address}{path}"))
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk failed:\n{text}");
        read(&text).with_context(|| format!("wrk printed no result:\n{text}"))
    }
}

fn read(text: &str) -> Option<Report> {
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT "))?;
    let figures: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [requests, elapsed, errors, p50, p99] = figures.try_into().ok()?;
    let [elapsed, p50, p99] = [elapsed, p50, p99].map(Duration::from_micros);
    Some(Report { requests, elapsed, errors, p50, p99 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_read_from_among_other_lines() {
        let report = read("Running 2s test\nRESULT 1000 2000000 3 250 1200\n").unwrap();

        assert_eq!(report.requests, 1000);
        assert_eq!(report.errors, 3);
        assert_eq!(report.elapsed, Duration::from_secs(2));
        assert_eq!(report.p99, Duration::from_micros(1200));
    }
}
