"""The edges: tables, topics, gRPC, files."""
