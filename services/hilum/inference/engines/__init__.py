"""Engines: what runs a network. No adapter needs another's library."""

import os

# The official builds of ONNX Runtime report to their maker over the network, and keep an identifier of the device,
# unless they are told not to before they load (its Privacy.md). Nothing leaves a hospital that way.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
