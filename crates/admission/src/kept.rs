//! Bytes of request bodies that are held in memory.

use std::sync::Arc;

use crate::{Admission, AppId, PoolId, Shed};

/// A request body's share of the bound on kept bytes. Dropping it gives the share back, so it is to
/// live exactly as long as the bytes themselves.
#[derive(Debug)]
#[must_use = "the bytes count as gone as soon as this is dropped"]
pub struct Kept {
    admission: Arc<Admission>,
    pool: PoolId,
    app: AppId,
    bytes: u64,
}

impl Kept {
    pub(crate) fn new(admission: Arc<Admission>, pool: PoolId, app: AppId, bytes: u64) -> Self {
        Self { admission, pool, app, bytes }
    }

    /// Counts `more` bytes of the same body.
    ///
    /// # Errors
    ///
    /// [`Shed::QueueBytes`] if the bound would be passed; what was counted stays counted.
    pub fn grow(&mut self, more: u64) -> Result<(), Shed> {
        self.admission.count_bytes(self.pool, self.app, more)?;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.admission.forget_bytes(self.pool, self.app, self.bytes);
    }
}
