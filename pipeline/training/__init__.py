"""What the stage `train` is made of: the loop, one optimiser step, the state of a run, its processes, its logs."""
