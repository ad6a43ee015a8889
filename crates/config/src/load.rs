//! From a path or a text to a configuration, or to everything that is wrong.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::environment::{Environment, ProcessEnvironment, open_file, why};
use crate::reading::{Field, Reading};
use crate::yaml::Node;
use crate::{Config, Problems, file, resolve};

/// Far more than any configuration; a larger file is something else.
const LARGEST_CONFIGURATION: u64 = 1024 * 1024;

/// Reads the configuration file `path`, with the environment of this process.
///
/// Besides the file this opens those that it names: the ones of `${file:…}`,
/// and certificates, only to see that they can be read.
///
/// # Errors
/// Everything that is wrong with the file, or that it cannot be read.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let text = open_file(path).and_then(read_text).map_err(|why| {
        Problems::of_file(path, format!("the configuration cannot be read: {why}"))
    })?;
    parse(&text, path, &ProcessEnvironment)
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
