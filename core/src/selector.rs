//! Choosing devices by a CEL expression.
