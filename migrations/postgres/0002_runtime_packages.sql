-- A runtime package is several files. The table of the first migration had a row for each file and was never written.
DROP TABLE runtime_packages;

CREATE TABLE runtime_packages (
    id TEXT NOT NULL PRIMARY KEY,
    track_id TEXT NOT NULL REFERENCES tracks (id),
    -- Counts the packages of a track: for each ABI the newest is the one that jobs get.
    position BIGINT NOT NULL,
    -- How an agent puts it to work, as JSON.
    kind TEXT NOT NULL,
    version TEXT NOT NULL,
    -- `any` for what is no machine code.
    abi TEXT NOT NULL,
    -- Lists, as JSON.
    accelerators TEXT NOT NULL,
    formats TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL REFERENCES principals (id),
    UNIQUE (track_id, position)
);

-- The manifest: role -> artifact.
CREATE TABLE runtime_package_files (
    package_id TEXT NOT NULL REFERENCES runtime_packages (id),
    position BIGINT NOT NULL,
    role TEXT NOT NULL,
    digest BYTEA NOT NULL REFERENCES artifacts (digest),
    size BIGINT NOT NULL,
    file_name TEXT NOT NULL,
    PRIMARY KEY (package_id, position)
);
CREATE INDEX runtime_package_files_by_digest ON runtime_package_files (digest);
