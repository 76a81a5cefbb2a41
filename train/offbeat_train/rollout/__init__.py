"""Bringing a new model to a fleet: in the shadow, on canaries, ring by ring, or back.

``policy`` says how, ``judge`` whether a step is passed, ``course`` what each
step tells the devices, ``job`` does it and can be killed at any moment.
"""
