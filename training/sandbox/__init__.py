"""Running programs that nobody has read: what a model wrote, and the proof checkers that run what a model wrote.

`runner` is the door: it starts `enter.py`, a small interpreter of its own, which builds the isolation, runs the
program inside and reports what it printed. `levels` says which isolation this machine can give. Whether an answer is
right is never decided here, nor inside: see `training.rewards.code_judge`. Nothing in this folder imports anything but
the standard library and `data.errors`.
"""
