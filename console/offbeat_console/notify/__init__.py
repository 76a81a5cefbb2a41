"""`offbeat notify`: alerts by mail, chat or webhook, sent off the device.

Rules: an MQTT client like any other, with an identity of its own; alerts are
acknowledged once they are on disk, and told at least once whatever is killed.
In the order in which an alert walks: ``letters`` (event → what to say),
``ledger`` (what is to be sent, and what was), ``post`` (Apprise), and
``notifier`` (the loop).
"""
