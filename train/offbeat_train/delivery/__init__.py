"""The publishing half of signed delivery: keys, the TUF repository, the wire, rollouts.

``keyring`` holds private keys, ``repository`` signs metadata into a folder
that any HTTPS server can serve, ``push`` brings that folder to the broker as
retained messages.  The device's half is ``offbeat_edge.delivery``.
"""
