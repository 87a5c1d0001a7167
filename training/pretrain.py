"""Stage kind `pretrain`: continued pretraining on raw text with trl.SFTTrainer, which trains on a `text` column whole.

Every token has a label, documents end with the EOS token, and packed documents do not see one another (`bfd_split`, the
default here, cuts only documents longer than max_length and goes on with the rest in another row).
"""

from training.sft import make_trainer

__all__ = ["make_trainer"]
