"""Published benchmarks: their own tasks, prompts and metrics, run on the model that a stage has loaded."""
