//! From a path or a text to a configuration, or to everything that is wrong.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::environment::{Environment, Noting, open_file, why};
use crate::reading::{Field, Reading};
use crate::yaml::Node;
use crate::{Config, Problems, file, resolve};

/// Far more than any configuration; a larger file is something else.
const LARGEST_CONFIGURATION: u64 = 1024 * 1024;

/// A configuration, and what it was read from.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file itself, those of `${file:…}`, and those that the configuration names: when one of
    /// them changes, it is another configuration.
    pub files: BTreeSet<PathBuf>,
}

/// Reads the configuration file `path`, with the environment of this process.
///
/// Besides the file this opens those that it names: the ones of `${file:…}`,
/// and certificates, only to see that they can be read.
///
/// # Errors
/// Everything that is wrong with the file, or that it cannot be read.
pub fn load(path: &Path) -> Result<Config, Problems> {
    load_with_files(path).map(|loaded| loaded.config)
}

/// Reads the configuration file `path` as [`load`] does, and tells what it was read from.
///
/// # Errors
/// As [`load`].
pub fn load_with_files(path: &Path) -> Result<Loaded, Problems> {
    let text = open_file(path).and_then(read_text).map_err(|why| {
        Problems::of_file(path, format!("the configuration cannot be read: {why}"))
    })?;
    let environment = Noting::default();
    let config = parse(&text, path, &environment)?;
    let mut files = environment.files();
    files.insert(path.to_owned());
    files.extend(named_files(&config).cloned());
    Ok(Loaded { config, files })
}

/// Reads `text` as the configuration file `name_of_file`: the name is what
/// problems are reported under, and its directory is where relative paths
/// begin. Variables are taken from `environment`.
///
/// # Errors
/// Everything that is wrong with the text.
pub fn parse(
    text: &str,
    name_of_file: &Path,
    environment: &dyn Environment,
) -> Result<Config, Problems> {
    let directory = name_of_file.parent().unwrap_or(Path::new(""));
    let mut reading = Reading { environment, directory, found: Vec::new() };
    let config = match Node::parse(text) {
        Ok(root) => file::File::read(&root, &mut reading)
            .and_then(|file| resolve::resolve(file, &mut reading)),
        Err(broken) => {
            reading.found.push(broken);
            None
        }
    };
    match config {
        Some(config) if reading.found.is_empty() => Ok(config),
        _ => Err(Problems::in_file(name_of_file, reading.found)),
    }
}

/// The files that `config` names, for others to read.
fn named_files(config: &Config) -> impl Iterator<Item = &PathBuf> {
    let callouts = config.listen.callouts.as_ref().and_then(|callouts| callouts.tls.as_ref());
    let tls = config.listen.tls.iter().chain(callouts);
    let tls = tls.flat_map(|tls| [&tls.certificate, &tls.key].into_iter().chain(&tls.client_ca));
    tls.chain(config.tenants.iter().filter_map(|tenant| tenant.ca_certificate.as_ref()))
}

fn read_text(file: File) -> Result<String, String> {
    let mut text = String::new();
    match file.take(LARGEST_CONFIGURATION + 1).read_to_string(&mut text) {
        Ok(length) if length as u64 > LARGEST_CONFIGURATION => {
            Err(format!("it is larger than {LARGEST_CONFIGURATION} bytes"))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(why(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_file_that_the_configuration_hangs_on_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let names = [
            "ca.pem",
            "callouts.pem",
            "clients.pem",
            "key.pem",
            "other.pem",
            "secret",
            "server.pem",
        ];
        for name in names {
            fs::write(path(name), "hidden").unwrap();
        }
        let text = "\
listen:
  tls: {certificate: server.pem, key: key.pem, client_ca: clients.pem}
  callouts: {address: \"127.0.0.1:0\", tls: {certificate: callouts.pem, key: other.pem}}
tenants:
  production:
    base_url: https://rest.zuora.com
    ca_certificate: ca.pem
    credentials: {oauth: {client_id: id, client_secret: \"${file:secret}\"}}
apps:
  one: {tenant: production, client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11, secret: s}
";
        fs::write(path("gw.yaml"), text).unwrap();

        let loaded = load_with_files(&path("gw.yaml")).unwrap();

        let expected = names.into_iter().chain(["gw.yaml"]).map(path);
        assert_eq!(loaded.files, expected.collect());
    }
}
