-- The console's store.  Bodies are JSON (msgspec), chunks are msgpack.
CREATE TABLE event (
    id TEXT PRIMARY KEY, alert TEXT NOT NULL, seq INTEGER NOT NULL, time_ms INTEGER NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX event_alert ON event (alert, seq);
CREATE TABLE alert (
    alert TEXT PRIMARY KEY, gateway TEXT NOT NULL, asset TEXT NOT NULL, kind TEXT NOT NULL,
    start_ms INTEGER NOT NULL, calm INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX alert_asset ON alert (asset, start_ms);
CREATE INDEX alert_start ON alert (start_ms);
CREATE TABLE kept (  -- the last word on a thing: states, gateways, shelves, rollouts
    what TEXT NOT NULL, name TEXT NOT NULL, heard_ms INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (what, name)
) WITHOUT ROWID;
CREATE TABLE told (  -- feedback and maintenance, ours and others'
    id TEXT PRIMARY KEY, what TEXT NOT NULL, asset TEXT NOT NULL, about TEXT,
    time_ms INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX told_about ON told (about);
CREATE TABLE outbox (  -- what people said here, until the broker has it
    id TEXT PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, made_ms INTEGER NOT NULL,
    sent_ms INTEGER, refused TEXT
) WITHOUT ROWID;
CREATE TABLE action (  -- who did what here
    time_ms INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, about TEXT NOT NULL
);
CREATE TABLE chunk (  -- level 0: as it came, 1: thinned; pinned: around an alert
    rowid INTEGER PRIMARY KEY, asset TEXT NOT NULL, what TEXT NOT NULL, start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL, level INTEGER NOT NULL, pinned INTEGER NOT NULL, size INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX chunk_asset ON chunk (asset, what, end_ms);
CREATE INDEX chunk_age ON chunk (pinned, level, rowid);
