//! Turns a one-time secret into a certificate.
