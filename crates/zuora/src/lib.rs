//! What Zuora's API promises: operations, limit types, error categories, track ids.
