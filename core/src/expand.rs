//! Suite × fleet → jobs and misfits.
