//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is wrong with one file, in the order of the file.
///
/// Never empty. `Display` prints one problem per line as
/// `FILE:LINE:COLUMN: message`, which editors and terminals turn into links.
/// No line of the file itself is repeated, because it may hold a secret.
#[derive(Debug)]
pub struct Problems(Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    file: PathBuf,
    place: Option<Place>,
    message: String,
}

/// A place in the file. Both numbers begin at 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column of the first character meant.
    pub column: usize,
}

impl Problems {
    /// The single problem that `file` as a whole could not be read.
    pub(crate) fn of_file(file: &Path, message: String) -> Self {
        Self(vec![Problem { file: file.to_owned(), place: None, message }])
    }

    /// Puts what was found in the order of the file.
    pub(crate) fn in_file(file: &Path, mut found: Vec<(Place, String)>) -> Self {
        found.sort();
        found.dedup();
        let problem =
            |(place, message)| Problem { file: file.to_owned(), place: Some(place), message };
        Self(found.into_iter().map(problem).collect())
    }

    /// Each problem, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl Problem {
    /// The file that was read, as it was named to the reader.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Where to look, or `None` if the file could not be read at all.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// What is wrong and what to write instead, without any secret.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.place {
            Some(Place { line, column }) => write!(f, "{file}:{line}:{column}: {}", self.message),
            None => write!(f, "{file}: {}", self.message),
        }
    }
}
