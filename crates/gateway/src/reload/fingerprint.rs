//! What files look like, to see that they have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

/// The digests of some files, by their names. Content alone counts: a file that was touched, or put in the place of
/// another with the same content, is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint(BTreeMap<PathBuf, Option<[u8; 32]>>);

impl Fingerprint {
    /// Looks at these files now.
    pub(crate) fn of(files: &BTreeSet<PathBuf>) -> Self {
        Self(files.iter().map(|path| (path.clone(), digest(path).ok())).collect())
    }

    /// Which files it is of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }

    /// Whether it is of these files.
    pub(crate) fn is_of(&self, files: &BTreeSet<PathBuf>) -> bool {
        self.files().eq(files)
    }

    /// Eight digits that change with the content of any of the files.
    pub(crate) fn short(&self) -> String {
        let mut context = Context::new(&SHA256);
        for digest in self.0.values() {
            context.update(&digest.unwrap_or_default());
        }
        context.finish().as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    // Opening a pipe could wait for ever.
    if !path.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = [0; 8 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => context.update(&buffer[..read]),
        }
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn content_counts_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("..one")).unwrap();
        fs::create_dir(path("..two")).unwrap();
        fs::write(path("..one/gw.yaml"), "a").unwrap();
        fs::write(path("..two/gw.yaml"), "a").unwrap();
        symlink("..one", path("..data")).unwrap();
        symlink("..data/gw.yaml", path("gw.yaml")).unwrap();
        let files = BTreeSet::from([path("gw.yaml"), path("secret")]);
        let swap = |to: &str| {
            symlink(to, path("..data_tmp")).unwrap();
            fs::rename(path("..data_tmp"), path("..data")).unwrap();
        };

        let first = Fingerprint::of(&files);
        swap("..two");
        assert_eq!(Fingerprint::of(&files), first, "the same content elsewhere");
        fs::write(path("..one/gw.yaml"), "b").unwrap();
        swap("..one");
        let second = Fingerprint::of(&files);
        assert_ne!(second, first, "another content behind the same links");
        fs::write(path("secret"), "").unwrap();
        assert_ne!(Fingerprint::of(&files), second, "a file that was not there");
        assert!(first.is_of(&files) && !first.is_of(&BTreeSet::new()));
        assert_eq!(first.short().len(), 8);
        assert_ne!(first.short(), second.short());
        assert_ne!(second.short(), Fingerprint::of(&files).short(), "every file counts");
    }
}
