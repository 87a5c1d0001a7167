"""What a stage will take before it runs: parameters, memory and time from the model's config, without torch."""
