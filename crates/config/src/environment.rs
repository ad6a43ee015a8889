//! Values that the file leaves to its surroundings: `${NAME}` and `${file:/path}`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::env::VarError;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Where `${NAME}` and `${file:…}` are looked up.
pub trait Environment {
    /// The value of the variable `name`.
    ///
    /// # Errors
    /// The variable is not set, or is not Unicode.
    fn variable(&self, name: &str) -> Result<String, VarError>;

    /// The text of the file `path` without its last line break.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn file(&self, path: &Path) -> Result<String, String> {
        read_file(path)
    }
}

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    fn variable(&self, name: &str) -> Result<String, VarError> {
        std::env::var(name)
    }
}

/// The environment of this process, noting which files were read.
#[derive(Debug, Default)]
pub(crate) struct Noting {
    files: RefCell<BTreeSet<PathBuf>>,
}

impl Noting {
    pub(crate) fn files(self) -> BTreeSet<PathBuf> {
        self.files.into_inner()
    }
}

impl Environment for Noting {
    fn variable(&self, name: &str) -> Result<String, VarError> {
        ProcessEnvironment.variable(name)
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        self.files.borrow_mut().insert(path.to_owned());
        read_file(path)
    }
}

/// For tests: only these variables are set.
impl Environment for BTreeMap<&str, &str> {
    fn variable(&self, name: &str) -> Result<String, VarError> {
        self.get(name).map(|&value| value.to_owned()).ok_or(VarError::NotPresent)
    }
}

/// Secrets and names are short; whoever names a larger file named the wrong one.
const LARGEST_FILE: u64 = 64 * 1024;

/// Fills in every `${…}` of `text`. Paths of files are relative to
/// `directory`, and what is filled in is not searched again.
///
/// # Errors
/// Everything in `text` that could not be filled in. Values are not repeated.
pub(crate) fn interpolate<'t>(
    text: &'t str,
    environment: &dyn Environment,
    directory: &Path,
) -> Result<Cow<'t, str>, Vec<String>> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut filled = String::new();
    let mut failures = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        filled.push_str(before);
        let Some(end) = rest[at..].find('}') else {
            failures.push("`${` without a `}`; write `$${` for these characters themselves".into());
            return Err(failures);
        };
        match look_up(&rest[at + 2..at + end], environment, directory) {
            Ok(value) => filled.push_str(&value),
            Err(failure) => failures.push(failure),
        }
        rest = &rest[at + end + 1..];
    }
    filled.push_str(rest);
    if failures.is_empty() { Ok(Cow::Owned(filled)) } else { Err(failures) }
}

/// The value of what stands between the braces.
fn look_up(
    reference: &str,
    environment: &dyn Environment,
    directory: &Path,
) -> Result<String, String> {
    if let Some(path) = reference.strip_prefix("file:") {
        return environment
            .file(&directory.join(path))
            .map_err(|why| format!("the file of `${{{reference}}}` cannot be read: {why}"));
    }
    let starts_well = reference.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !reference.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        // Not repeated: it may be a piece of a secret that was not meant so.
        let message = "`${…}` must hold the name of an environment variable, or `file:` and a \
                       path; write `$${` for the characters themselves";
        return Err(message.into());
    }
    environment.variable(reference).map_err(|error| match error {
        VarError::NotPresent => format!("the environment variable `{reference}` is not set"),
        VarError::NotUnicode(_) => format!("the environment variable `{reference}` is not Unicode"),
    })
}

/// The text of a file without its last line break.
fn read_file(path: &Path) -> Result<String, String> {
    let file = open_file(path)?;
    let mut text = String::new();
    match file.take(LARGEST_FILE + 1).read_to_string(&mut text) {
        Ok(length) if length as u64 > LARGEST_FILE => {
            Err(format!("it is larger than {LARGEST_FILE} bytes"))
        }
        Ok(_) => {
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
        }
        Err(error) => Err(why(&error)),
    }
}

/// Opens a regular file: opening a pipe could wait for ever.
pub(crate) fn open_file(path: &Path) -> Result<File, String> {
    if !std::fs::metadata(path).map_err(|error| why(&error))?.is_file() {
        return Err("it is not a file".into());
    }
    File::open(path).map_err(|error| why(&error))
}

/// Why the system refused, in the words that people know.
pub(crate) fn why(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".into(),
        ErrorKind::InvalidData => "it is not UTF-8 text".into(),
        kind => kind.to_string(),
    }
}
