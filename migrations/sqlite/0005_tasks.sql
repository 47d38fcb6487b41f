-- More tasks than classification and reference outputs, and the evidence that they need. Both databases do it in the
-- same steps, so that their columns stand in the same order: SQLite cannot change a CHECK, but a column with the wider
-- one can take the place of the old, and neither other columns nor references to the table are touched.
ALTER TABLE dataset_versions RENAME COLUMN task TO old_task;
ALTER TABLE dataset_versions ADD COLUMN task TEXT NOT NULL DEFAULT 'classification' CHECK (task IN (
    'classification', 'detection', 'segmentation', 'text', 'multilabel', 'retrieval', 'regression', 'golden'
));
UPDATE dataset_versions SET task = old_task;
ALTER TABLE dataset_versions DROP COLUMN old_task;

ALTER TABLE sample_blocks RENAME COLUMN kind TO old_kind;
ALTER TABLE sample_blocks ADD COLUMN kind TEXT NOT NULL DEFAULT 'latency_ns' CHECK (kind IN (
    'latency_ns', 'start_us', 'top_classes', 'labels', 'outputs', 'truth', 'answers'
));
UPDATE sample_blocks SET kind = old_kind;
ALTER TABLE sample_blocks DROP COLUMN old_kind;
