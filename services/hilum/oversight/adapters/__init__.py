"""The edges: keys, the log, tables, gRPC."""
