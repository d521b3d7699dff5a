//! Settings: TOML file, cameras.json, environment; later ones win, unknown keys are errors.
