//! A gateway in front of an emulated tenant, both on free ports of the loopback.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use emulator::{Options, Tenant};
use gateway::Gateway;
use tempfile::TempDir;

/// The app that [`Yaml::default`] knows, by its client id; its name is `app`.
pub const APP: &str = "6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11";

/// The secret of [`APP`].
pub const SECRET: &str = "the-secret-of-the-app";

/// What an emulated tenant needs. It has neither people in the UI nor, unless asked for, windows.
const TENANT: [(&str, &str); 3] = [
    ("credentials", "{oauth: {client_id: the-gateway, client_secret: the-secret-of-the-gateway}}"),
    ("concurrency", "{headroom: 0}"),
    ("rate", "{per_minute: null, per_hour: null, per_day: null}"),
];

/// A configuration, as an operator would write it. The default serves one app and one tenant, all of it on loopback.
#[derive(Clone, Debug, Default)]
pub struct Yaml {
    /// Further keys of `listen`, each a line such as `max_connections: 5`.
    pub listen: Vec<String>,
    /// Further keys of the tenant, as `queue: {timeout: 2s}`, or others in place of its `credentials`.
    pub tenant: Vec<String>,
    /// Further tenants: a name, and its keys besides `credentials`, `concurrency` and `rate`.
    pub tenants: Vec<(String, String)>,
    /// Further keys of the app, as `deny: ["DELETE /**"]`, or another `tenant`.
    pub app: Vec<String>,
    /// Further apps: a name, and its keys; without a `tenant`, that of the app.
    pub apps: Vec<(String, String)>,
    /// Further keys of the file, as `anonymous: app`.
    pub top: Vec<String>,
}

impl Yaml {
    /// The file, for a tenant at `base_url`, with `state_dir` for what survives a restart.
    #[must_use]
    pub fn text(&self, base_url: &str, state_dir: &Path) -> String {
        let mut text = String::from("listen:\n  address: \"127.0.0.1:0\"\n");
        indent(&mut text, 2, &self.listen);
        let _ = write!(
            text,
            "admin: {{address: \"127.0.0.1:0\"}}
state_dir: {state}
tenants:
  production:
    base_url: {base_url}
",
            state = state_dir.display()
        );
        for (key, value) in TENANT {
            if !self.tenant.iter().any(|line| line.starts_with(key)) {
                let _ = writeln!(text, "    {key}: {value}");
            }
        }
        indent(&mut text, 4, &self.tenant);
        for (name, keys) in &self.tenants {
            let usual = TENANT.map(|(key, value)| format!("{key}: {value}")).join(", ");
            let _ = writeln!(text, "  {name}: {{{usual}, {keys}}}");
        }
        let _ = write!(text, "apps:\n  app:\n    client_id: {APP}\n    secret: {SECRET}\n");
        if !self.app.iter().any(|line| line.starts_with("tenant:")) {
            text.push_str("    tenant: production\n");
        }
        indent(&mut text, 4, &self.app);
        for (name, keys) in &self.apps {
            let usual = if keys.contains("tenant:") { "" } else { "tenant: production, " };
            let _ = writeln!(text, "  {name}: {{{usual}{keys}}}");
        }
        indent(&mut text, 0, &self.top);
        text
    }
}

fn indent(text: &mut String, columns: usize, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "{:columns$}{line}", "");
    }
}

/// A running gateway with the tenant behind it. Everything ends when the test does.
#[derive(Debug)]
pub struct House {
    /// The tenant: the judge of what was really asked of it.
    pub tenant: Tenant,
    /// The gateway under test.
    pub gateway: Gateway,
    state: TempDir,
}

impl House {
    /// Starts a tenant as `options` say, and a gateway as `yaml` says.
    pub async fn start(options: Options, yaml: &Yaml) -> Self {
        let tenant = Tenant::start(options).await.expect("a free port");
        let base_url = tenant.base_url();
        Self::before(tenant, &base_url, yaml).await
    }

    /// Starts a gateway for `tenant`, which it reaches at `base_url`: the tenant's own, or that of something between.
    pub async fn before(tenant: Tenant, base_url: &str, yaml: &Yaml) -> Self {
        let state = TempDir::new().expect("a temporary directory");
        let text = yaml.text(base_url, state.path());
        let config = config::parse(&text, Path::new("test.yaml"), &config::ProcessEnvironment);
        let config = config.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let gateway = Gateway::start(&config).await.expect("free ports");
        Self { tenant, gateway, state }
    }

    /// A tenant with calls that take `service_time`, and the default configuration.
    pub async fn plain(service_time: Duration) -> Self {
        let service_time = emulator::ServiceTime::Constant(service_time);
        Self::start(Options { service_time, ..Options::default() }, &Yaml::default()).await
    }

    /// Where apps connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// The base URL that an app would be given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.gateway.address())
    }

    /// The admin port's base URL.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.gateway.admin_address())
    }

    /// What survives a restart.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }
}
