-- Why a failed attempt failed: JSON of core::failure::Failure, and the version of the rules that judged it last, 0 for none.
ALTER TABLE attempts ADD COLUMN failure TEXT;
ALTER TABLE attempts ADD COLUMN failure_rules BIGINT NOT NULL DEFAULT 0;
CREATE INDEX attempts_judged ON attempts (failure_rules, job_id, attempt) WHERE outcome IS NOT NULL AND outcome NOT IN ('ok', 'cancelled');

-- A device, a backend and a model that have failed together twice: no further job of them is made while all versions stay
-- as they are.
CREATE TABLE quarantines (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    device_id TEXT NOT NULL REFERENCES devices (id),
    -- Stands for the version of the model too.
    variant_id TEXT NOT NULL REFERENCES variants (id),
    backend TEXT NOT NULL,
    -- What ran it, and the software of the device: core::failure::TripleVersions.
    runtime TEXT NOT NULL,
    build TEXT NOT NULL,
    -- The attempt that decided.
    job_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    lifted_at BIGINT,
    lifted_by TEXT REFERENCES principals (id),
    FOREIGN KEY (job_id, attempt) REFERENCES attempts (job_id, attempt),
    CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);
CREATE UNIQUE INDEX quarantines_in_force ON quarantines (device_id, variant_id, backend, runtime, build) WHERE lifted_at IS NULL;
CREATE INDEX quarantines_by_project ON quarantines (project_id, created_at);
