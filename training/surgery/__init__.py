"""Models made from models without training: deeper (`upscale`), with experts (`upcycle`), merged (`merge`).

Weights are read and written tensor by tensor (`tensors`); what becomes of `config.json` is in `configs`, without torch,
so that `plan` knows the sizes of what will be made.
"""
