"""The fields of trl's SFTConfig, DPOConfig and GRPOConfig, read from the installed sources without importing them."""
