-- Health checks of devices, the newest of each: why each was made, what it found, and what follows from it. Its attempt is
-- of no job.
CREATE TABLE canaries (
    id TEXT NOT NULL PRIMARY KEY,
    device_id TEXT NOT NULL REFERENCES devices (id),
    ended_at BIGINT NOT NULL,
    due TEXT NOT NULL CHECK (due IN ('never_checked', 'rebooted', 'system_changed', 'was_sick', 'failures', 'a_day_ago', 'asked')),
    boot_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    rom TEXT NOT NULL,
    health TEXT NOT NULL CHECK (health IN ('healthy', 'sick', 'unknown')),
    -- JSON of core::lab::canary::Found and Judgement.
    found TEXT NOT NULL,
    judgement TEXT NOT NULL
);
CREATE INDEX canaries_by_device ON canaries (device_id, ended_at);
