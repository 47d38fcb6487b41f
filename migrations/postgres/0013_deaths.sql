-- How an agent died that had the attempt, as the one in its place tells: JSON of core::failure::Death.
ALTER TABLE attempts ADD COLUMN death TEXT;
