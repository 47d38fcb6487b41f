//! Whether a variant can run on a backend of a device.
