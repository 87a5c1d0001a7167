"""What leaves the pipeline: merged weights, GGUF files, and the proof that they are the model they come from."""
