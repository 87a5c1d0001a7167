"""Measurements that anyone can repeat; each module's docstring has its command. Not part of the installed package."""
