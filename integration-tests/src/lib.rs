//! Tests of the whole on real NATS, PostgreSQL and S3.
