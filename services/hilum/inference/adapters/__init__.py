"""Inference's adapters: gRPC, events, the queue's table, and the worker processes."""
