"""What the data is: types, table schemas and parameters. No network, no model, nothing of ours imported."""
