-- Datasets that bring what judges them: a task without figures of its own, and the program with its metrics. In the same
-- steps on both databases, as the tasks before.
ALTER TABLE dataset_versions RENAME COLUMN task TO old_task;
ALTER TABLE dataset_versions ADD COLUMN task TEXT NOT NULL DEFAULT 'classification' CHECK (task IN (
    'classification', 'detection', 'segmentation', 'text', 'multilabel', 'retrieval', 'regression', 'golden', 'custom'
));
UPDATE dataset_versions SET task = old_task;
ALTER TABLE dataset_versions DROP COLUMN old_task;

-- JSON of core::dataset::scorer::Scorer, for the task custom.
ALTER TABLE dataset_versions ADD COLUMN scorer TEXT;
