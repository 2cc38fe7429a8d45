"""One module per stage, named by its verb, and what they compute with."""
