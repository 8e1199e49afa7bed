//! A temporary folder for one server. Removed by its [`Guard`](crate::guard::Guard) while one
//! stands over it, else by being dropped.

use std::{
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Context as _, Error, Result};

pub struct Folder {
    path: PathBuf,
}

impl Folder {
    pub fn new(of: &str) -> Result<Folder> {
        Folder::under(&std::env::temp_dir(), of)
    }

    /// The name is short: a MariaDB's socket lies inside, and such a path has about 100 bytes.
    pub fn under(parent: &Path, of: &str) -> Result<Folder> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("tidewire-{of}-{}-{number}", std::process::id());
            let path = parent.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder { path }),
                // Left behind by a machine that went down.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(Error::new(format!(
                        "cannot make {}: {error}",
                        path.display()
                    )));
                }
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::write(&path, text).context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Usually gone already; what cannot be removed is left to the system's own sweep.
        let _ = fs::remove_dir_all(&self.path);
    }
}
