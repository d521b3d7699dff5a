//! The cloud's own certificate authority: server, edge and operator certificates.
