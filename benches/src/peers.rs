//! The proxies that are compared, each told to do the same: give every request the tenant's
//! `Authorization` instead of its own, and a fresh `Zuora-Track-Id` unless it has one.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    client,
    process::{self, Running},
};

/// The gateway's configuration, with places to fill in.
const CONFIG: &str = include_str!("gateway.yaml");

/// Where the gateway is when it was built from this workspace.
const RELEASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/zuora-gateway");

/// The highest limit that the gateway's configuration takes: more than there are connections.
const NO_LIMIT: u32 = 10_000;

/// How many requests a check takes: a proxy may keep connections per core.
const CHECKS: usize = 16;

/// What operators of our gateway present to it.
const ADMIN_TOKEN: &str = "admin-0123456789abcdef0123456789abcdef";

/// How long a gateway may take from its first answer to having a token.
const READY: Duration = Duration::from_secs(10);

/// One proxy to be measured, not yet running.
#[derive(Clone, Debug)]
pub enum Kind {
    /// nginx with one worker. It has no queue.
    Nginx,
    /// HAProxy with one thread.
    HaProxy,
    /// Our gateway.
    Gateway(Gateway),
}

/// How to start our gateway, or any build or way of running it.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// What it is called in tables.
    pub name: String,
    /// The words of its command; `{config}` becomes the path of its configuration.
    pub command: Vec<String>,
    /// Its configuration; see `gateway.yaml` for the places that are filled in.
    pub config: String,
}

/// How to run the gateway, as an option of every measurement.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Commands {
    /// The gateway: BINARY, or a command with `{config}` in it. May be repeated, to compare
    /// builds or runtime models. [default: target/release/zuora-gateway]
    #[arg(long, value_name = "[NAME=]COMMAND")]
    gateway: Vec<String>,

    /// A configuration for the gateway, with the places of `benches/src/gateway.yaml`.
    #[arg(long, value_name = "FILE")]
    gateway_config: Option<PathBuf>,
}

/// Where a proxy finds what it needs.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// What it forwards to.
    pub upstream: SocketAddr,
    /// How many requests may be at the upstream at once; `None`: more than there will be.
    pub limit: Option<u32>,
    /// What nginx and HAProxy are to put in the place of the caller's credential. Our gateway
    /// fetches a token itself.
    pub token: &'a str,
    /// The names of the apps that may call our gateway.
    pub apps: &'a [&'a str],
    /// The core to pin it to.
    pub core: Option<&'a str>,
    /// A folder for its files.
    pub dir: &'a Path,
    /// What else our gateway's configuration says.
    pub keys: Keys<'a>,
}

/// Keys of our gateway's configuration that are only written when they are asked for, so that
/// builds can be compared that do not know them all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys<'a> {
    /// Permits of each pool that are left to others.
    pub headroom: u32,
    /// The longest that a refused call rests.
    pub retry_after_cap: Option<Duration>,
    /// The weights of apps by their names, of those that do not have the usual one.
    pub weights: &'a [(&'a str, u32)],
    /// Further keys of the tenant, a line each, as `lanes: account`.
    pub tenant: &'a [String],
}

/// A proxy that runs and accepts connections. Dropping it ends it.
#[derive(Debug)]
pub struct Peer {
    /// What it is called in tables.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    running: Running,
    controls: Option<Controls>,
}

/// What operators of our gateway have in hand.
#[derive(Clone, Debug)]
struct Controls {
    admin: SocketAddr,
    file: PathBuf,
    /// The configuration, with a place for the limit.
    config: String,
}

/// What operators of our gateway send as `Authorization`.
#[must_use]
pub fn admin_authorization() -> String {
    format!("Bearer {ADMIN_TOKEN}")
}

/// What an app of that name sends as `Authorization`.
#[must_use]
pub fn authorization(app: &str) -> String {
    format!("Bearer {}", secret(app))
}

fn secret(app: &str) -> String {
    format!("{app}-secret-0123456789abcdef0123456789abcdef")
}

impl Commands {
    /// The gateways that were asked for, or the release build of this workspace when none was.
    ///
    /// # Errors
    /// When a binary or the file does not exist.
    pub fn gateways(&self) -> Result<Vec<Gateway>> {
        let config = match &self.gateway_config {
            Some(file) => fs::read_to_string(file).with_context(|| file.display().to_string())?,
            None => CONFIG.to_owned(),
        };
        if self.gateway.is_empty() {
            return Ok(vec![Gateway::read(RELEASE, &config)?]);
        }
        self.gateway.iter().map(|command| Gateway::read(command, &config)).collect()
    }
}

impl Gateway {
    /// Reads `[NAME=]COMMAND`: a binary, which is run as `BINARY run --config {config}`, or
    /// a whole command with `{config}` in it. Without a name it is called `zuora-gateway`.
    ///
    /// # Errors
    /// When the binary does not exist.
    pub fn read(text: &str, config: &str) -> Result<Self> {
        let (name, command) = match text.split_once('=') {
            Some((name, command)) if !name.contains([' ', '/']) => (name, command),
            _ => ("zuora-gateway", text),
        };
        let mut command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let binary = command.first().context("an empty command")?;
        if binary.contains('/') {
            ensure!(
                Path::new(binary).is_file(),
                "there is no {binary}: build it with `cargo build --release -p gateway`"
            );
        }
        if !command.iter().any(|word| word.contains("{config}")) {
            command.extend(["run", "--config", "{config}"].map(str::to_owned));
        }
        Ok(Self { name: name.to_owned(), command, config: config.to_owned() })
    }

    fn start(&self, around: &Surroundings<'_>) -> Result<(Running, SocketAddr, Controls)> {
        let (address, admin) = (process::free_address()?, process::free_address()?);
        let dir = around.dir.join(self.name.replace([' ', '/'], "-"));
        fs::create_dir_all(&dir)?;
        let file = dir.join("gateway.yaml");
        let config = self.filled(around, address, admin, &dir)?;
        let controls = Controls { admin, file: file.clone(), config };
        controls.write(around.limit.unwrap_or(NO_LIMIT))?;

        let fill = |word: &String| word.replace("{config}", &file.display().to_string());
        let command: Vec<String> = self.command.iter().map(fill).collect();
        let mut running = Running::start(&self.name, around.core, &command, &dir)?;
        running.wait_for_port(address)?;
        Ok((running, address, controls))
    }

    /// The configuration with every place but the limit filled in.
    fn filled(
        &self,
        around: &Surroundings<'_>,
        listen: SocketAddr,
        admin: SocketAddr,
        dir: &Path,
    ) -> Result<String> {
        let mut apps = String::new();
        for (number, app) in around.apps.iter().enumerate() {
            let id = format!("00000000-0000-4000-8000-{number:012}");
            let secret = secret(app);
            let weight = around.keys.weights.iter().find(|(name, _)| name == app);
            let weight = weight.map_or(String::new(), |(_, weight)| format!(", weight: {weight}"));
            writeln!(
                apps,
                "  {app}: {{tenant: bench, client_id: {id}, secret: {secret}{weight}}}"
            )?;
        }
        let cap = around.keys.retry_after_cap;
        let cap =
            cap.map_or(String::new(), |cap| format!("retry_after_cap: {}ms", cap.as_millis()));
        Ok(self
            .config
            .replace("{listen}", &listen.to_string())
            .replace("{admin}", &admin.to_string())
            .replace("{admin_token}", ADMIN_TOKEN)
            .replace("{upstream}", &around.upstream.to_string())
            .replace("{headroom}", &around.keys.headroom.to_string())
            .replace("{retry_after_cap}", &cap)
            .replace("{tenant}", &around.keys.tenant.join("\n    "))
            .replace("{state_dir}", &dir.join("state").display().to_string())
            .replace("{apps}", apps.trim_end()))
    }
}

impl Controls {
    /// Writes the configuration with this limit, in one step: whoever reads it meanwhile reads
    /// the old one or the new one, whole.
    fn write(&self, limit: u32) -> Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, self.config.replace("{limit}", &limit.to_string()))?;
        Ok(fs::rename(&new, &self.file)?)
    }
}

impl Kind {
    /// What it is called in tables.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Nginx => "nginx, 1 worker",
            Self::HaProxy => "HAProxy, 1 thread",
            Self::Gateway(gateway) => &gateway.name,
        }
    }

    /// Starts it and waits until it answers a request with 200.
    ///
    /// # Errors
    /// With what it printed, when it does not start or does not answer.
    pub fn start(&self, around: &Surroundings<'_>) -> Result<Peer> {
        let ((running, address), controls) = match self {
            Self::Nginx => (nginx(around)?, None),
            Self::HaProxy => (haproxy(around)?, None),
            Self::Gateway(gateway) => {
                let (running, address, controls) = gateway.start(around)?;
                ((running, address), Some(controls))
            }
        };
        let peer = Peer { name: self.name().to_owned(), address, running, controls };
        peer.wait_until_it_answers(&authorization(around.apps[0]))?;
        Ok(peer)
    }
}

impl Peer {
    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Where operators connect, if it is our gateway.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.controls.as_ref().map(|controls| controls.admin)
    }

    /// Writes the tenant's limit anew in its configuration. It does not know until it is told to
    /// read it, or looks by itself.
    ///
    /// # Errors
    /// When it is not our gateway, or the file cannot be written.
    pub fn write_limit(&self, limit: u32) -> Result<()> {
        self.controls.as_ref().context("only our gateway has its limits in a file")?.write(limit)
    }

    /// The last lines that it printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Checks on nginx as upstream that it does the job which is compared: another
    /// `Authorization`, a track id that is never the same, and connections to the upstream kept.
    ///
    /// # Errors
    /// With what arrived at the upstream.
    pub fn check(&self, own: &str) -> Result<()> {
        let mut track_ids = BTreeSet::new();
        let mut is_kept = false;
        for _ in 0..CHECKS {
            let (_, answer) = client::get(self.address, "/v1/echo", own)?;
            let arrived: Value = serde_json::from_str(&answer)
                .with_context(|| format!("{} does not pass answers on: {answer}", self.name))?;
            let credential = arrived["authorization"].as_str().unwrap_or_default();
            let track_id = arrived["track_id"].as_str().unwrap_or_default();
            ensure!(
                !credential.is_empty() && credential != own,
                "{} does not replace the caller's credential: {answer}",
                self.name
            );
            ensure!(
                !track_id.is_empty() && track_ids.insert(track_id.to_owned()),
                "{} does not add a fresh track id: {answer}",
                self.name
            );
            is_kept |= arrived["reused"] != "1";
        }
        ensure!(is_kept, "{} opens a connection to the upstream per request", self.name);
        Ok(())
    }

    fn wait_until_it_answers(&self, authorization: &str) -> Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            match client::get(self.address, "/v1/accounts/A00000001", authorization) {
                Ok((StatusCode::OK, _)) => return Ok(()),
                Ok(_) | Err(_) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(50));
                }
                Ok((status, body)) => {
                    bail!("{} answers {status} {body}\n{}", self.name, self.running.log())
                }
                Err(error) => return Err(error.context(self.running.log())),
            }
        }
    }
}

fn nginx(around: &Surroundings<'_>) -> Result<(Running, SocketAddr)> {
    let address = process::free_address()?;
    let (upstream, token) = (around.upstream, around.token);
    let config = format!(
        r#"
daemon off; master_process off; worker_processes 1; pid peer.pid; error_log stderr error;
events {{ worker_connections 20000; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
    client_body_temp_path peer-body; proxy_temp_path peer-proxy;
    fastcgi_temp_path peer-1; uwsgi_temp_path peer-2; scgi_temp_path peer-3;
    client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
    upstream tenant {{
        server {upstream}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s;
    }}
    server {{
        listen {address} backlog=8192;
        location / {{
            proxy_pass http://tenant;
            proxy_http_version 1.1;
            proxy_read_timeout 600s;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {token}";
            proxy_set_header Zuora-Track-Id "bench-$request_id";
        }}
    }}
}}
"#
    );
    let dir = around.dir.display().to_string();
    let words = ["-e", "stderr", "-p", &dir, "-c"];
    start_tool("nginx", &words, "nginx.conf", &config, around).and_then(|mut running| {
        running.wait_for_port(address)?;
        Ok((running, address))
    })
}

fn haproxy(around: &Surroundings<'_>) -> Result<(Running, SocketAddr)> {
    let address = process::free_address()?;
    let (upstream, token) = (around.upstream, around.token);
    let limit = around.limit.map(|limit| format!("maxconn {limit}")).unwrap_or_default();
    let config = format!(
        r#"
global
    nbthread 1
    maxconn 9000
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout queue 600s
    http-reuse always
frontend apps
    bind {address} backlog 8192
    http-request set-header Authorization "Bearer {token}"
    http-request set-header Zuora-Track-Id bench-%[uuid()] unless {{ req.hdr(Zuora-Track-Id) -m found }}
    default_backend tenant
backend tenant
    server tenant {upstream} {limit}
"#
    );
    start_tool("haproxy", &["-db", "-f"], "haproxy.cfg", &config, around).and_then(|mut running| {
        running.wait_for_port(address)?;
        Ok((running, address))
    })
}

fn start_tool(
    tool: &str,
    words: &[&str],
    file: &str,
    config: &str,
    around: &Surroundings<'_>,
) -> Result<Running> {
    let program = process::find(tool)
        .with_context(|| format!("{tool} is missing: run `make bench-tools`"))?;
    let file = around.dir.join(file);
    fs::write(&file, config)?;
    let mut command = vec![program.display().to_string()];
    command.extend(words.iter().map(ToString::to_string));
    command.push(file.display().to_string());
    Running::start(tool, around.core, &command, around.dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_alone_is_run_with_our_configuration() {
        let gateway = Gateway::read("/bin/sh", CONFIG).unwrap();

        assert_eq!(gateway.name, "zuora-gateway");
        assert_eq!(gateway.command, ["/bin/sh", "run", "--config", "{config}"]);
    }

    #[test]
    fn a_whole_command_is_run_as_it_stands() {
        let text = "one-thread=env THREADS=1 /bin/sh run --config {config} --quiet";
        let gateway = Gateway::read(text, CONFIG).unwrap();

        assert_eq!(gateway.name, "one-thread");
        assert_eq!(gateway.command[..2], ["env", "THREADS=1"]);
        assert_eq!(gateway.command.len(), 7);
    }

    #[test]
    fn our_configuration_is_one_that_the_gateway_takes() {
        let config = configured(Keys::default());

        let concurrency = &config.tenants[0].concurrency;
        assert_eq!(config.apps.len(), 2);
        assert_eq!(concurrency.limits["Default"].limit.get(), 7);
        assert_eq!((concurrency.headroom, concurrency.retry_after_cap), (0, None));
    }

    #[test]
    fn what_is_asked_for_is_written() {
        let cap = Some(Duration::from_secs(2));
        let lines = ["lanes: account".to_owned(), "retry: {budget: 0.5}".to_owned()];
        let weights = &[("small", 5)];
        let keys = Keys { headroom: 3, retry_after_cap: cap, weights, tenant: &lines };

        let config = configured(keys);

        let concurrency = &config.tenants[0].concurrency;
        assert_eq!((concurrency.headroom, concurrency.retry_after_cap), (3, cap));
        assert_eq!(config.tenants[0].lanes, config::Lanes::Account);
        assert_eq!(config.tenants[0].retry.budget, 0.5);
        let weights = config.apps.iter().map(|app| (&*app.name, app.weight.get()));
        assert_eq!(weights.collect::<Vec<_>>(), [("big", 1), ("small", 5)]);
    }

    fn configured(keys: Keys<'_>) -> config::Config {
        let dir = tempfile::tempdir().unwrap();
        let (address, admin) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let around = Surroundings {
            upstream: address,
            limit: None,
            token: "",
            apps: &["big", "small"],
            core: None,
            dir: dir.path(),
            keys,
        };
        let gateway = Gateway::read("/bin/sh", CONFIG).unwrap();
        let file = dir.path().join("gateway.yaml");
        let config = gateway.filled(&around, address, admin, dir.path()).unwrap();
        let controls = Controls { admin, file: file.clone(), config };
        controls.write(7).unwrap();

        config::load(&file).unwrap()
    }

    #[test]
    fn a_missing_binary_names_the_command_that_builds_it() {
        let error = Gateway::read("ours=/no/such/file", CONFIG).unwrap_err().to_string();

        assert!(error.contains("cargo build --release"), "{error}");
    }
}
