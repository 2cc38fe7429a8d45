"""The machine-learning backend that Label Studio asks for masks."""
