//! What the kernel says about processes and cores.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};

/// Cores for the proxy under test, and cores for everything else.
#[derive(Clone, Debug)]
pub struct Cores {
    /// What a proxy is pinned to.
    pub proxy: String,
    /// What load generators and upstreams are pinned to.
    pub rest: String,
}

impl Cores {
    /// Gives the proxy the cores it is to have, by default the last one, and the others to the
    /// rest; when none are left, all are shared, and only CPU time says something.
    ///
    /// # Errors
    /// With fewer than two cores: proxy and load would only measure each other.
    pub fn split(proxy: Option<&str>) -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let list = field(&status, "Cpus_allowed_list:").context("the kernel names no cores")?;
        let all = cores(list)?;
        ensure!(all.len() > 1, "a pinned run needs two cores; there is only {list}");
        let proxy = match proxy {
            Some(list) => cores(list).with_context(|| format!("{list} is no list of cores"))?,
            None => all[all.len() - 1..].to_vec(),
        };
        let rest: Vec<u32> = all.iter().copied().filter(|core| !proxy.contains(core)).collect();
        let rest = if rest.is_empty() { all } else { rest };
        let join =
            |cores: &[u32]| cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Ok(Self { proxy: join(&proxy), rest: join(&rest) })
    }
}

/// Reads the kernel's notation, such as `0-3,8`.
fn cores(list: &str) -> Result<Vec<u32>> {
    let mut cores = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores.extend(first.trim().parse::<u32>()?..=last.trim().parse::<u32>()?);
    }
    Ok(cores)
}

/// CPU time that the living threads of a process have used, user and kernel together.
///
/// From `schedstat`, to the nanosecond. What a thread used that has ended since is missing,
/// so differences are right only while threads stay, as workers of a proxy do.
///
/// # Errors
/// When the process is gone.
pub fn cpu_time(id: u32) -> Result<Duration> {
    let threads = fs::read_dir(format!("/proc/{id}/task"))
        .with_context(|| format!("process {id} is gone"))?;
    let mut total = 0;
    for thread in threads {
        // A thread may end between being listed and being read.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let used = text.split_whitespace().next().context("schedstat is empty")?;
        total += used.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// The most that was ever resident.
    pub peak: u64,
}

impl Memory {
    /// Reads the memory of a process.
    ///
    /// Resident memory comes from `smaps_rollup`, which walks the pages: the counters in
    /// `status` may lag behind by a batch per core.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn of(id: u32) -> Result<Self> {
        let kib = |file: &str, name: &str| -> Result<u64> {
            let text = fs::read_to_string(format!("/proc/{id}/{file}"))
                .with_context(|| format!("process {id} is gone"))?;
            let value = field(&text, name).with_context(|| format!("{file} lacks {name}"))?;
            Ok(value.trim_end_matches("kB").trim().parse()?)
        };
        let (resident, peak) = (kib("smaps_rollup", "Rss:")?, kib("status", "VmHWM:")?);
        Ok(Self { resident, peak: peak.max(resident) })
    }
}

/// Time that all cores together were busy since the machine started, to 10 ms.
///
/// # Errors
/// When `/proc/stat` cannot be read.
pub fn busy() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let ticks = line.split_whitespace().skip(1).map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks.as_slice() else {
        bail!("/proc/stat has too few columns");
    };
    Ok(Duration::from_millis((user + nice + system + irq + softirq + steal) * 10))
}

/// CPU time of this process and of those it started and that have ended, to 10 ms.
///
/// # Errors
/// When `/proc/self/stat` cannot be read.
pub fn own_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name in brackets may hold anything; the columns are counted from behind it.
    let (_, columns) = stat.rsplit_once(')').context("/proc/self/stat is malformed")?;
    let times = columns.split_whitespace().skip(11).take(4).map(str::parse::<u64>);
    Ok(Duration::from_millis(times.sum::<Result<u64, _>>()? * 10))
}

/// Lets this process, and all that it starts, hold as many files open as the system allows.
///
/// # Errors
/// When that is fewer than `needed`.
pub fn raise_file_limit(needed: u64) -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = field(&limits, "Max open files").context("/proc/self/limits is malformed")?;
    let mut columns = line.split_whitespace();
    let (_soft, hard) = (columns.next(), columns.next().context("no hard limit")?);
    let hard: u64 = if hard == "unlimited" { needed } else { hard.parse()? };
    ensure!(hard >= needed, "{needed} open files are needed, and only {hard} are allowed");

    let status = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string(), &format!("--nofile={hard}:{hard}")])
        .status()
        .context("cannot run prlimit (package util-linux)")?;
    ensure!(status.success(), "prlimit could not raise the limit of open files");
    Ok(())
}

/// A line about the machine, to stand beside results.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn description() -> Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = field(&info, "model name").unwrap_or("unknown processor");
    let model = model.trim_start_matches([':', ' ', '\t']);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!("{cores} cores, {model}, Linux {}, load {load} at the start", kernel.trim()))
}

/// What follows `name` on its line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn ranges_of_cores_are_spelled_out() {
        assert_eq!(cores("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert_eq!(cores("7").unwrap(), [7]);
    }

    #[test]
    fn what_the_proxy_does_not_have_is_left_to_the_rest() {
        let Ok(one) = Cores::split(None) else { return };
        let all = format!("{},{}", one.rest, one.proxy);
        assert_ne!(one.proxy, one.rest);

        let shared = Cores::split(Some(&all)).unwrap();

        assert_eq!(cores(&shared.rest).unwrap().len(), cores(&all).unwrap().len());
        assert!(Cores::split(Some("first")).is_err());
    }

    #[test]
    fn work_shows_in_the_cpu_time_of_a_process() {
        let before = cpu_time(std::process::id()).unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }

        assert!(cpu_time(std::process::id()).unwrap() > before);
    }

    #[test]
    fn memory_is_read_in_kib() {
        let memory = Memory::of(std::process::id()).unwrap();

        assert!(memory.resident > 100, "{memory:?}");
        assert!(memory.peak >= memory.resident, "{memory:?}");
    }

    #[test]
    fn a_process_that_is_gone_has_no_figures() {
        assert!(cpu_time(u32::MAX).is_err());
        assert!(Memory::of(u32::MAX).is_err());
    }
}
