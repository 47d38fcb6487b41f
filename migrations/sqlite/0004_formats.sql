-- Formats that runners and benchmark programs read. A check cannot be changed, so the table is made again under its name:
-- what refers to its rows is looked at when the migration commits.
PRAGMA defer_foreign_keys = ON;
-- Each row that goes and comes back is looked for in the jobs.
CREATE INDEX jobs_by_variant ON jobs (variant_id);

CREATE TABLE variants_before AS SELECT * FROM variants;
DROP TABLE variants;

CREATE TABLE variants (
    id TEXT NOT NULL PRIMARY KEY,
    version_id TEXT NOT NULL REFERENCES model_versions (id),
    position BIGINT NOT NULL,
    name TEXT NOT NULL,
    format TEXT NOT NULL CHECK (format IN ('onnx', 'nnef', 'tflite', 'caffe', 'frozen_graph', 'saved_model',
        'gguf', 'ncnn', 'mnn', 'rknn', 'qnn')),
    precision TEXT NOT NULL CHECK (precision IN ('fp32', 'fp16', 'bf16', 'int8', 'int4')),
    signature TEXT NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('claimed', 'confirmed', 'refused')),
    UNIQUE (version_id, name)
);

INSERT INTO variants SELECT * FROM variants_before;
DROP TABLE variants_before;
DROP INDEX jobs_by_variant;
