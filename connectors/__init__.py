"""The outside world ⇄ schemas: Label Studio, files, pickles."""
