//! Everything that is counted and logged, and the only place that knows metric names.
