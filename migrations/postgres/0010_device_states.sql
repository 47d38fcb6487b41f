-- Whether a device is in service, as it was decided last: who, when, and what time will change of it by itself. Devices
-- of which nothing was ever decided have no row.
CREATE TABLE device_services (
    device_id TEXT NOT NULL PRIMARY KEY REFERENCES devices (id),
    -- Counts the decisions.
    revision BIGINT NOT NULL CHECK (revision > 0),
    -- JSON of core::lab::standing::Service.
    service TEXT NOT NULL,
    reservation_id TEXT,
    due_at BIGINT,
    -- Nobody for the server itself.
    decided_by TEXT,
    decided_at BIGINT NOT NULL
);
CREATE INDEX device_services_due ON device_services (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX device_services_reserved ON device_services (reservation_id) WHERE reservation_id IS NOT NULL;

INSERT INTO device_services (device_id, revision, service, reservation_id, due_at, decided_by, decided_at)
SELECT id, 1, json_build_object('standing', state, 'reason', state_reason, 'strikes', 0)::TEXT, NULL, NULL, NULL, last_seen_at
FROM devices WHERE state IN ('quarantined', 'maintenance', 'retired');

-- Who decided it.
ALTER TABLE transitions ADD COLUMN decided_by TEXT;

CREATE TABLE reservations (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    principal_id TEXT NOT NULL REFERENCES principals (id),
    selector TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    reason TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    until_at BIGINT NOT NULL,
    -- When somebody ended it before its time.
    ended_at BIGINT
);
CREATE INDEX reservations_by_end ON reservations (until_at);

-- What lets the run's jobs go to reserved devices.
ALTER TABLE runs ADD COLUMN reservation_id TEXT;
