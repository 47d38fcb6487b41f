//! The agent's half of a session as a state machine without I/O.
