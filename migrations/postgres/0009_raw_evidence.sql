-- What the commands and files of a device said when its agent last came, so that later rules can read it again: zstd JSON
-- of core::profile::RawEvidence.
ALTER TABLE devices ADD COLUMN raw_evidence BYTEA;
