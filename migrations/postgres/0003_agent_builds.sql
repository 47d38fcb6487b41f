-- Builds of the agent. They belong to the fleet, and so to no project.
CREATE TABLE agent_builds (
    -- aarch64-linux-gnu
    abi TEXT NOT NULL,
    -- Counts the builds of an ABI: devices are served the newest.
    position BIGINT NOT NULL,
    version TEXT NOT NULL,
    digest BYTEA NOT NULL REFERENCES artifacts (digest),
    size BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL REFERENCES principals (id),
    PRIMARY KEY (abi, position)
);
CREATE INDEX agent_builds_by_digest ON agent_builds (digest);
