"""Several daemons for the assets of one gateway, when one process is not enough.

Rules: an asset belongs to one shard, by a stable hash of its name
(``owner``); each shard is a daemon with a client id, a state folder and a
gateway id of its own (``worker``), and subscribes to exactly its own assets'
topics (``register``); one listener at a low rate finds new assets
(``finder``); a shard that dies or hangs is started again (``herd``); assets
change their shard only by ``offbeat reshard`` (``handover``).  With
``mqtt.share`` a broker that hashes by topic decides instead (``siblings``).
"""
