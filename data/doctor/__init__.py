"""The data doctor's findings, computed from token ids alone: who tokenised them, and how, is the caller's business.

`sequences` says what a row is here, `flags` what is wrong with one, `examination` goes through a source and counts,
`statistics` has the figures, `preview` the tokens in a shape that can be shown. A tokenizer comes in as functions.
"""
