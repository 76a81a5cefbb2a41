"""The cloud half of the loop: when to train again, and whether the outcome is better.

===========  ==================================================  ======
module       in → out                                            pure?
===========  ==================================================  ======
``drift``    reference and recent numbers → how far apart         yes
``due``      figures → is retraining due, and why                 yes
``shelf``    the registry of one model: versions, champion, job   disk
``gate``     what both models did → verdict                       yes
===========  ==================================================  ======
"""
