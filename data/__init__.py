"""Rows and items: sources, formats, generators, prompt limits, suites.

A tokenizer is passed in; no trainer and no config class is known here.
"""
