//! Settings: TOML file and environment; unknown keys are errors.
