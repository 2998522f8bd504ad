//! The integration tests: one binary, real Postgres, real sockets.
