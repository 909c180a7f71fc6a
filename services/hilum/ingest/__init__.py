"""Ingest: what did the hospital tell us? HL7 v2 over MLLP and gRPC; raw first, acknowledged after."""
