//! Prints what the running appliance last said of itself.
