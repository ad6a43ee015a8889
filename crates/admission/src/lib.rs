//! When a request may go: pools, permits, the queue, cooldowns.
