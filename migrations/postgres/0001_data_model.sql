-- The data model. The same tables, columns and constraints as the SQLite file of the same number; a test compares them.
--
-- What both databases know: ids are UUIDv7 as text, times are microseconds UTC, words of an enum are text with a
-- CHECK, documents are JSON as text, digests are BLAKE3 as bytes.

-- SQLite has these two built in. With them one text of SQL fits both databases: many rows travel as one JSON array.
CREATE FUNCTION json_each(document TEXT) RETURNS TABLE (value JSONB)
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT jsonb_array_elements(document::JSONB) $$;
CREATE FUNCTION unhex(digits TEXT) RETURNS BYTEA
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT decode(digits, 'hex') $$;

-- People and doors ---------------------------------------------------------------------------------------------------

CREATE TABLE projects (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    -- Number of the newest run.
    last_run BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE principals (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    principal_id TEXT NOT NULL REFERENCES principals (id),
    project_id TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'submitter', 'operator', 'admin', 'agent')),
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- No reference: a token may be given to a device before the device has been seen.
    device_id TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE enrolments (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    created_by TEXT NOT NULL REFERENCES principals (id),
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    token_id TEXT REFERENCES tokens (id)
);

-- No references: a refused caller may be nobody that we know.
CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    principal_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    allowed BOOLEAN NOT NULL,
    before_digest BYTEA,
    after_digest BYTEA
);

-- Devices ------------------------------------------------------------------------------------------------------------

CREATE TABLE devices (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('discovered', 'unauthorized', 'ready', 'reserved', 'preparing', 'running',
        'dark', 'cooling', 'charging', 'recovering', 'quarantined', 'maintenance', 'retired')),
    state_reason TEXT NOT NULL,
    profile TEXT NOT NULL,
    labels TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL
);

CREATE TABLE device_evidence (
    device_id TEXT NOT NULL REFERENCES devices (id),
    kind TEXT NOT NULL CHECK (kind IN ('agent_id', 'machine_id', 'hardware_serial', 'usb_path')),
    value TEXT NOT NULL,
    PRIMARY KEY (device_id, kind)
);
CREATE INDEX device_evidence_by_value ON device_evidence (value, kind);

CREATE TABLE transitions (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id TEXT NOT NULL REFERENCES devices (id),
    at BIGINT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX transitions_by_device ON transitions (device_id, sequence);

-- Artifacts, models, datasets ----------------------------------------------------------------------------------------

CREATE TABLE artifacts (
    digest BYTEA NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    size BIGINT NOT NULL CHECK (size >= 0),
    recorded_at BIGINT NOT NULL
);
CREATE INDEX artifacts_by_time ON artifacts (recorded_at);

CREATE TABLE models (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    -- Number of the newest version.
    last_version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (project_id, name)
);

CREATE TABLE model_versions (
    id TEXT NOT NULL PRIMARY KEY,
    model_id TEXT NOT NULL REFERENCES models (id),
    number BIGINT NOT NULL,
    parent BIGINT,
    source_commit TEXT,
    build_address TEXT,
    labels TEXT NOT NULL,
    origin TEXT,
    license TEXT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL REFERENCES principals (id),
    UNIQUE (model_id, number),
    FOREIGN KEY (model_id, parent) REFERENCES model_versions (model_id, number)
);

CREATE TABLE variants (
    id TEXT NOT NULL PRIMARY KEY,
    version_id TEXT NOT NULL REFERENCES model_versions (id),
    position BIGINT NOT NULL,
    name TEXT NOT NULL,
    format TEXT NOT NULL CHECK (format IN ('onnx', 'nnef', 'tflite')),
    precision TEXT NOT NULL CHECK (precision IN ('fp32', 'fp16', 'bf16', 'int8', 'int4')),
    signature TEXT NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('claimed', 'confirmed', 'refused')),
    UNIQUE (version_id, name)
);

-- The manifest: role -> artifact.
CREATE TABLE variant_files (
    variant_id TEXT NOT NULL REFERENCES variants (id),
    position BIGINT NOT NULL,
    role TEXT NOT NULL,
    digest BYTEA NOT NULL REFERENCES artifacts (digest),
    size BIGINT NOT NULL,
    file_name TEXT NOT NULL,
    PRIMARY KEY (variant_id, position)
);
CREATE INDEX variant_files_by_digest ON variant_files (digest);

CREATE TABLE bindings (
    id TEXT NOT NULL PRIMARY KEY,
    version_id TEXT NOT NULL REFERENCES model_versions (id),
    -- By name, since a binding may be written before its dataset; absent for any dataset.
    dataset_name TEXT,
    document TEXT NOT NULL
);
CREATE UNIQUE INDEX bindings_by_dataset ON bindings (version_id, (COALESCE(dataset_name, '')));

CREATE TABLE aliases (
    model_id TEXT NOT NULL REFERENCES models (id),
    name TEXT NOT NULL,
    version_id TEXT NOT NULL REFERENCES model_versions (id),
    moved_at BIGINT NOT NULL,
    moved_by TEXT NOT NULL REFERENCES principals (id),
    PRIMARY KEY (model_id, name)
);

CREATE TABLE alias_moves (
    sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_id TEXT NOT NULL REFERENCES models (id),
    name TEXT NOT NULL,
    version_id TEXT NOT NULL REFERENCES model_versions (id),
    moved_at BIGINT NOT NULL,
    moved_by TEXT NOT NULL REFERENCES principals (id)
);
CREATE INDEX alias_moves_by_alias ON alias_moves (model_id, name, sequence);

CREATE TABLE datasets (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    -- Number of the newest version.
    last_version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (project_id, name)
);

CREATE TABLE dataset_versions (
    id TEXT NOT NULL PRIMARY KEY,
    dataset_id TEXT NOT NULL REFERENCES datasets (id),
    number BIGINT NOT NULL,
    digest BYTEA NOT NULL REFERENCES artifacts (digest),
    size BIGINT NOT NULL,
    task TEXT NOT NULL CHECK (task IN ('classification', 'golden')),
    examples BIGINT NOT NULL,
    classes TEXT NOT NULL,
    origin TEXT,
    license TEXT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL REFERENCES principals (id),
    UNIQUE (dataset_id, number)
);
CREATE INDEX dataset_versions_by_digest ON dataset_versions (digest);

-- Runtimes -----------------------------------------------------------------------------------------------------------

CREATE TABLE tracks (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    runtime TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (project_id, runtime, name)
);

CREATE TABLE runtime_packages (
    id TEXT NOT NULL PRIMARY KEY,
    track_id TEXT NOT NULL REFERENCES tracks (id),
    version TEXT NOT NULL,
    abi TEXT NOT NULL,
    role TEXT NOT NULL,
    digest BYTEA NOT NULL REFERENCES artifacts (digest),
    size BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL REFERENCES principals (id),
    UNIQUE (track_id, version, abi, role)
);
CREATE INDEX runtime_packages_by_digest ON runtime_packages (digest);

-- Runs and jobs ------------------------------------------------------------------------------------------------------

-- A suite file as it was submitted, once per content.
CREATE TABLE suites (
    digest BYTEA NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    document TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE runs (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    number BIGINT NOT NULL,
    suite TEXT NOT NULL,
    suite_digest BYTEA NOT NULL REFERENCES suites (digest),
    -- The name that whoever submitted gave to the submission, so that repeating it makes no second run.
    submission TEXT,
    rerun_of TEXT,
    priority BIGINT NOT NULL,
    -- How long its jobs wait for a device that takes no work.
    max_wait_us BIGINT NOT NULL,
    created_by TEXT NOT NULL REFERENCES principals (id),
    created_at BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
    -- When somebody asked for the end; the run ends with its last attempt.
    cancelled_at BIGINT,
    finished_at BIGINT,
    gate TEXT,
    gate_passed BOOLEAN,
    UNIQUE (project_id, number),
    UNIQUE (project_id, submission)
);
CREATE INDEX runs_running ON runs (created_at) WHERE state = 'running';

CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES runs (id),
    position BIGINT NOT NULL,
    short TEXT NOT NULL,
    device_id TEXT NOT NULL REFERENCES devices (id),
    model_id TEXT NOT NULL REFERENCES models (id),
    variant_id TEXT NOT NULL REFERENCES variants (id),
    dataset_version_id TEXT REFERENCES dataset_versions (id),
    backend TEXT NOT NULL,
    profile TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'leased', 'done', 'quarantined')),
    -- Attempts so far; while leased, the attempt that holds the job.
    attempt BIGINT NOT NULL,
    -- How the job ended, as soon as it is done.
    outcome TEXT,
    outcome_code BIGINT,
    -- Why it ended, where no attempt says so.
    reason TEXT,
    -- Whether interference made the numbers of its last attempt invalid.
    invalid BOOLEAN NOT NULL,
    infrastructure_failures BIGINT NOT NULL,
    crashes BIGINT NOT NULL,
    agent_deaths BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    spec TEXT NOT NULL,
    CHECK ((state = 'done') = (outcome IS NOT NULL))
);
CREATE INDEX jobs_by_run ON jobs (run_id, position);
CREATE INDEX jobs_counted ON jobs (run_id, state, outcome, invalid);
CREATE INDEX jobs_by_short ON jobs (short);
CREATE INDEX jobs_by_device ON jobs (device_id, finished_at);
CREATE INDEX jobs_by_model ON jobs (model_id, finished_at);
CREATE INDEX jobs_open ON jobs (created_at) WHERE state IN ('queued', 'leased');

CREATE TABLE misfits (
    run_id TEXT NOT NULL REFERENCES runs (id),
    position BIGINT NOT NULL,
    model TEXT NOT NULL,
    variant TEXT NOT NULL,
    dataset TEXT,
    backend TEXT NOT NULL,
    profile TEXT NOT NULL,
    device_id TEXT REFERENCES devices (id),
    reason TEXT NOT NULL,
    PRIMARY KEY (run_id, position)
);

CREATE TABLE environments (
    digest BYTEA NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    document TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE attempts (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    attempt BIGINT NOT NULL,
    device_id TEXT NOT NULL REFERENCES devices (id),
    granted_at BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    -- The stage that it has entered last.
    stage TEXT,
    ended_at BIGINT,
    outcome TEXT,
    outcome_code BIGINT,
    failed_stage TEXT,
    message TEXT,
    -- Why the numbers are not valid.
    invalid TEXT NOT NULL,
    agent_death BOOLEAN NOT NULL,
    -- Name and version of the derivation of its metrics.
    algorithm TEXT,
    environment_digest BYTEA REFERENCES environments (digest),
    PRIMARY KEY (job_id, attempt),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
);

-- What the device said, without its blocks and its environment.
CREATE TABLE reports (
    job_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (job_id, attempt),
    FOREIGN KEY (job_id, attempt) REFERENCES attempts (job_id, attempt)
);

CREATE TABLE stages (
    job_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    position BIGINT NOT NULL,
    stage TEXT NOT NULL,
    process BIGINT,
    start_us BIGINT NOT NULL,
    duration_us BIGINT,
    note TEXT,
    PRIMARY KEY (job_id, attempt, position),
    FOREIGN KEY (job_id, attempt) REFERENCES attempts (job_id, attempt)
);

CREATE TABLE sample_blocks (
    job_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    position BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('latency_ns', 'start_us', 'top_classes', 'labels', 'outputs')),
    process BIGINT NOT NULL,
    count BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (job_id, attempt, position),
    FOREIGN KEY (job_id, attempt) REFERENCES attempts (job_id, attempt)
);

-- A value or the reason why there is none; never neither, never both.
CREATE TABLE metrics (
    job_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    position BIGINT NOT NULL,
    name TEXT NOT NULL,
    unit TEXT NOT NULL,
    value DOUBLE PRECISION,
    low DOUBLE PRECISION,
    high DOUBLE PRECISION,
    absent TEXT,
    PRIMARY KEY (job_id, attempt, position),
    FOREIGN KEY (job_id, attempt) REFERENCES attempts (job_id, attempt),
    CHECK ((value IS NULL) <> (absent IS NULL)),
    CHECK ((low IS NULL) = (high IS NULL))
);

-- The server's own work ----------------------------------------------------------------------------------------------

CREATE TABLE reconciler_leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    held_until BIGINT NOT NULL
);

-- Notifications, delivered at least once.
CREATE TABLE outbox (
    id TEXT NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    tries BIGINT NOT NULL DEFAULT 0,
    due_at BIGINT NOT NULL,
    delivered_at BIGINT
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE delivered_at IS NULL;
