//! Share of right answers with its interval, per class, and who is taken for whom.
