//! What the kernel knows of this process, under the names that Prometheus gives it.
//!
//! A reader of four files of `/proc`, because the library's own one brings a crate for all of
//! `/proc`. Where a file cannot be read or understood, its metric is absent.

use std::{fmt::Write, fs};

/// `USER_HZ`, in which the kernel reports CPU time to programs: 100 on every architecture
/// that Rust's standard library supports on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Appends the metrics of this process to `text`.
pub(crate) fn render(text: &mut String) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let times = Times::read(&stat);
    if let Some(times) = &times {
        let name = "process_cpu_seconds_total";
        metric(text, name, "counter", "CPU time used, by user and system.", times.cpu_seconds);
    }
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().and_then(|it| resident(&it)) {
        let name = "process_resident_memory_bytes";
        metric(text, name, "gauge", "Memory in use.", bytes);
    }
    if let Some(count) = open_fds() {
        metric(text, "process_open_fds", "gauge", "Open file descriptors.", count);
    }
    let boot = fs::read_to_string("/proc/stat").ok().and_then(|it| boot_time(&it));
    if let (Some(times), Some(boot)) = (times, boot) {
        let name = "process_start_time_seconds";
        let help = "When the process started, in seconds since 1970.";
        metric(text, name, "gauge", help, boot + times.start_seconds_after_boot);
    }
}

fn metric(text: &mut String, name: &str, kind: &str, help: &str, value: f64) {
    write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
        .expect("writing to a string cannot fail");
}

/// The times in `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Times {
    cpu_seconds: f64,
    start_seconds_after_boot: f64,
}

impl Times {
    fn read(stat: &str) -> Option<Self> {
        // The second field is the program's name in parentheses; it may hold anything.
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        // proc_pid_stat(5) counts from one, and two fields are behind us.
        let seconds = |field: usize| -> Option<f64> {
            Some(fields.get(field - 3)?.parse::<f64>().ok()? / TICKS_PER_SECOND)
        };
        Some(Self {
            cpu_seconds: seconds(14)? + seconds(15)?,
            start_seconds_after_boot: seconds(22)?,
        })
    }
}

/// Reads the resident memory in bytes from `/proc/self/status`.
fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_fds() -> Option<f64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the directory being read.
    u32::try_from(count.saturating_sub(1)).ok().map(f64::from)
}

/// Reads the time of the last boot, in seconds since 1970, from `/proc/stat`.
fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_may_contain_anything() {
        let stat = "7 (a) b( 9 9) S 1 7 7 0 -1 4194560 99 0 0 0 250 50 0 0 20 0 3 0 12345 1 2";

        let times = Times::read(stat);

        assert_eq!(times, Some(Times { cpu_seconds: 3.0, start_seconds_after_boot: 123.45 }));
    }

    #[test]
    fn a_file_that_is_cut_off_gives_no_metric() {
        assert_eq!(Times::read("7 (name) S 1 7"), None);
        assert_eq!(resident("VmRSS:"), None);
        assert_eq!(boot_time("cpu 1 2 3"), None);
    }

    #[test]
    fn this_process_has_all_of_them() {
        let mut text = String::new();

        render(&mut text);

        for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "start_time_seconds"]
        {
            assert!(text.contains(&format!("\nprocess_{name} ")), "{name} is missing in {text}");
        }
    }
}
