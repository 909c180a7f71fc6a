"""Where ingest meets the world: sockets, gRPC, SQL, the event log."""
