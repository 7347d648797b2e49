//! Folds events into read models; rebuilds them.
